"""What a pass may do, as values: `plan` decides on them, `act` carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Action",
    "Consent",
    "Create",
    "Delete",
    "Expire",
    "Refreeze",
    "Renew",
    "Replace",
    "Scale",
    "WriteStatus",
]


@dataclass(frozen=True)
class Create:
    """Create if absent."""

    manifest: Mapping[str, Any]

    def __repr__(self) -> str:
        """Without what a Secret holds."""
        return f"Create({self.manifest['kind']} {self.manifest['metadata']['name']})"


@dataclass(frozen=True)
class Replace:
    """Put right what somebody changed."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Renew:
    """Replace what was made after a spec that has changed since."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Refreeze:
    """Make a ConfigMap in place of the one of that name, which cannot change."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Scale:
    """Set the replicas of a Deployment."""

    deployment: str
    replicas: int


@dataclass(frozen=True)
class Delete:
    """Delete if there."""

    kind: str
    name: str


@dataclass(frozen=True)
class Consent:
    """Let the coordinator go on with other bits than its search began with."""

    address: str


@dataclass(frozen=True)
class Expire:
    """Delete the search itself, unless somebody has edited it meanwhile."""


@dataclass(frozen=True)
class WriteStatus:
    """Replace the status; one that is not urgent may wait for a later pass."""

    status: Mapping[str, Any]
    urgent: bool


Action = Create | Replace | Renew | Refreeze | Scale | Delete | Expire | Consent | WriteStatus
