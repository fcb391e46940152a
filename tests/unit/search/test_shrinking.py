"""The loop as a generator: what is cut, screened, trained, dropped and won."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fednas.models import Architecture
from fednas.search import (
    AddRung,
    Candidate,
    Compare,
    Cut,
    Decide,
    Dropped,
    Problem,
    Train,
    Won,
    strategy_of,
)
from fednas.search._shrinking import ShrinkingSearch, candidate
from fednas.seeds import derive_seed
from fednas.spec import Choosing
from tests.unit.search.table import FULL, decided, of, play, told
from tests.unit.search.toy import LAYERS, search, space

NONE: dict[str, Any] = {"none": {}}


def top(keep: int) -> dict[str, Any]:
    return {"topK": {"keep": keep}}


def constant(pre: int, post: int) -> dict[str, Any]:
    return {"constant": {"pre": pre, "post": post}}


def macs(rung: AddRung) -> int:
    return space().macs(rung.outcome.model.architecture.widths)


def trained(steps: list[Any]) -> list[tuple[str, int, list[str]]]:
    """Phase, round and who trained, in each round."""
    return [(s.id.phase, s.id.number, sorted(s.entrants)) for s in of(steps, Train)]


# --- targets -------------------------------------------------------------------------------------


def test_steps_shrink_by_decay_and_the_last_ends_at_the_budget() -> None:
    steps, ending = play(told(), maxIterations=10)
    assert ending.reason == "Completed"
    assert not ending.failed
    cuts, rungs = of(steps, Cut), of(steps, AddRung)
    assert [step.iteration for step in cuts] == list(range(1, len(rungs) + 1))
    cost = FULL
    for index, (step, rung) in enumerate(zip(cuts, rungs, strict=True)):
        assert space().macs(step.parent.architecture.widths) == cost
        assert step.target == int(max(cost - 0.2 * 0.9**index * FULL, 0.5 * FULL))
        before, cost = cost, macs(rung)
        assert cost <= step.target < before
    assert cuts[-1].target == int(0.5 * FULL) > before - 0.2 * 0.9 ** (len(cuts) - 1) * FULL


@pytest.mark.parametrize("strategy", ["netAdapt", "random", "uniform"])
@pytest.mark.parametrize("budget", [0.2, 0.5, 0.77, 0.97])
def test_the_budget_is_met_and_never_passed_by_what_one_more_filter_would_fill(
    strategy: str, budget: float
) -> None:
    steps, ending = play(
        told(), strategy=strategy, budget=budget, maxIterations=100, firstStep=0.1, stepDecay=1
    )
    assert ending.reason == "Completed"
    last, step = of(steps, AddRung)[-1], of(steps, Cut)[-1]
    (winner,) = (c for c in step.candidates if c.name == last.candidate)
    assert step.target >= int(budget * FULL)
    assert macs(last) <= budget * FULL
    wider = list(winner.architecture.widths)
    for group in winner.changes:
        wider[LAYERS.index(group)] += 1
    assert space().macs(wider) > step.target


def test_a_budget_can_be_met_exactly() -> None:
    budget = (FULL - 12 * 16) / FULL  # conv0 at 4 of 16 filters
    favourite = told({(1, "cut", "conv0", 0): 99})
    steps, ending = play(favourite, budget=budget, firstStep=0.5, maxIterations=1)
    (rung,) = of(steps, AddRung)
    assert macs(rung) == budget * FULL
    assert ending.reason == "Completed"


def test_too_few_iterations_end_above_the_budget_with_what_there_is() -> None:
    steps, ending = play(told(), maxIterations=1)
    assert (ending.reason, ending.failed) == ("BudgetNotReachable", False)
    assert "maxIterations or firstStep" in ending.message
    assert len(of(steps, AddRung)) == 1


def test_nothing_left_to_cut_ends_the_search() -> None:
    steps, ending = play(told(), budget=0.001, maxIterations=100, filterStep=16)
    assert (ending.reason, ending.failed) == ("BudgetNotReachable", False)
    assert "cut any further" in ending.message
    assert steps == []


def test_a_start_within_the_budget_is_complete_at_once() -> None:
    steps, ending = play(told(), budget=1.0)
    assert (steps, ending.reason) == ([], "Completed")


# --- screening -----------------------------------------------------------------------------------

CUTS = {
    (1, "cut", name, 0): correct for name, correct in zip(LAYERS, (60, 75, 65, 70), strict=True)
}


def test_only_the_best_as_they_are_just_cut_are_trained() -> None:
    steps, _ = play(told(CUTS, 1), screening=top(3), rounds=constant(1, 0), maxIterations=1)
    assert trained(steps) == [("pre", 1, ["conv1", "conv2", "conv3"])]
    screened, dropped = decided(steps, Dropped)
    assert screened.id.key == "0001/cut/00"
    assert [row.candidate for row in screened.ranking] == ["conv1", "conv3", "conv2", "conv0"]
    assert [row.kept for row in screened.ranking] == [True, True, True, False]
    assert [row.candidate for row in dropped.ranking if row.kept] == ["conv1", "conv3"]


def test_without_screening_all_are_trained_and_nothing_is_said_of_it() -> None:
    steps, _ = play(told(CUTS), screening=NONE, maxIterations=1)
    assert trained(steps)[0] == ("pre", 1, list(LAYERS))
    assert [entry.id.phase for entry in decided(steps, Dropped)] == ["pre"]


@pytest.mark.parametrize("screening", [NONE, top(3), top(8)])
def test_whoever_misses_the_target_is_not_trained_while_another_meets_it(screening: Any) -> None:
    steps, _ = play(
        told({(1, "cut", "tiny", 0): 99}),
        own=Uneven(settings(screening=screening, maxIterations=1)),
    )
    assert {tuple(who) for _, _, who in trained(steps)} == {("half", "less")}
    first, *_ = decided(steps, Dropped)
    assert [(row.candidate, row.kept) for row in first.ranking] == [
        ("less", True),
        ("half", True),
        ("tiny", False),
    ]
    assert of(steps, AddRung)[0].candidate == "less"


@pytest.mark.parametrize("screening", [NONE, top(1)])
def test_without_rounds_nobody_is_trained_nor_screened(screening: Any) -> None:
    steps, ending = play(
        told(CUTS), screening=screening, rounds=constant(0, 0), budget=0.8, maxIterations=5
    )
    assert ending.reason == "Completed"
    assert [type(step).__name__ for step in steps] == ["Cut", "Compare", "Decide", "AddRung"]
    (won,) = decided(steps, Won)
    assert won.winner == "conv1"
    assert [row.candidate for row in won.ranking] == ["conv1", "conv3", "conv2", "conv0"]
    assert of(steps, AddRung)[0].outcome.model.weights == "1 cut conv1 0"
    assert of(steps, Cut)[0].planned == {"pre": 0, "post": 0}


@pytest.mark.parametrize("strategy", ["netAdapt", "random", "uniform"])
def test_what_was_trained_is_cut_on_and_what_was_only_cut_is_cut_anew_from_the_start(
    strategy: str,
) -> None:
    for rounds, whole in ((constant(0, 0), True), (constant(1, 0), False), (constant(0, 1), False)):
        steps, _ = play(told(), strategy=strategy, rounds=rounds, maxIterations=9)
        cuts = of(steps, Cut)
        assert len(cuts) == 3
        for step, rung in zip(cuts[1:], of(steps, AddRung), strict=False):
            assert step.parent == rung.outcome.model
            assert step.source.weights == ("w0" if whole else step.parent.weights)


def settings(**changes: Any) -> Any:
    return strategy_of(search(**changes)).settings  # type: ignore[attr-defined]


class Uneven(ShrinkingSearch):
    """Three candidates, of which one does not meet the target."""

    def __init__(self, settings: Choosing) -> None:
        super().__init__(settings)

    def candidates(
        self, problem: Problem, iteration: int, network: Architecture, target: float
    ) -> tuple[Candidate, ...]:
        wide = network.widths[0]
        cuts = {"tiny": wide - 1, "half": wide // 2, "less": wide // 2 - 1}
        return tuple(
            candidate(problem, name, index, network, (width,) * 4, target)
            for index, (name, width) in enumerate(cuts.items())
        )


# --- who trains whom -----------------------------------------------------------------------------


def test_candidate_b_starts_each_phase_on_group_b_plus_t_and_is_then_drawn() -> None:
    steps, _ = play(told(), rounds=constant(3, 2), groups=3, maxIterations=2)
    for step in of(steps, Train):
        at = step.id
        for name, entrant in step.entrants.items():
            drawn = derive_seed(11, "group", at.iteration, at.phase, name, at.number)
            expected = LAYERS.index(name) + at.iteration if at.number == 1 else drawn
            assert entrant.cohort(0).group == expected % 3
            assert entrant.cohort(1).group == (expected + 1) % 3
    first = of(steps, Train)[0]
    groups = [first.entrants[name].cohort(0).group for name in LAYERS]
    assert groups == [1, 2, 0, 1]


def test_together_all_candidates_of_a_round_train_on_one_group() -> None:
    steps, _ = play(told(), rounds=constant(3, 2), pairing="together", maxIterations=3)
    groups = []
    for step in of(steps, Train):
        found = {entrant.cohort(0).group for entrant in step.entrants.values()}
        assert len(found) == 1
        groups += found
        if step.id.number == 1:
            assert found == {step.id.iteration % 4}
    assert len(step.entrants) == 2
    assert len(set(groups)) > 2  # and not on the same for ever


# --- rounds --------------------------------------------------------------------------------------


def test_each_round_starts_from_the_last_and_the_second_phase_from_the_best() -> None:
    table = {
        (1, "cut", "conv0", 0): 10,
        (1, "pre", "conv0", 1): 90,
        (1, "pre", "conv0", 2): 60,
        (1, "post", "conv0", 1): 70,
        (1, "post", "conv0", 2): 90,  # no better than round 1 of pre: the earlier of equals counts
    }
    steps, _ = play(told(table), rounds=constant(2, 2), maxIterations=1)
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


def test_growing_rounds_are_planned_and_played_more_the_smaller_the_network_is() -> None:
    rounds = {"growing": {"pre": 1, "postMin": 0, "postMax": 4}}
    steps, _ = play(told(), rounds=rounds, firstStep=0.15, stepDecay=1, maxIterations=10)
    planned = []
    for step in of(steps, Cut):
        way = (1 - space().macs(step.parent.architecture.widths) / FULL) / (1 - 0.5)
        planned.append(round(4 * way))
        assert step.planned == {"pre": 1, "post": planned[-1]}
    assert planned[0] == 0
    assert planned == sorted(planned)
    assert planned[-1] >= 3
    played = Counter(s.id.iteration for s in of(steps, Train) if s.id.phase == "post")
    assert [played[iteration] for iteration in range(1, len(planned) + 1)] == planned


def adaptive(leaders: str, patience: int) -> int:
    """Rounds of the second phase where these (0 to 3) lead after each round of both."""

    def table(iteration: int, phase: str, name: str, number: int) -> int:
        played = 0 if phase == "cut" else number if phase == "pre" else number + 1
        leads = played and LAYERS[int(leaders[min(played, len(leaders)) - 1])] == name
        return 50 + played if leads else 20

    rounds = {"adaptive": {"pre": 1, "postMax": 5, "patience": patience}}
    steps, _ = play(table, rounds=rounds, earlyDrop=NONE, maxIterations=1)
    assert of(steps, Cut)[0].planned == {"pre": 1, "post": 5}
    assert of(steps, AddRung)[0].candidate == LAYERS[int(leaders[-1])]
    return sum(step.id.phase == "post" for step in of(steps, Train))


def test_adaptive_rounds_stop_when_the_leader_has_stayed_the_same() -> None:
    assert adaptive("0", 1) == 1
    assert adaptive("0", 2) == 2
    assert adaptive("01", 1) == 2
    assert adaptive("011", 2) == 3
    assert adaptive("010101", 1) == 5
    assert adaptive("0", 5) == 5


def test_the_first_phase_is_played_to_its_end_before_anybody_is_patient() -> None:
    rounds = {"adaptive": {"pre": 4, "postMax": 5, "patience": 1}}
    steps, _ = play(told(), rounds=rounds, maxIterations=1)
    assert [step.id.phase for step in of(steps, Train)] == ["pre"] * 4 + ["post"]


# --- dropping ------------------------------------------------------------------------------------


def test_only_survivors_train_on_and_the_winner_starts_the_next_iteration() -> None:
    table = {(1, "pre", "conv1", 1): 70, (1, "pre", "conv3", 1): 60, (1, "post", "conv3", 1): 79}
    steps, _ = play(told(table), maxIterations=2)
    post = next(step for step in of(steps, Train) if step.id.phase == "post")
    assert list(post.entrants) == ["conv1", "conv3"]
    dropped = decided(steps, Dropped)[0]
    assert dropped.id.key == "0001/pre/01"
    assert [row.candidate for row in dropped.ranking if row.kept] == ["conv1", "conv3"]
    rung, following = of(steps, AddRung)[0], of(steps, Cut)[1]
    assert rung.candidate == "conv3"
    assert following.parent.weights == "1 post conv3 1" == rung.outcome.model.weights
    assert following.parent == rung.outcome.model


def test_the_best_k_are_told_apart_after_the_last_round_of_the_first_phase_alone() -> None:
    steps, _ = play(told(), rounds=constant(3, 2), maxIterations=1)
    assert [entry.id.key for entry in decided(steps, Dropped)] == ["0001/pre/03"]
    assert [len(who) for _, _, who in trained(steps)] == [4, 4, 4, 2, 2]


def test_halving_drops_the_worse_half_after_every_round_until_one_is_left() -> None:
    table = {(1, "pre", "conv1", 1): 70, (1, "pre", "conv2", 1): 60, (1, "post", "conv2", 1): 75}
    halving: dict[str, Any] = {"successiveHalving": {}}
    steps, _ = play(told(table), rounds=constant(1, 3), earlyDrop=halving, maxIterations=1)
    assert trained(steps) == [
        ("pre", 1, list(LAYERS)),
        ("post", 1, ["conv1", "conv2"]),
        ("post", 2, ["conv2"]),
        ("post", 3, ["conv2"]),
    ]
    assert [entry.id.key for entry in decided(steps, Dropped)] == ["0001/pre/01", "0001/post/01"]


def test_without_early_drop_all_train_to_the_end_and_nothing_is_dropped() -> None:
    steps, _ = play(told(), rounds=constant(1, 2), earlyDrop=NONE, maxIterations=1)
    assert [who for _, _, who in trained(steps)] == [list(LAYERS)] * 3
    assert decided(steps, Dropped) == []


def test_without_a_second_phase_the_first_decides() -> None:
    steps, _ = play(told({(1, "pre", "conv2", 1): 79}), rounds=constant(1, 0), maxIterations=1)
    assert {step.id.phase for step in of(steps, Train)} == {"pre"}
    assert of(steps, AddRung)[0].candidate == "conv2"


def test_without_a_first_phase_the_screened_train_the_second() -> None:
    steps, _ = play(told(CUTS), rounds=constant(0, 2), screening=top(2), maxIterations=1)
    assert trained(steps) == [("post", 1, ["conv1", "conv3"]), ("post", 2, ["conv1", "conv3"])]


def test_what_is_ranked_by_divergence_is_compared_with_what_it_was_cut_from() -> None:
    steps, _ = play(told(), maxIterations=2, order="divergence", rounds=constant(0, 0))
    first, second = of(steps, Cut)
    assert (first.divergence, second.divergence) == (True, True)
    assert first.source == second.source != second.parent
    assert [(step.by, step.source) for step in of(steps, Compare)] == [
        ("divergence", first.source)
    ] * 2


def test_the_divergence_screens_and_the_loss_chooses_among_the_trained() -> None:
    table = told(CUTS | {(1, "pre", "conv3", 1): 90})
    steps, _ = play(
        table, maxIterations=1, order="divergence", rounds=constant(1, 0), screening=top(2)
    )
    assert trained(steps) == [("pre", 1, ["conv1", "conv3"])]
    assert of(steps, AddRung)[0].candidate == "conv3"
    assert of(steps, Compare)[0].by == "loss"
    assert not of(play(table, maxIterations=1, order="loss")[0], Cut)[0].divergence


# --- how sure it is -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["loss", "lossPerResource", "accuracy", "accuracyPerResource"])
def test_the_winner_is_compared_with_the_second_just_before_it_has_won(order: str) -> None:
    steps, _ = play(told(), maxIterations=2, order=order)
    assert len(of(steps, Compare)) == 2
    for step, won in zip(of(steps, Compare), decided(steps, Won), strict=True):
        assert (step.winner, step.runner_up) == (
            won.ranking[0].candidate,
            won.ranking[1].candidate,
        )
        assert step.iteration == won.iteration
        assert steps[steps.index(step) + 1] == Decide(won)
        assert step.by == order.removesuffix("PerResource")
        rung = next(one for one in of(steps, AddRung) if one.iteration == step.iteration)
        assert step.outcomes[step.winner] == rung.outcome


def test_who_failed_is_no_runner_up() -> None:
    table = {(1, "post", "conv1", 1): None, (1, "pre", "conv1", 1): 90}
    steps, _ = play(told(table), earlyDrop=top(3), maxIterations=1)
    (step,) = of(steps, Compare)
    (won,) = decided(steps, Won)
    assert (won.ranking[-1].candidate, won.ranking[-1].failed) == ("conv1", True)
    assert step.runner_up == won.ranking[1].candidate


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "uniform"},
        {"earlyDrop": top(1)},
        {"earlyDrop": {"successiveHalving": {}}, "rounds": constant(1, 2)},
    ],
)
def test_a_winner_without_a_runner_up_is_not_compared(settings: Any) -> None:
    steps, _ = play(told(), maxIterations=1, **settings)
    assert len(decided(steps, Won)) == 1
    assert of(steps, Compare) == []


# --- failures ------------------------------------------------------------------------------------


def test_a_failed_candidate_trains_no_more_and_is_ranked_last() -> None:
    table = {
        (1, "cut", "conv0", 0): 99,
        (1, "pre", "conv0", 1): None,
        (1, "pre", "conv1", 1): 90,
        (1, "post", "conv1", 1): None,
    }
    keep = {"rounds": constant(3, 3), "earlyDrop": top(4)}
    steps, ending = play(told(table), maxIterations=1, **keep)
    three, two = ["conv1", "conv2", "conv3"], ["conv2", "conv3"]
    assert trained(steps) == [
        ("pre", 1, list(LAYERS)),
        ("pre", 2, three),
        ("pre", 3, three),
        ("post", 1, three),
        ("post", 2, two),
        ("post", 3, two),
    ]
    (won,) = decided(steps, Won)
    assert [row.failed for row in won.ranking] == [False, False, True, True]
    assert sorted(row.candidate for row in won.ranking[2:]) == ["conv0", "conv1"]
    assert [row.kept for row in won.ranking] == [True, True, False, False]
    assert ending.reason == "BudgetNotReachable"


def test_a_failed_candidate_is_dropped_as_failed() -> None:
    table = {(1, "pre", "conv0", 1): None}
    steps, _ = play(told(table), earlyDrop=top(3), maxIterations=1)
    (dropped,) = decided(steps, Dropped)
    last = dropped.ranking[-1]
    assert (last.candidate, last.failed, last.kept) == ("conv0", True, False)
    assert of(steps, Train)[-1].entrants.keys() == {"conv1", "conv2", "conv3"}


@pytest.mark.parametrize("phase", ["pre", "post"])
def test_if_every_candidate_fails_so_does_the_search(phase: str) -> None:
    steps, ending = play(lambda t, p, name, r: None if p == phase else 50, rounds=constant(3, 2))
    assert (ending.reason, ending.failed) == ("TooManyFailedCandidates", True)
    assert "nobody came" in ending.message
    assert of(steps, AddRung) == []
    assert sum(step.id.phase == phase for step in of(steps, Train)) == 1
