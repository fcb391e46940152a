"""Whose bits count: client programs that train as the search began, or that were consented to."""

from __future__ import annotations

from fednas.fleet._sessions import Session

__all__ = ["Numerics"]


class Numerics:
    """Digests of `fednas.training.fingerprint` that a search accepts.

    Until it is told the first, every program may work: the search has none yet.
    """

    def __init__(self) -> None:
        self._accepted: set[str] = set()
        self._any = False

    def accept(self, digest: str) -> None:
        """The search began with these, or somebody consented to them."""
        self._accepted.add(digest)

    def accept_any(self) -> None:
        """Somebody consented to whatever comes."""
        self._any = True

    def accepts(self, session: Session) -> bool:
        """Whether a program may be given work."""
        return self._any or not self._accepted or session.digest in self._accepted
