"""The client's view of the coordinator: the protocol over HTTP, registering when needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from fednas.fleet._protocol import (
    PROTOCOL,
    Answer,
    Ask,
    Beat,
    Complete,
    Fail,
    FailReason,
    Ok,
    Refusal,
    Register,
    Registered,
)

__all__ = ["Connection", "Lost", "Refused"]

POLL_SECONDS = 20.0
_M = TypeVar("_M", bound=BaseModel)

log = structlog.get_logger("fednas.client")


class Lost(Exception):
    """The coordinator does not answer, or not sensibly: ask again later."""


class Refused(Exception):
    """The coordinator says no."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        super().__init__(f"{reason}: {message}")


class Connection:
    """To a coordinator; speaks the protocol. Thread-safe.

    Parameters
    ----------
    url : str
        ``http://host:port``.
    token : str, optional
        Sent as bearer token.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self.heartbeat_seconds = 5.0
        self._register: Callable[[], Register] | None = None
        self._registered: Callable[[Register], None] = lambda _: None
        self._session: str | None = None
        self._lock = threading.Lock()
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(10.0, connect=5.0),
            limits=httpx.Limits(max_connections=256),
        )

    def introduce(
        self, register: Callable[[], Register], registered: Callable[[Register], None]
    ) -> None:
        """Say how this program introduces itself, whenever it has to; before `ask`.

        Parameters
        ----------
        register : callable
            Makes the message.
        registered : callable
            Called once the coordinator knows this program.
        """
        self._register, self._registered = register, registered

    def ask(self) -> Answer:
        """Wait for a task.

        Raises
        ------
        Lost, Refused
        """
        session = self._known()
        message = Ask(session=session, wait_seconds=POLL_SECONDS)
        return self._said(session, "/v1/lease", message, Answer, read=POLL_SECONDS + 10)

    def heartbeat(self, lease: str) -> bool:
        """False if the lease has ended; True also when nobody answers, for it may live."""
        session = self._session
        if session is None:
            return False
        try:
            self._said(session, f"/v1/leases/{lease}/heartbeat", Beat(session=session), Ok)
        except Lost:
            return True
        except Refused as error:
            return error.status not in (409, 410)
        return True

    def complete(self, lease: str, make: Callable[[str], Complete]) -> None:
        """Report a result.

        Raises
        ------
        Lost, Refused
        """
        session = self._known()
        self._said(session, f"/v1/leases/{lease}/complete", make(session), Ok)

    def give_back(
        self, lease: str, reason: FailReason, message: str, deadline: float | None = None
    ) -> None:
        """Report that a task is not done; once, for its lease will end anyway."""
        session, left = self._session, 10.0 if deadline is None else deadline - time.monotonic()
        if session is None or left <= 0:
            return
        fail = Fail(session=session, reason=reason, message=message[:1000])
        try:
            self._said(session, f"/v1/leases/{lease}/fail", fail, Ok, read=left)
        except (Lost, Refused) as error:
            log.warning("task not given back", error=str(error))

    def goodbye(self, deadline: float) -> None:
        """Say that no more will be asked."""
        session, left = self._session, deadline - time.monotonic()
        if session is not None and left > 0:
            try:
                self._said(session, "/v1/goodbye", Beat(session=session), Ok, read=left)
            except (Lost, Refused) as error:
                log.warning("no goodbye", error=str(error))

    def _known(self) -> str:
        """The session; registers if there is none."""
        with self._lock:
            if self._session is None:
                assert self._register is not None, "ask before introduce"
                message = self._register()
                welcome = self._post("/v1/register", message, Registered, 10.0)
                if welcome.protocol != PROTOCOL:
                    raise Refused(426, "WrongProtocol", f"coordinator speaks {welcome.protocol}")
                self._session = welcome.session
                self.heartbeat_seconds = welcome.heartbeat_seconds
                self._registered(message)
                log.info("registered", search=welcome.search_id)
            return self._session

    def _said(
        self, session: str, path: str, message: BaseModel, reply: type[_M], read: float = 10.0
    ) -> _M:
        try:
            return self._post(path, message, reply, read)
        except Refused as error:
            if error.status == 409:  # another coordinator, which does not know this program
                with self._lock:
                    if self._session == session:
                        self._session = None
            raise

    def _post(self, path: str, message: BaseModel, reply: type[_M], read: float) -> _M:
        try:
            answer = self._http.post(
                path,
                content=message.model_dump_json(),
                headers={"Content-Type": "application/json"},
                timeout=httpx.Timeout(10.0, connect=min(5.0, read), read=read),
            )
            if answer.status_code == 200:
                return reply.model_validate_json(answer.content)
            if answer.status_code >= 500:
                raise Lost(f"{path}: HTTP {answer.status_code}: {answer.text[:200]}")
            refusal = Refusal.model_validate_json(answer.content)
        except httpx.TransportError as error:
            raise Lost(f"{path}: {error!r}") from error
        except ValidationError as error:
            raise Lost(f"{path}: an answer that is not the coordinator's") from error
        raise Refused(answer.status_code, refusal.reason, refusal.message)
