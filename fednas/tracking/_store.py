"""A store as JSON, to hand it to another process over a pipe."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.errors import FednasError
from fednas.store import FolderStore, Store

if TYPE_CHECKING:
    from fednas.store import MinioConfig

__all__ = ["SQLITE", "Hopeless", "open_store", "store_message"]

SQLITE = "sqlite:///"
"""How a tracking URI that is a file begins."""

PATIENCE = 5.0
"""Seconds of asking an S3 server that is down, before the exporter says so and waits."""


class Hopeless(FednasError):
    """What waiting cannot mend: only the user can."""


def store_message(store: Path | MinioConfig) -> dict[str, Any]:
    """What `open_store` needs; holds the credentials of a bucket."""
    if isinstance(store, Path):
        return {"folder": str(store.resolve())}
    return {"bucket": asdict(store) | {"patience": PATIENCE}}


def open_store(message: dict[str, Any]) -> Store:
    """The store of a message."""
    if "folder" in message:
        return FolderStore(Path(message["folder"]))
    from fednas.store import MinioConfig

    return MinioConfig(**message["bucket"]).open()
