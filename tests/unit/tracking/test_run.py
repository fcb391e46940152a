from __future__ import annotations

import pytest

pytest.importorskip("mlflow", reason="names of runs not checked: no MLflow is installed")

from fednas.tracking._run import title

FIRST = {"strategy.netAdapt.firstStep": "0.02", "seed": "0", "refit": "true"}


def test_the_first_run_bears_the_name_of_its_search() -> None:
    assert title("cifar10", FIRST, []) == "cifar10"


def test_a_later_run_is_named_by_what_differs_from_the_first() -> None:
    other = FIRST | {"strategy.netAdapt.firstStep": "0.04"}
    assert title("cifar10", other, [FIRST]) == "cifar10 netAdapt.firstStep=0.04"
    gone = {key: value for key, value in FIRST.items() if key != "refit"}
    assert title("cifar10", gone, [FIRST, other]) == "cifar10 refit=unset"


def test_another_member_of_a_union_is_named_by_itself() -> None:
    path = "strategy.netAdapt.earlyDrop"
    before, after = FIRST | {f"{path}.topK.keep": "4"}, FIRST | {f"{path}.none": "{}"}
    assert title("cifar10", after, [before]) == "cifar10 earlyDrop.none"
    assert title("cifar10", before, [after]) == "cifar10 topK.keep=4"


def test_the_same_spec_again_is_counted() -> None:
    other = FIRST | {"seed": "1"}
    assert title("cifar10", FIRST, [FIRST]) == "cifar10 #2"
    assert title("cifar10", other, [FIRST, other, other]) == "cifar10 seed=1 #3"


def test_many_differences_are_cut_short() -> None:
    other = {"a": "1", "b": "2", "c": "3", "d": "4", **FIRST}
    assert title("x", other, [FIRST]) == "x a=1 b=2 c=3 ..."


def test_a_strategy_of_ones_own_is_named_before_its_arguments() -> None:
    own = {"strategy.module.path": "lab.strategies:Pairs", "strategy.module.args.levels": "8"}
    assert title("cifar10", own, [FIRST]).startswith("cifar10 strategy=Pairs args.levels=8")
    more = own | {"strategy.module.args.levels": "9"}
    assert title("cifar10", more, [own]) == "cifar10 args.levels=9"
