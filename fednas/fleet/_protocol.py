"""What coordinator and clients say to each other: small JSON over HTTP, pulled by the client.

    POST /v1/register               Register  -> Registered
    POST /v1/lease                  Ask       -> Answer       long poll
    POST /v1/leases/{id}/heartbeat  Beat      -> Ok           410: the lease is gone, drop the task
    POST /v1/leases/{id}/complete   Complete  -> Ok           after the uploads
    POST /v1/leases/{id}/fail       Fail      -> Ok
    POST /v1/goodbye                Beat      -> Ok

Weights travel between client and store alone, by the URLs in a `Grant`, signed for exactly the
objects of its task. Whoever has no session any more (the coordinator was replaced) is answered
409 and registers again. Every refusal is a `Refusal`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from fednas.work import Task, Usage

__all__ = [
    "PROTOCOL",
    "Answer",
    "Ask",
    "Beat",
    "Complete",
    "Fail",
    "FailReason",
    "Grant",
    "Ok",
    "Refusal",
    "Register",
    "Registered",
    "Upload",
    "Uploaded",
]

PROTOCOL = 2
"""Raised when an older client or coordinator could no longer take part."""

_Hex128 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Short = Annotated[str, Field(max_length=128)]
_Name = Annotated[str, Field(max_length=64, pattern="^[A-Za-z0-9._-]+$")]


class _Message(BaseModel):
    # Unknown fields are ignored: newer speakers may say more.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Register(_Message):
    """A client program introduces itself.

    Parameters
    ----------
    protocol : int
        `PROTOCOL` of the client.
    device_class : str
        It serves any client of this class.
    name : str
        Stays the same when the program is restarted in place, so that its lost tasks are leased
        again at once.
    workers : int
        Tasks that it works on at the same time.
    numerics : dict of str to str
        What the bits of its workers depend on, with their ``digest`` (`fednas.training.numerics`).
    unfinished : list of str
        Leases that an earlier life of the program, with the same cache, died in.
    """

    protocol: int
    device_class: Annotated[str, Field(max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    name: Annotated[str, Field(min_length=1, max_length=253)]
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    numerics: Annotated[dict[_Name, _Short], Field(max_length=16)] = {}
    unfinished: Annotated[list[_Hex128], Field(max_length=1024)] = []


class Registered(_Message):
    """Welcome. ``session`` is said with every later request."""

    protocol: int
    session: _Hex128
    search_id: str
    heartbeat_seconds: float


class Ask(_Message):
    """A task, please; the answer may take ``wait_seconds``."""

    session: _Hex128
    wait_seconds: Annotated[float, Field(ge=0, le=20)] = 20.0


class Upload(_Message):
    """Leave to write one object: POST ``fields`` and then ``file``, as a multipart form."""

    url: str
    fields: dict[str, str]
    max_bytes: int


class Grant(_Message):
    """A lease of one task.

    Parameters
    ----------
    lease : str
        128 random bits; whoever knows them may complete the task.
    task : Task
        The work.
    urls : dict of str to str
        sha256 of each input and data blob -> where to read it.
    uploads : dict of str to Upload
        Name of each output -> where to write it.
    """

    lease: _Hex128
    task: Task
    urls: dict[str, str]
    uploads: dict[str, Upload]


class Answer(_Message):
    """A lease, or none: ask again, unless the search is ``over``."""

    grant: Grant | None = None
    over: bool = False


class Beat(_Message):
    """The client lives and still works on the task."""

    session: _Hex128


class Uploaded(_Message):
    """What was uploaded for one output."""

    sha256: _Sha256
    size: Annotated[int, Field(ge=1)]


class Complete(_Message):
    """The task is done and its outputs are uploaded."""

    session: _Hex128
    outputs: Annotated[dict[_Name, Uploaded], Field(max_length=16)]
    sums: Annotated[dict[_Name, FiniteFloat], Field(max_length=64)] = {}
    weight: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    usage: Usage = Usage()


FailReason = Literal[
    "Abandoned", "DiedInTask", "FetchFailed", "TaskFailed", "TrainingDiverged", "UploadFailed"
]


class Fail(_Message):
    """The client gives the task back.

    ``Abandoned`` is no fault: it was told to stop. ``TrainingDiverged`` is final: whoever did the
    task would fail alike.
    """

    session: _Hex128
    reason: FailReason
    message: Annotated[str, Field(max_length=1000)] = ""


class Ok(_Message):
    """Heard."""


class Refusal(_Message):
    """Why a request was not granted."""

    reason: str
    message: str
