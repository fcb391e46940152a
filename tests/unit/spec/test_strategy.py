"""What a strategy says of itself, so that the rest of the schema need not know it by name."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import Field

from fednas.errors import SpecError
from fednas.spec import (
    DeviceClass,
    Initial,
    InitialTraining,
    Module,
    NetAdapt,
    OneOf,
    Partition,
    Strategy,
    StrategySettings,
    differences,
    identity,
    load_spec,
)
from fednas.spec._base import Int
from fednas.spec._search import _groups_fit

from .test_load import SMALLEST, document


class Alone(StrategySettings):
    """Asks every client, and warns of any target."""

    def warnings(self, share: float) -> list[str]:
        return [f"{share:g} is hard to meet"]


class InGroups(StrategySettings):
    """Splits the clients."""

    client_groups: Int | None = Field(None)


class Several(OneOf):
    """Strategies of some day."""

    all_alone: Alone | None = Field(None)
    in_groups: InGroups | None = Field(None)
    net_adapt: NetAdapt | None = Field(None)


def test_a_union_gives_the_member_that_was_chosen_by_its_name_in_the_file() -> None:
    assert Several(in_groups=InGroups(client_groups=3)).chosen == (
        "inGroups",
        InGroups(client_groups=3),
    )
    assert load_spec(SMALLEST).spec.strategy.chosen == ("netAdapt", NetAdapt())
    assert Partition.model_validate({"dirichlet": {"alpha": 2}}).chosen[0] == "dirichlet"


def test_a_member_that_is_no_model_is_not_chosen_so() -> None:
    assert Initial(training=InitialTraining()).chosen == ("training", InitialTraining())
    with pytest.raises(AssertionError, match="weights"):
        _ = Initial(weights="start.safetensors").chosen


def test_every_strategy_that_splits_the_clients_has_its_rule() -> None:
    one, two = _groups_fit(Several)
    assert (one.path, two.path) == (
        "strategy.inGroups.clientGroups",
        "strategy.netAdapt.clientGroups",
    )
    assert one.cel.startswith(
        "!has(self.strategy.inGroups) || !has(self.strategy.inGroups.clientGroups)"
        " || self.strategy.inGroups.clientGroups <= self.deviceClasses"
    )
    classes = (DeviceClass(name="phone", clients=8), DeviceClass(name="hub", clients=4))
    for groups, holds in ((12, True), (13, False), (None, True)):
        chosen = Several(in_groups=InGroups(client_groups=groups))
        spec = SimpleNamespace(strategy=chosen, device_classes=classes)
        assert (one.holds(spec), two.holds(spec)) == (holds, True)


def test_all_of_ours_have_theirs() -> None:
    names = ("netAdapt", "random", "uniform")
    assert [rule.path for rule in _groups_fit(Strategy)] == [
        f"strategy.{name}.clientGroups" for name in names
    ]


def test_a_strategy_warns_under_its_own_name() -> None:
    class Larger(Strategy):
        """With one more member."""

        all_alone: Alone | None = Field(None)

    assert Larger(all_alone=Alone()).warnings(0.25) == ["allAlone: 0.25 is hard to meet"]
    assert StrategySettings().warnings(0.25) == []


def test_arguments_of_ones_own_strategy_stay_as_they_are_and_count_for_the_identity() -> None:
    args = {"levels": 3, "rates": {"blocks.0.conv1": 0.5}, "more": [None, True, 1.0]}
    own = {"module": {"path": "lab.strategies:Pairs", "args": args}}
    search = load_spec(document(strategy=own))
    assert search.to_dict()["spec"]["strategy"] == own
    assert identity(search)["strategy"] == own
    other = load_spec(document(strategy=own), ["strategy.module.args.levels=4"])
    assert differences(identity(search), identity(other)) == [
        "spec.strategy.module.args.levels: 3 -> 4"
    ]
    assert load_spec(SMALLEST, ["strategy.module.path=lab:Pairs"]).spec.strategy.chosen == (
        "module",
        Module(path="lab:Pairs"),
    )


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"rates": [0.5, float("nan")]}, "must hold finite numbers; rates.1 is nan"),
        ({"when": {"day": date(2026, 1, 2)}}, "must hold values of JSON; when.day is of type date"),
        ({"rates": {"a/b": 1}}, "names must be of 1 to 64 letters, digits, _, - and .; not 'a/b'"),
        ({"a": [[[[[[[[[1]]]]]]]]]}, "must have at most 8 levels; a.0.0.0.0.0.0.0 is deeper"),
    ],
)
def test_arguments_are_values_of_json(args: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(document(strategy={"module": {"path": "lab:Pairs", "args": args}}))
    (line,) = caught.value.problems
    assert line.startswith(f"spec.strategy.module.args: got a mapping; {says}")
