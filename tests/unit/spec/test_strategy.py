"""What a strategy says of itself, so that the rest of the schema need not know it by name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import Field

from fednas.spec import (
    DeviceClass,
    Initial,
    InitialTraining,
    NetAdapt,
    OneOf,
    Partition,
    Strategy,
    StrategySettings,
    load_spec,
)
from fednas.spec._base import Int
from fednas.spec._search import _groups_fit

from .test_load import SMALLEST


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
