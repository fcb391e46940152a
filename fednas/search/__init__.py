"""The search: strategies that decide, one loop that carries them out, and what came of it."""

from fednas.search._ledger import Cost, Ledger, make_ledger
from fednas.search._loop import run_search
from fednas.search._netadapt import net_adapt
from fednas.search._start import Inputs
from fednas.search._status import status_of
from fednas.search._strategy import (
    Candidate,
    Decision,
    Ending,
    Entrant,
    Generate,
    NewRung,
    Problem,
    Rounds,
    Strategy,
)
from fednas.search._view import Rung, View, select

__all__ = [
    "Candidate",
    "Cost",
    "Decision",
    "Ending",
    "Entrant",
    "Generate",
    "Inputs",
    "Ledger",
    "NewRung",
    "Problem",
    "Rounds",
    "Rung",
    "Strategy",
    "View",
    "make_ledger",
    "net_adapt",
    "run_search",
    "select",
    "status_of",
]
