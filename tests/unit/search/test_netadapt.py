"""The strategy as a generator: it is told each step's outcomes from a table made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fednas.federation import Failure
from fednas.models import Model
from fednas.search import (
    AddRung,
    Candidate,
    Cut,
    Decide,
    Dropped,
    Ending,
    Outcome,
    Problem,
    Train,
    Won,
)
from fednas.search._netadapt import NetAdaptSearch, default_filter_step, generate
from fednas.seeds import derive_seed
from fednas.space import RESOURCES
from fednas.work import Params
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
    spec = search(**settings).spec
    strategy = NetAdaptSearch(spec.strategy.chosen[1])  # type: ignore[arg-type]
    steps: list[Any] = []
    going = strategy.search(problem(budget, groups), scored("w0", start))
    answer: Any = None
    try:
        while True:
            step = going.send(answer)
            steps.append(step)
            answer = None
            if isinstance(step, Cut):
                names, phase, number = [c.name for c in step.candidates], "cut", 0
            elif isinstance(step, Train):
                names, phase, number = list(step.entrants), step.id.phase, step.id.number
            else:
                continue
            iteration = step.iteration if isinstance(step, Cut) else step.id.iteration
            answer = {}
            for name in names:
                correct = table(iteration, phase, name, number)
                answer[name] = scored(f"{iteration} {phase} {name} {number}", correct)
                if isinstance(step, Cut):
                    (cut,) = (c for c in step.candidates if c.name == name)
                    model = Model(cut.architecture, answer[name].model.blobs)
                else:
                    model = Model(step.entrants[name].model.architecture, answer[name].model.blobs)
                answer[name] = Outcome(**{**vars(answer[name]), "model": model})
    except StopIteration as end:
        return steps, end.value


def problem(budget: float = 0.5, groups: int = 4) -> Problem:
    names = tuple((f"client-{group}",) for group in range(groups))
    return Problem(space(), RESOURCES["macs"], budget, names, 11, lambda network: Params())


def scored(weights: str, correct: int | None) -> Outcome:
    model = Model(network(), {"weights": weights})
    if correct is None:
        return Outcome(model, {}, 0.0, Failure("QuorumMissed", "nobody came"))
    return Outcome(model, {"correct": correct, "total": 100}, correct / 100)


def after(candidate: Candidate) -> int:
    """Filters that are left of the one group that it changes."""
    (width,) = candidate.changes.values()
    return width


def told(rows: Table, default: int = 50) -> Callable[[int, str, str, int], int | None]:
    return lambda *key: rows.get(key, default)


def of(steps: list[Any], kind: type) -> list[Any]:
    return [step for step in steps if isinstance(step, kind)]


def test_candidates_are_the_first_width_whose_network_is_below_the_target() -> None:
    target = FULL - 0.2 * FULL  # 742.4
    found = {c.name: c for c in generate(problem(), network(), target, 1)}
    # conv0: 928 - 16 a < 742.4 at a = 12; conv1, conv2: 32 a, a = 6; conv3: 26 a, a = 8
    assert {name: after(c) for name, c in found.items()} == {
        "conv0": 4,
        "conv1": 10,
        "conv2": 10,
        "conv3": 8,
    }
    assert found["conv1"].costs["macs"] == FULL - 32 * 6
    assert all(c.reached_target for c in found.values())


def test_target_is_missed_strictly_and_the_smallest_width_is_then_taken() -> None:
    exactly = FULL - 16 * 4  # conv0 at 12 has just the target: not below it
    found = {c.name: c for c in generate(problem(), network(), exactly, 1)}
    assert after(found["conv0"]) == 11
    unreachable = {c.name: c for c in generate(problem(), network(), 10, 4)}
    assert {after(c) for c in unreachable.values()} == {4}
    assert not any(c.reached_target for c in unreachable.values())


def test_what_cannot_shrink_is_no_candidate() -> None:
    small = network(1, 4, 16, 5)
    found = generate(problem(), small, 1, 4)
    assert [(c.name, after(c)) for c in found] == [("conv2", 4), ("conv3", 4)]


@given(st.tuples(*[st.integers(1, 24)] * 4), st.sampled_from([1, 2, 4, 8]), st.floats(0, 0.99))
def test_every_candidate_is_smaller_in_one_layer_by_the_least_that_does(
    widths: tuple[int, int, int, int], step: int, share: float
) -> None:
    here, current = space(), network(*widths)
    target = share * here.macs(widths)
    for candidate in generate(problem(), current, target, step):
        left, macs = candidate.architecture.widths, candidate.costs["macs"]
        changed = [i for i in range(4) if left[i] != widths[i]]
        assert changed == [candidate.index]
        assert 0 < after(candidate) < widths[candidate.index]
        assert after(candidate) % step == 0
        assert macs == here.macs(left) < here.macs(widths)
        assert candidate.reached_target == (macs < target)
        wider = after(candidate) + step
        if wider < widths[candidate.index]:
            up = (*left[: candidate.index], wider, *left[candidate.index + 1 :])
            assert here.macs(up) >= target


def test_steps_shrink_by_decay_and_end_within_the_budget() -> None:
    steps, ending = play(told({}), maxIterations=10)
    assert ending.reason == "Completed"
    assert not ending.failed
    generated, rungs = of(steps, Cut), of(steps, AddRung)
    assert [g.iteration for g in generated] == list(range(1, len(rungs) + 1))
    macs = FULL
    for index, (step, rung) in enumerate(zip(generated, rungs, strict=True)):
        assert space().macs(step.parent.architecture.widths) == macs
        assert step.target == int(macs - 0.2 * 0.9**index * FULL)
        before, macs = macs, space().macs(rung.outcome.model.architecture.widths)
        assert macs < before
    assert macs <= 0.5 * FULL < before


def test_too_few_iterations_end_above_the_budget_with_what_there_is() -> None:
    steps, ending = play(told({}), maxIterations=1)
    assert (ending.reason, ending.failed) == ("BudgetNotReachable", False)
    assert "maxIterations or firstStep" in ending.message
    assert len(of(steps, AddRung)) == 1


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
    for step in of(steps, Train):
        at = step.id
        for name, entrant in step.entrants.items():
            drawn = derive_seed(11, "group", at.iteration, at.phase, name, at.number)
            expected = LAYERS.index(name) + at.iteration if at.number == 1 else drawn
            assert entrant.cohort(0).group == expected % 3
            assert entrant.cohort(1).group == (expected + 1) % 3
    first = of(steps, Train)[0]
    assert [entrant.cohort(0).group for entrant in first.entrants.values()] == [1, 2, 0, 1]


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
        (step.id.phase, step.id.number): step.entrants["conv0"].model.weights
        for step in of(steps, Train)
        if "conv0" in step.entrants
    }
    assert starts == {
        ("pre", 1): "1 cut conv0 0",
        ("pre", 2): "1 pre conv0 1",
        ("post", 1): "1 pre conv0 1",
        ("post", 2): "1 post conv0 1",
    }
    rung = of(steps, AddRung)[0]
    assert rung.candidate == "conv0"
    assert (rung.outcome.model.weights, rung.outcome.score) == ("1 pre conv0 1", 0.9)


def test_an_untrained_cut_can_be_the_best_round() -> None:
    table = {(1, "cut", "conv2", 0): 99}
    steps, _ = play(told(table), maxIterations=1)
    assert of(steps, AddRung)[0].outcome.model.weights == "1 cut conv2 0"


def test_only_survivors_train_on_and_the_winner_starts_the_next_iteration() -> None:
    table = {(1, "pre", "conv1", 1): 70, (1, "pre", "conv3", 1): 60, (1, "post", "conv3", 1): 79}
    steps, _ = play(told(table), maxIterations=2)
    post = next(step for step in of(steps, Train) if step.id.phase == "post")
    assert list(post.entrants) == ["conv1", "conv3"]
    dropped = next(s.entry for s in of(steps, Decide) if isinstance(s.entry, Dropped))
    assert [row.candidate for row in dropped.ranking if row.kept] == ["conv1", "conv3"]
    rung, following = of(steps, AddRung)[0], of(steps, Cut)[1]
    assert rung.candidate == "conv3"
    assert following.parent.weights == "1 post conv3 1" == rung.outcome.model.weights
    assert following.parent == rung.outcome.model


def test_without_a_second_phase_the_first_decides() -> None:
    rounds = {"constant": {"pre": 1, "post": 0}}
    steps, _ = play(told({(1, "pre", "conv2", 1): 79}), rounds=rounds, maxIterations=1)
    assert {step.id.phase for step in of(steps, Train)} == {"pre"}
    assert of(steps, AddRung)[0].candidate == "conv2"


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
    trained = [(step.id.phase, step.id.number, list(step.entrants)) for step in of(steps, Train)]
    assert trained == [
        ("pre", 1, list(LAYERS)),
        ("pre", 2, ["conv1", "conv2", "conv3"]),
        ("pre", 3, ["conv1", "conv2", "conv3"]),
        ("post", 1, ["conv1", "conv2", "conv3"]),
        ("post", 2, ["conv2", "conv3"]),
        ("post", 3, ["conv2", "conv3"]),
    ]
    dropped, won = (step.entry for step in of(steps, Decide))
    assert isinstance(won, Won)
    assert dropped.ranking[-1].candidate == "conv0"
    assert sorted(row.candidate for row in won.ranking) == ["conv2", "conv3"]
    assert ending.reason == "BudgetNotReachable"


def test_if_every_candidate_fails_so_does_the_search() -> None:
    rounds = {"constant": {"pre": 3, "post": 2}}
    for phase in ("pre", "post"):
        steps, ending = play(
            lambda t, p, name, r, phase=phase: None if p == phase else 50, rounds=rounds
        )
        assert (ending.reason, ending.failed) == ("TooManyFailedCandidates", True)
        assert "nobody came" in ending.message
        assert of(steps, AddRung) == []


def test_the_default_filter_step_suits_narrow_networks() -> None:
    assert default_filter_step((64, 128)) == 8
    assert default_filter_step((63, 512)) == 4
