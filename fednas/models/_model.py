"""A network with its values: what clients train, and what a search passes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fednas.models._architecture import Architecture

__all__ = ["Model"]


@dataclass(frozen=True)
class Model:
    """A network and the blobs that fill it.

    Parameters
    ----------
    architecture : Architecture
    blobs : mapping of str to str
        Name -> sha256: ``weights``, and whatever else its kind of training gives.
    """

    architecture: Architecture
    blobs: Mapping[str, str]

    @property
    def weights(self) -> str:
        """The sha256 of its weights."""
        return self.blobs["weights"]

    def having(self, blobs: Mapping[str, str]) -> Model:
        """The same network with these blobs in place of those of the same names."""
        return replace(self, blobs={**self.blobs, **blobs})
