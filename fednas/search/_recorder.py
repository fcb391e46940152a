"""Writing entries: into the journal, then into the view, then told to whoever listens.

The store is asked in threads, never on the event loop; the view and the listener see entries on the
loop's thread alone, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fednas.errors import Diverged
from fednas.search._entry import Entry
from fednas.search._reader import read_all
from fednas.search._view import Recorded, View
from fednas.store import Journal, Store

__all__ = ["Recorder"]


class Recorder:
    """The journal of a search that this process runs, and the view of it.

    Parameters
    ----------
    store : Store
    prefix : str
        Of the journal.
    view : View
        Filled here.
    told : callable
        Called with each entry, old ones first.
    """

    def __init__(
        self, store: Store, prefix: str, view: View, told: Callable[[Recorded], None]
    ) -> None:
        self.view = view
        self._journal = Journal(store, prefix)
        self._told = told

    def replay(self) -> None:
        """Apply what the journal holds already."""
        for recorded in read_all(self._journal):
            self.view.apply(recorded)
            self._told(recorded)

    async def write(self, entry: Entry) -> None:
        """Write an entry; what is known already is only compared.

        Raises
        ------
        Diverged
            The journal holds another one under that key.
        """
        known = self.view.entries.get(entry.key)
        if known is not None:
            if known != entry:
                raise Diverged(
                    f"{self._journal.uri(entry.key)} says {str(known.value())[:200]}, this run "
                    f"would write {str(entry.value())[:200]}; other software wrote it"
                )
            return
        record = await asyncio.to_thread(self._journal.record, entry.key, entry.value())
        recorded = Recorded(entry, record.time)
        self.view.apply(recorded)
        self._told(recorded)
