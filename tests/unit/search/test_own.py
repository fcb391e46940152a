"""A strategy of one's own is found by name; whatever is wrong with it is one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fednas.errors import BadInput
from fednas.search import Cut, ShrinkingSearch, status_of, strategy_of
from fednas.spec import FederatedSearch, load_spec
from tests.memory_store import MemoryStore
from tests.unit.search.table import of, play, told
from tests.unit.search.toy import killed_at_each_entry, run, search

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "own" / "strategies.py"
PAGE = ROOT / "docs" / "own-strategy.md"

STRATEGIES = """
class Right:
    phases, iterations = ("cut",), 3
    def __init__(self, more=(), groups=1):
        self.more, self.groups = more, groups
        if isinstance(more, list): more.append(9)
    def num_groups(self, space, clients): return self.groups
    def progress(self, share, budget): return 0.5
    def search(self, problem, start): yield

def made(**args): return Right(**args)
class Failing(Right):
    def __init__(self, level): raise RuntimeError(f"level {level}\\nis wrong")

class Mute(Right):
    search = None
class Listed(Right):
    phases = ["cut"]
class Reserved(Right):
    phases = ("initial",)
class Never(Right):
    iterations = 0
class Unphased:
    iterations = 3
    num_groups = progress = search = lambda self: None
class Fewer:
    phases, iterations = ("cut",), 3
number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, which is in no path."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ownsearch.py").write_text(STRATEGIES)
    (tmp_path / "ownpairs.py").write_text(EXAMPLE.read_text())
    (tmp_path / "ownpage.py").write_text(
        "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    )
    yield tmp_path
    for name in ("ownsearch", "ownpairs", "ownpage"):
        sys.modules.pop(name, None)


def named(path: str, **args: Any) -> FederatedSearch:
    document = search().to_dict()
    document["spec"]["strategy"] = {"module": {"path": path, "args": args}}
    return load_spec(document)


def test_it_is_made_with_its_arguments_which_it_cannot_change() -> None:
    spec = named("ownsearch:Right", more=[1, {"deep": None}])
    for _ in range(2):
        strategy: Any = strategy_of(spec)
        assert (type(strategy).__name__, strategy.more) == ("Right", [1, {"deep": None}, 9])


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("ownsearch:Rigth", "ownsearch has no Rigth; did you mean Right?"),
        ("ownsearch:zzz", "ownsearch has no zzz; must name a class in it"),
        ("nowhere.at:All", "there is no module nowhere; must lie in the folder where the program"),
        ("ownsearch:number", "is no class but int; must give a strategy: phases, iterations, num_"),
        ("ownsearch:made", "is no class but function; must give a strategy"),
        ("ownsearch:Fewer", "has no method num_groups; must give a strategy"),
        ("ownsearch:Mute", "has no method search; must"),
        ("ownsearch:Unphased", "has no phases; must"),
        ("ownsearch:Listed", "its phases are ['cut'], not a tuple of names of small letters"),
        ("ownsearch:Reserved", "its phases are ('initial',), not a tuple of names"),
        ("ownsearch:Never", "its iterations are 0, not a whole number of at least 1"),
    ],
)
def test_what_is_wrong_with_it_is_said_by_its_path(path: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        strategy_of(named(path))
    assert str(caught.value).startswith(f"spec.strategy.module.path: got {path!r}; {says}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "args", "says"),
    [
        (
            "ownsearch:Right",
            {"levels": 3},
            ': got {"levels": 3}; ownsearch:Right refuses them (TypeError: Right.__init__() got an '
            "unexpected keyword argument 'levels'); must be keyword arguments that it takes",
        ),
        (
            "ownsearch:Failing",
            {"level": 3},
            ': got {"level": 3}; ownsearch:Failing refuses them (RuntimeError: level 3); must be '
            "keyword arguments that it takes",
        ),
        (
            "ownpairs:Pairs",
            {"maxIterations": 0},
            ".maxIterations: got 0; must be at least 1",
        ),
        (
            "ownpairs:Pairs",
            {"maxIteration": 2},
            ".maxIteration: unknown field; did you mean maxIterations?",
        ),
        (
            "ownpairs:Pairs",
            {"rounds": {}},
            ".rounds: got none; must hold exactly one of constant, growing, adaptive",
        ),
    ],
)
def test_what_is_wrong_with_its_arguments_is_said_by_theirs(
    path: str, args: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput) as caught:
        strategy_of(named(path, **args))
    assert str(caught.value) == f"spec.strategy.module.args{says}"


def test_what_is_no_strategy_is_not_called(tmp_path: Path) -> None:
    touch = ["touch", str(tmp_path / "called")]
    with pytest.raises(BadInput, match="got 'subprocess:Popen'; has no method num_groups"):
        strategy_of(named("subprocess:Popen", args=touch))
    assert not (tmp_path / "called").exists()


def test_groups_that_cannot_be_are_bad_input_and_leave_no_journal() -> None:
    store = MemoryStore()
    with pytest.raises(BadInput, match=r"strategy\.module: wants 13 groups .* deviceClasses, 12$"):
        run(named("ownsearch:Right", groups=13), store)
    assert not [one.key for one in store.list("") if "journal" in one.key]


def test_a_status_needs_no_module() -> None:
    view = run(search(), MemoryStore())
    display = status_of(view, named("nowhere.at:All")).display
    assert display is not None
    assert display.iteration == str(view.iteration) != "0"


def test_the_example_cuts_two_neighbours_by_the_same_share() -> None:
    strategy = strategy_of(named("ownpairs:Pairs", levels=8, maxIterations=2, firstStep=0.2))
    assert isinstance(strategy, ShrinkingSearch)
    steps, ending = play(told(), own=strategy, budget=0.5)
    first, second = of(steps, Cut)
    assert [one.name for one in first.candidates] == ["conv0-conv1", "conv1-conv2", "conv2-conv3"]
    for one in first.candidates:
        left = list(one.changes.values())
        assert len(left) == 2
        assert left[0] == left[1] < 16
        assert one.costs["macs"] <= first.target
    assert second.iteration == 2
    assert ending.reason == "Completed"


ON_THE_PAGE: dict[str, dict[str, Any]] = {
    "Once": {"rounds": 2, "steps": 3},
    "Halves": {"tries": 3, "maxIterations": 2, "firstStep": 0.2, "order": "loss"},
}


@pytest.mark.parametrize("name", ON_THE_PAGE)
def test_those_of_the_page_killed_at_each_entry_go_on_to_the_same_bytes(name: str) -> None:
    view = killed_at_each_entry(named(f"ownpage:{name}", **ON_THE_PAGE[name]))
    assert len(view.ladder) == 1 + ON_THE_PAGE[name].get("steps", 2)


def test_once_trains_the_first_network_alone_by_all_clients() -> None:
    view = run(named("ownpage:Once", rounds=2, steps=3), MemoryStore())
    trained = [(row["iteration"], row["round"]) for row in view.rounds if row["phase"] == "train"]
    assert trained == [(1, 1), (1, 2)]
    assert view.ledger.search.client_rounds == 2 * 12
    shares = [rung.share for rung in view.ladder]
    for share, target in zip(shares, (1, 5 / 6, 4 / 6, 3 / 6), strict=True):
        assert target - 0.1 < share <= target
