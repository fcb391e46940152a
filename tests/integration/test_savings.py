"""What each optimisation saves, in searches that leave one of them out: the ledger by hand.

cnn at a quarter of its width, 12 clients with 107 or 108 digits each, two iterations. NetAdapt
offers each of the four layers; three are trained, two survive the first round, and up to three more
follow.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import fednas
from fednas.spec import load_spec

pytestmark = pytest.mark.slow

CLIENTS, BATCH = 12, 32
SAMPLES = 4 * BATCH  # 107 and 108 rows are both four full batches
PASSES = 3  # forward once, backward twice
PRE, POST = 1, 3
PLANNED = PRE + POST

ALL_ON: dict[str, Any] = {
    "maxIterations": 2,
    "firstStep": 0.02,
    "clientGroups": 3,
    "screening": {"topK": {"keep": 3}},
    "earlyDrop": {"topK": {"keep": 2}},
    "rounds": {"adaptive": {"pre": PRE, "postMax": POST, "patience": 1}},
}
FATES = {"screened": 1, "dropped": 1, "kept": 1, "winner": 1}

# The factor that is left out: its setting, the clients that train a candidate a round, and what
# becomes of an iteration's four candidates.
OFF: dict[str, tuple[dict[str, Any], int, dict[str, int]]] = {
    "nothing": ({}, CLIENTS // 3, FATES),
    "partialClients": ({"clientGroups": 1}, CLIENTS, FATES),
    "screening": (
        {"screening": {"none": {}}},
        CLIENTS // 3,
        {"dropped": 2, "kept": 1, "winner": 1},
    ),
    "earlyDrop": (
        {"earlyDrop": {"none": {}}},
        CLIENTS // 3,
        {"screened": 1, "kept": 2, "winner": 1},
    ),
    "rounds": ({"rounds": {"constant": {"pre": PRE, "post": POST}}}, CLIENTS // 3, FATES),
}


def run(folder: Path, settings: dict[str, Any]) -> fednas.Result:
    training = {
        "rounds": 8,
        "clientsPerRound": 1,
        "batchSize": BATCH,
        "optimizer": {"sgd": {"learningRate": 0.1}},
    }
    spec = {
        "model": {
            "name": "cnn",
            "args": {"widthMultiplier": 0.25},
            "initial": {"training": training},
        },
        "data": {"source": "digits"},
        "target": {"macs": {"share": 0.3}},
        "strategy": {"netAdapt": ALL_ON | settings},
        "baseline": "none",
        "training": {"batchSize": BATCH},
        "deviceClasses": [{"name": "phone", "clients": CLIENTS}],
    }
    head = {"apiVersion": "fednas.dev/v1alpha1", "kind": "FederatedSearch"}
    search = load_spec({**head, "metadata": {"name": "savings"}, "spec": spec})
    return fednas.run(search, dir=folder, workers=2, tracking=None)


def macs(a: int, b: int, c: int, d: int) -> int:
    """Of one image: 3 x 3 convolutions over 8, 4, 2 and 1 pixels a side, ten logits."""
    return 9 * (64 * 1 * a + 16 * a * b + 4 * b * c + 1 * c * d) + 10 * d


@pytest.mark.parametrize("off", OFF)
def test_the_ledger_is_that_of_arithmetic_by_hand_without(tmp_path: Path, off: str) -> None:
    settings, group, fates = OFF[off]
    result = run(tmp_path / "run", settings)
    trained = [row for row in result.view.rounds if row["iteration"] and row["round"]]
    assert {row["clients"] for row in trained} == {group}

    # Multiply-accumulates of one pass of one sample, times rounds: those planned for everybody, for
    # those that were screened in, with the early drop, and those that were held.
    everybody = screened = dropped = held = candidate_rounds = 0
    for iteration in (1, 2):
        before = result.ladder[iteration - 1].architecture.widths
        rows = [row for row in result.view.decisions if row["iteration"] == iteration]
        assert Counter(row["outcome"] for row in rows) == fates
        rounds = Counter(row["candidate"] for row in trained if row["iteration"] == iteration)
        (needed,) = {rounds[row["candidate"]] for row in rows if row["outcome"] == "winner"}
        assert PRE < needed <= PLANNED
        for row in rows:
            widths = [*before]
            widths[int(row["layer"].split(".")[1])] = row["widthAfter"]
            one = macs(*widths)
            every, had = {
                "screened": (0, 0),
                "dropped": (PRE, PRE),
                "kept": (PLANNED, needed),
                "winner": (PLANNED, needed),
            }[row["outcome"]]
            assert rounds[row["candidate"]] == had
            everybody += one * PLANNED
            screened += one * PLANNED * (row["outcome"] != "screened")
            dropped += one * every
            held += one * had
            candidate_rounds += had

    ledger = result.ledger.to_dict()
    assert ledger["search"]["macs"] == PASSES * held * group * SAMPLES
    assert ledger["search"]["samples"] == candidate_rounds * group * SAMPLES
    assert ledger["search"]["clientRounds"] == candidate_rounds * group
    assert ledger["naiveMacs"] == PASSES * everybody * CLIENTS * SAMPLES
    factors = {
        "partialClients": CLIENTS / group,
        "screening": everybody / screened,
        "earlyDrop": screened / dropped,
        "rounds": dropped / held,
        "total": (CLIENTS * everybody) / (group * held),
    }
    assert ledger["factors"] == pytest.approx(factors, rel=1e-12)
    nothing_saved = [name for name, factor in ledger["factors"].items() if factor == 1.0]
    assert nothing_saved == ([] if off == "nothing" else [off])
