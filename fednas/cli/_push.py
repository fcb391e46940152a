"""``fednas push``: a data set or start weights into a bucket."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fednas.errors import BadInput, NotFound

if TYPE_CHECKING:
    from fednas.store import MinioStore

__all__ = ["push"]


def push(
    path: Annotated[Path, typer.Argument(help="A file, or a folder of files.")],
    target: Annotated[str, typer.Argument(help="s3://bucket/key or s3://bucket/prefix.")],
    endpoint: Annotated[
        str | None, typer.Option(help="Of the S3 server; default: AWS_ENDPOINT_URL_S3.")
    ] = None,
    create_bucket: Annotated[bool, typer.Option(help="Make the bucket if it is missing.")] = True,
) -> None:
    """Copy files into a bucket; what is there already with equal contents is not sent again.

    A file gets the key that TARGET names, or its own name below TARGET where that ends with a
    slash or is a bucket alone. Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    """
    from fednas.store import MinioConfig

    config = MinioConfig.from_uri(target, endpoint=endpoint, patience=10.0)
    files = _files(path, target, config.prefix)
    store = config.under("").open()
    store.open_bucket(create=create_bucket)
    sent = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        for key, file in files.items():
            size = file.stat().st_size
            digest = _sha256(file)
            if _is_there(store, key, size, digest):
                continue
            bar = progress.add_task(file.name, total=size)
            store.put_file(
                key,
                file,
                digest,
                lambda count, bar=bar: progress.advance(bar, count),  # type: ignore[misc]
            )
            sent += 1
    there = len(files) - sent
    typer.echo(f"{sent} sent, {there} there already: {store.uri(_common(files))}")


def _files(path: Path, target: str, prefix: str) -> dict[str, Path]:
    """Key -> file."""
    if path.is_file():
        if not prefix or target.endswith("/"):
            return {f"{prefix}/{path.name}".lstrip("/"): path}
        return {prefix: path}
    if not path.is_dir():
        raise BadInput(f"{path}: no such file or folder")
    found = {
        f"{prefix}/{file.relative_to(path).as_posix()}".lstrip("/"): file
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    }
    if not found:
        raise BadInput(f"{path}: no files in there")
    return found


def _common(files: dict[str, Path]) -> str:
    """What all keys start with: the key itself, or the folder."""
    keys = list(files)
    return keys[0] if len(keys) == 1 else keys[0].rpartition("/")[0]


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _is_there(store: MinioStore, key: str, size: int, digest: str) -> bool:
    try:
        return store.stat(key) == (size, digest)
    except NotFound:
        return False
