"""Asking a server again while it is away, and no longer than that is worth it."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import TypeVar

import urllib3

from fednas.errors import BadInput, StoreError, StoreUnreachable
from fednas.store._answers import ANSWERS, Refusal, refusal_of, trouble_of
from fednas.store._bucket import MinioConfig

__all__ = ["Again", "Asking"]

_T = TypeVar("_T")
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


class Again(Exception):
    """The server asks to be asked again."""


class Asking:
    """Does requests, each again and again while the server is away.

    Parameters
    ----------
    config : MinioConfig
        Its ``patience`` counts for each request.
    failure : callable
        The error for a key and an answer that asking again does not change.
    on_wait, sleep, clock : callable
        As of `fednas.store.MinioStore`.
    """

    def __init__(
        self,
        config: MinioConfig,
        failure: Callable[[str, Refusal], StoreError],
        on_wait: Callable[[StoreUnreachable | None], None] | None,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._endpoint = config.endpoint
        self._patience = config.patience
        self._failure = failure
        self._on_wait = on_wait
        self._sleep = sleep
        self._clock = clock

    def __call__(self, key: str, request: Callable[[], _T]) -> _T:
        """The answer to a request that is about a key."""
        began, wait, waited = self._clock(), _FIRST_WAIT, False
        while True:
            try:
                answer = request()
            except (BadInput, StoreError):
                raise
            except (urllib3.exceptions.HTTPError, OSError, Again) as error:
                trouble = trouble_of(error)
            except ANSWERS as error:
                refusal = refusal_of(error)
                if not refusal.passes:
                    self._answered(waited)
                    raise self._failure(key, refusal) from error
                trouble = f"{refusal.code}: {refusal.message}"
            except (ET.ParseError, ValueError, AttributeError) as error:
                # minio-py reads an answer of 200 without a doubt; a web page is no answer of S3.
                raise StoreError(
                    f"{self._endpoint} does not answer as S3 does ({type(error).__name__}); "
                    "the endpoint must be an S3 server, not its console"
                ) from error
            else:
                self._answered(waited)
                return answer
            away = StoreUnreachable(f"{self._endpoint} does not answer ({trouble})")
            if self._clock() - began + wait > self._patience:
                raise away
            if self._on_wait:
                self._on_wait(away)
            waited = True
            self._sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            wait = min(2 * wait, _LONGEST_WAIT)

    def _answered(self, waited: bool) -> None:
        """Also a refusal says that the server is back."""
        if waited and self._on_wait:
            self._on_wait(None)
