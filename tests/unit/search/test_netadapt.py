"""The strategy as a generator: it is told each step's outcomes from a table made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fednas.federation import Outcome
from fednas.search import (
    Decision,
    Ending,
    Generate,
    NewRung,
    Problem,
    Rounds,
    net_adapt,
)
from fednas.search._netadapt import default_filter_step, generate
from fednas.seeds import derive_seed
from tests.unit.search.toy import LAYERS, network, search, space

FULL = space().macs((16, 16, 16, 16))  # 3 * 256 + 160 = 928

Table = Mapping[tuple[int, str, str, int], int | None]
"""(iteration, phase, candidate, round) -> right answers of 100; None: the round failed."""


def play(
    table: Callable[[int, str, str, int], int | None],
    *,
    budget: float = 0.5,
    groups: int = 4,
    start: int = 80,
    **settings: Any,
) -> tuple[list[Any], Ending]:
    """All steps that the strategy yields, and its ending."""
    problem = Problem(space=space(), architecture=network(), budget=budget, groups=groups, seed=11)
    spec = search(**settings).spec
    strategy = net_adapt(spec.strategy.net_adapt, problem, Outcome("w0", start, 100))
    steps: list[Any] = []
    outcomes: dict[str, Outcome] = {}
    try:
        while True:
            step = strategy.send(outcomes) if steps else next(strategy)
            steps.append(step)
            outcomes = {}
            if isinstance(step, Generate):
                names, phase, number = [c.name for c in step.candidates], "cut", 0
            elif isinstance(step, Rounds):
                names = [entrant.candidate.name for entrant in step.entrants]
                phase, number = step.phase, step.round
            else:
                continue
            for name in names:
                correct = table(step.iteration, phase, name, number)
                weights = f"{step.iteration} {phase} {name} {number}"
                outcomes[name] = (
                    Outcome(weights, failed=True)
                    if correct is None
                    else Outcome(weights, correct, 100)
                )
    except StopIteration as end:
        return steps, end.value


def told(rows: Table, default: int = 50) -> Callable[[int, str, str, int], int | None]:
    return lambda *key: rows.get(key, default)


def of(steps: list[Any], kind: type) -> list[Any]:
    return [step for step in steps if isinstance(step, kind)]


def test_candidates_are_the_first_width_whose_network_is_below_the_target() -> None:
    problem = Problem(space(), network(), 0.5, 4, 0)
    target = FULL - 0.2 * FULL  # 742.4
    found = {c.name: c for c in generate(problem, network(), target, 1)}
    # conv0: 928 - 16 a < 742.4 at a = 12; conv1, conv2: 32 a, a = 6; conv3: 26 a, a = 8
    assert {name: c.width_after for name, c in found.items()} == {
        "conv0": 4,
        "conv1": 10,
        "conv2": 10,
        "conv3": 8,
    }
    assert found["conv1"].macs == FULL - 32 * 6
    assert all(c.reached_target and c.width_before == 16 for c in found.values())


def test_target_is_missed_strictly_and_the_smallest_width_is_then_taken() -> None:
    problem = Problem(space(), network(), 0.5, 4, 0)
    exactly = FULL - 16 * 4  # conv0 at 12 has just the target: not below it
    found = {c.name: c for c in generate(problem, network(), exactly, 1)}
    assert found["conv0"].width_after == 11
    unreachable = {c.name: c for c in generate(problem, network(), 10, 4)}
    assert {c.width_after for c in unreachable.values()} == {4}
    assert not any(c.reached_target for c in unreachable.values())


def test_what_cannot_shrink_is_no_candidate() -> None:
    small = network(1, 4, 16, 5)
    found = generate(Problem(space(), network(), 0.1, 4, 0), small, 1, 4)
    assert [(c.name, c.width_before, c.width_after) for c in found] == [
        ("conv2", 16, 4),
        ("conv3", 5, 4),
    ]


@given(st.tuples(*[st.integers(1, 24)] * 4), st.sampled_from([1, 2, 4, 8]), st.floats(0, 0.99))
def test_every_candidate_is_smaller_in_one_layer_by_the_least_that_does(
    widths: tuple[int, int, int, int], step: int, share: float
) -> None:
    here, current = space(), network(*widths)
    target = share * here.macs(widths)
    for candidate in generate(Problem(here, network(), 0.5, 4, 0), current, target, step):
        after = candidate.architecture.widths
        changed = [i for i in range(4) if after[i] != widths[i]]
        assert changed == [candidate.index]
        assert 0 < candidate.width_after < candidate.width_before
        assert candidate.width_after % step == 0
        assert candidate.macs == here.macs(after) < here.macs(widths)
        assert candidate.reached_target == (candidate.macs < target)
        wider = candidate.width_after + step
        if wider < candidate.width_before:
            up = (*after[: candidate.index], wider, *after[candidate.index + 1 :])
            assert here.macs(up) >= target


def test_steps_shrink_by_decay_and_end_within_the_budget() -> None:
    steps, ending = play(told({}), maxIterations=10)
    assert ending.reason == "Completed"
    assert not ending.failed
    generated, rungs = of(steps, Generate), of(steps, NewRung)
    assert [g.iteration for g in generated] == list(range(1, len(rungs) + 1))
    macs = FULL
    for index, (step, rung) in enumerate(zip(generated, rungs, strict=True)):
        assert step.macs == macs
        assert step.target == int(macs - 0.2 * 0.9**index * FULL)
        assert rung.candidate.macs < macs
        macs = rung.candidate.macs
    assert macs <= 0.5 * FULL < generated[-1].macs


def test_too_few_iterations_end_above_the_budget_with_what_there_is() -> None:
    steps, ending = play(told({}), maxIterations=1)
    assert (ending.reason, ending.failed) == ("BudgetNotReachable", False)
    assert "maxIterations or firstStep" in ending.message
    assert len(of(steps, NewRung)) == 1


def test_nothing_left_to_cut_ends_the_search() -> None:
    steps, ending = play(told({}), budget=0.001, maxIterations=100, filterStep=16)
    assert (ending.reason, ending.failed) == ("BudgetNotReachable", False)
    assert "cut any further" in ending.message
    assert steps == []


def test_a_start_within_the_budget_is_complete_at_once() -> None:
    steps, ending = play(told({}), budget=1.0)
    assert (steps, ending.reason) == ([], "Completed")


def test_candidate_b_starts_each_phase_on_group_b_plus_t_and_is_then_drawn() -> None:
    rounds = {"constant": {"pre": 3, "post": 2}}
    steps, _ = play(told({}), rounds=rounds, groups=3, maxIterations=2)
    for step in of(steps, Rounds):
        for entrant in step.entrants:
            drawn = derive_seed(
                11, "group", step.iteration, step.phase, entrant.candidate.name, step.round
            )
            expected = entrant.candidate.index + step.iteration if step.round == 1 else drawn
            assert entrant.group == expected % 3
    first = of(steps, Rounds)[0]
    assert [entrant.group for entrant in first.entrants] == [1, 2, 0, 1]


def test_each_round_starts_from_the_last_and_the_second_phase_from_the_best() -> None:
    rounds = {"constant": {"pre": 2, "post": 2}}
    table = {
        (1, "cut", "conv0", 0): 10,
        (1, "pre", "conv0", 1): 90,
        (1, "pre", "conv0", 2): 60,
        (1, "post", "conv0", 1): 70,
        (1, "post", "conv0", 2): 90,  # no better than round 1 of pre: the earlier of equals counts
    }
    steps, _ = play(told(table), rounds=rounds, maxIterations=1)
    starts = {
        (step.phase, step.round): entrant.weights
        for step in of(steps, Rounds)
        for entrant in step.entrants
        if entrant.candidate.name == "conv0"
    }
    assert starts == {
        ("pre", 1): "1 cut conv0 0",
        ("pre", 2): "1 pre conv0 1",
        ("post", 1): "1 pre conv0 1",
        ("post", 2): "1 post conv0 1",
    }
    rung = of(steps, NewRung)[0]
    assert rung.candidate.name == "conv0"
    assert rung.outcome == Outcome("1 pre conv0 1", 90, 100)


def test_an_untrained_cut_can_be_the_best_round() -> None:
    table = {(1, "cut", "conv2", 0): 99}
    steps, _ = play(told(table), maxIterations=1)
    assert of(steps, NewRung)[0].outcome.weights == "1 cut conv2 0"


def test_only_survivors_train_on_and_the_winner_starts_the_next_iteration() -> None:
    table = {(1, "pre", "conv1", 1): 70, (1, "pre", "conv3", 1): 60, (1, "post", "conv3", 1): 79}
    steps, _ = play(told(table), maxIterations=2)
    post = next(step for step in of(steps, Rounds) if step.phase == "post")
    assert [entrant.candidate.name for entrant in post.entrants] == ["conv1", "conv3"]
    dropped = next(step for step in of(steps, Decision) if step.kind == "dropped")
    assert [row["candidate"] for row in dropped.evidence["ranking"] if row["kept"]] == [
        "conv1",
        "conv3",
    ]
    rung, following = of(steps, NewRung)[0], of(steps, Generate)[1]
    assert rung.candidate.name == "conv3"
    assert following.weights == "1 post conv3 1" == rung.outcome.weights
    assert following.parent == rung.candidate.architecture
    assert following.macs == rung.candidate.macs


def test_without_a_second_phase_the_first_decides() -> None:
    rounds = {"constant": {"pre": 1, "post": 0}}
    steps, _ = play(told({(1, "pre", "conv2", 1): 79}), rounds=rounds, maxIterations=1)
    assert {step.phase for step in of(steps, Rounds)} == {"pre"}
    assert of(steps, NewRung)[0].candidate.name == "conv2"


def test_a_failed_candidate_trains_no_more_and_is_ranked_last() -> None:
    rounds = {"constant": {"pre": 3, "post": 3}}
    keep = {"topK": {"keep": 4}}
    table = {
        (1, "cut", "conv0", 0): 99,
        (1, "pre", "conv0", 1): None,
        (1, "pre", "conv1", 1): 90,
        (1, "post", "conv1", 1): None,
    }
    steps, ending = play(told(table), rounds=rounds, earlyDrop=keep, maxIterations=1)
    trained = [
        (step.phase, step.round, [entrant.candidate.name for entrant in step.entrants])
        for step in of(steps, Rounds)
    ]
    assert trained == [
        ("pre", 1, list(LAYERS)),
        ("pre", 2, ["conv1", "conv2", "conv3"]),
        ("pre", 3, ["conv1", "conv2", "conv3"]),
        ("post", 1, ["conv1", "conv2", "conv3"]),
        ("post", 2, ["conv2", "conv3"]),
        ("post", 3, ["conv2", "conv3"]),
    ]
    dropped, winner = of(steps, Decision)
    assert dropped.evidence["ranking"][-1]["candidate"] == "conv0"
    assert sorted(row["candidate"] for row in winner.evidence["ranking"]) == ["conv2", "conv3"]
    assert ending.reason == "BudgetNotReachable"


def test_if_every_candidate_fails_so_does_the_search() -> None:
    rounds = {"constant": {"pre": 3, "post": 2}}
    for phase in ("pre", "post"):
        steps, ending = play(
            lambda t, p, name, r, phase=phase: None if p == phase else 50, rounds=rounds
        )
        assert (ending.reason, ending.failed) == ("TooManyFailedCandidates", True)
        assert of(steps, NewRung) == []


def test_the_default_filter_step_suits_narrow_networks() -> None:
    assert default_filter_step((64, 128)) == 8
    assert default_filter_step((63, 512)) == 4
