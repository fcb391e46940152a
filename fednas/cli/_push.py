"""``fednas push``: a data set or start weights into a bucket."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fednas.errors import BadInput, NotFound
from fednas.spec import key_problem, parse_s3

if TYPE_CHECKING:
    from fednas.store import MinioStore

__all__ = ["push"]

_UPLOADS = 8
"""Files that are sent at once: of small ones, the server's answer takes longest."""


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
    slash or is a bucket alone. All behind the bucket is the key as it stands: # ? % mean
    themselves. Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    """
    from fednas.store import MinioConfig

    config = MinioConfig.from_uri(target, endpoint=endpoint, patience=10.0)
    key = parse_s3(target)[1]
    files = _files(path, key)
    store = config.under("").open()
    store.open_bucket(create=create_bucket)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:

        def send(name: str, file: Path) -> bool:
            size, digest = _size_and_sha256(file)
            if _is_there(store, name, size, digest):
                return False
            bar = progress.add_task(file.name, total=size)
            store.put_file(name, file, digest, lambda count: progress.advance(bar, count))
            progress.remove_task(bar)  # of thousands of images, those under way are shown
            return True

        with ThreadPoolExecutor(_UPLOADS) as pool:
            sent = sum(pool.map(send, files.keys(), files.values()))
    there = len(files) - sent
    where = next(iter(files)) if path.is_file() else key.removesuffix("/")
    typer.echo(f"{sent} sent, {there} there already: {store.uri(where)}")


def _files(path: Path, key: str) -> dict[str, Path]:
    """Key -> file."""
    below = f"{key.removesuffix('/')}/" if key else ""
    if path.is_file():
        files = {below + path.name if not key or key.endswith("/") else key: path}
    elif path.is_dir():
        files = {
            below + file.relative_to(path).as_posix(): file
            for file in sorted(path.rglob("*"))
            if file.is_file() and not _is_hidden(file.relative_to(path))
        }
    else:
        raise BadInput(f"{path}: no such file or folder")
    if not files:
        raise BadInput(f"{path}: no files in there")
    for name, file in files.items():
        if problem := key_problem(name):
            raise BadInput(f"{str(file)!r}: cannot be sent as {name!r}: {problem}")
    return files


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _size_and_sha256(file: Path) -> tuple[int, str]:
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            return opened.tell(), digest
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from None


def _is_there(store: MinioStore, key: str, size: int, digest: str) -> bool:
    try:
        return store.stat(key) == (size, digest)
    except NotFound:
        return False
