"""A search that ran, or runs, as data: opened from a folder or a bucket, in tables and networks."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fednas.errors import BadInput, Corrupt, DataError, NotFound
from fednas.models import decode
from fednas.search import Ledger, Reader, Rung, View
from fednas.space import resource
from fednas.spec import load_spec, parse_s3
from fednas.store import Blobs, FolderStore, Journal, Layout, Store, digest_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

__all__ = ["LadderRung", "Result", "open_target"]


@dataclass(frozen=True, kw_only=True)
class LadderRung(Rung):
    """A rung of the ladder that can be loaded."""

    store: Store
    key: str

    def __repr__(self) -> str:
        share = f"{self.share:.3f}x {resource(self.resource).label}"
        return f"LadderRung({self.rung}, {share}, accuracy {self.accuracy:.4f})"

    @property
    def uri(self) -> str:
        """Where its weights lie: what ``model.initial.weights`` takes."""
        return self.store.uri(self.key)

    def load(self) -> nn.Module:
        """The trained network in evaluation mode; needs torch.

        Input is float32 [n, C, H, W], what `normalise` makes of pixels; output logits [n, classes].
        """
        from fednas.models import build

        blob = self.store.get(self.key)
        if digest_of(blob) != self.sha256:
            raise DataError(f"{self.store.uri(self.key)}: is not the network that the ladder names")
        return build(self.architecture, decode(blob)).eval()

    def normalise(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """What the network takes of images uint8 [n, C, H, W] in 0..255; needs torch.

        ``(pixel / 255 - mean) / std`` with the ``inputMean`` and ``inputStd`` of
        ``architecture.args``, one number a channel; 0.5 and 0.25 where it has none.
        """
        from fednas.training import normalise

        return normalise(images, self.architecture.normalize)


class Result:
    """What a search has come to so far.

    Tables (`decisions`, `rounds`, `clients`) are data frames where pandas is installed, else lists
    of dicts.

    Attributes
    ----------
    search : FederatedSearch
    view : View
        Everything that the journal tells.
    """

    def __init__(self, store: Store, layout: Layout) -> None:
        self.store = store
        self.layout = layout
        self.view = View()
        reader = Reader(Journal(store, layout.journal))
        for _ in range(2):  # another process may be writing
            for recorded in reader.read():
                self.view.apply(recorded)
        key = f"{layout.ladder}search.json"
        try:
            self.search = load_spec(json.loads(store.get(key)))
        except NotFound:
            raise DataError(f"{store.uri(layout.ladder)}: no search was run here") from None
        except (TypeError, ValueError) as error:
            raise Corrupt(f"{store.uri(key)}: is no FederatedSearch: {error}") from None

    @property
    def ladder(self) -> list[LadderRung]:
        """The start and the winner of each iteration, in order."""
        return [self._loadable(rung) for rung in self.view.ladder]

    @property
    def best(self) -> LadderRung | None:
        """The most accurate rung, the start included; None while there is none."""
        best = max(self.view.ladder, key=lambda rung: rung.accuracy, default=None)
        return None if best is None else self._loadable(best)

    @property
    def selected(self) -> dict[str, LadderRung | None]:
        """Device class -> the rung for it; None where no rung is within its budget."""
        return {
            name: None if rung is None else self._loadable(rung)
            for name, rung in self.view.selected(self.search).items()
        }

    @property
    def decisions(self) -> Any:
        """A table of every candidate's fate; see `View.decisions`."""
        return _table(self.view.decisions)

    @property
    def rounds(self) -> Any:
        """A table of every evaluated aggregate; see `View.rounds`."""
        return _table(self.view.rounds)

    @property
    def clients(self) -> Any:
        """A table of what each client paid in the search."""
        classes = self.view.start.clients if self.view.start else {}
        return _table(
            [
                {"client": name, "deviceClass": classes[name].device_class, **cost.to_dict()}
                for name, cost in self.ledger.clients.of_clients().items()
            ]
        )

    @cached_property
    def ledger(self) -> Ledger:
        """What the clients paid, and what the naive design would have cost."""
        ledger = self.view.ledger
        ledger.tally(Blobs(self.store, self.layout.updates).get)
        return ledger

    def _loadable(self, rung: Rung) -> LadderRung:
        return LadderRung(**vars(rung), store=self.store, key=self.layout.ladder + rung.file)


def _table(rows: list[dict[str, Any]]) -> Any:
    if importlib.util.find_spec("pandas") is None:
        return rows
    import pandas

    return pandas.DataFrame(rows)


def open_target(target: str | os.PathLike[str]) -> Result:
    """Open a search that ran, or runs, in a folder or a bucket.

    Parameters
    ----------
    target : path or str
        A run folder, or ``s3://bucket/ladder/<searchID>`` (credentials and endpoint from
        ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_ENDPOINT_URL_S3``).
    """
    text = os.fspath(target)
    if text.startswith("s3:"):
        from fednas.store import open_bucket

        try:
            bucket, key = parse_s3(text.rstrip("/"))
        except BadInput as error:
            raise BadInput(f"target: {error}") from None
        search_id = key.rpartition("/")[2]
        if not search_id:
            raise BadInput(f"target: got {text}; must be s3://bucket/ladder/<searchID>")
        return Result(open_bucket(bucket), Layout(search_id))
    folder = Path(text)
    if not (folder / "journal").is_dir():
        raise BadInput(f"target: {text} is no run folder; fednas run makes one (runs/<name>)")
    return Result(FolderStore(folder.absolute()), Layout())
