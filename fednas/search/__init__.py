"""The search: strategies that decide, one loop that carries them out, and what came of it."""

from fednas.search._begin import DataRead, Inputs
from fednas.search._entries import (
    Added,
    Closed,
    Computed,
    Consented,
    Dropped,
    Ended,
    Generated,
    Led,
    Releasing,
    Scored,
    Started,
    Tuned,
    Won,
    parse,
)
from fednas.search._entry import Entry
from fednas.search._forecast import Expense, Forecast, forecast
from fednas.search._lead import Lead
from fednas.search._ledger import Cost, Ledger
from fednas.search._loop import Event, run_search
from fednas.search._order import Ranking, improves
from fednas.search._parts import Ranked
from fednas.search._private import epsilon_of
from fednas.search._reader import Reader, read_all
from fednas.search._rung import Rung, rung_file, select
from fednas.search._shrinking import ShrinkingSearch, candidate
from fednas.search._spending import Spending
from fednas.search._start_file import StartFile, read_start, rung_number
from fednas.search._status import status_of
from fednas.search._strategies import STRATEGIES, strategy_of
from fednas.search._strategy import (
    AddRung,
    Candidate,
    Compare,
    Compute,
    Cut,
    Decide,
    Distil,
    Ending,
    Entrant,
    Evaluate,
    Outcome,
    Outcomes,
    Planned,
    Problem,
    Step,
    Steps,
    Strategy,
    Train,
    Tune,
    ask,
)
from fednas.search._view import Recorded, View

__all__ = [
    "STRATEGIES",
    "AddRung",
    "Added",
    "Candidate",
    "Closed",
    "Compare",
    "Compute",
    "Computed",
    "Consented",
    "Cost",
    "Cut",
    "DataRead",
    "Decide",
    "Distil",
    "Dropped",
    "Ended",
    "Ending",
    "Entrant",
    "Entry",
    "Evaluate",
    "Event",
    "Expense",
    "Forecast",
    "Generated",
    "Inputs",
    "Lead",
    "Led",
    "Ledger",
    "Outcome",
    "Outcomes",
    "Planned",
    "Problem",
    "Ranked",
    "Ranking",
    "Reader",
    "Recorded",
    "Releasing",
    "Rung",
    "Scored",
    "ShrinkingSearch",
    "Spending",
    "StartFile",
    "Started",
    "Step",
    "Steps",
    "Strategy",
    "Train",
    "Tune",
    "Tuned",
    "View",
    "Won",
    "ask",
    "candidate",
    "epsilon_of",
    "forecast",
    "improves",
    "parse",
    "read_all",
    "read_start",
    "run_search",
    "rung_file",
    "rung_number",
    "select",
    "status_of",
    "strategy_of",
]
