from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from fednas.data import encode_rows
from fednas.errors import Corrupt, DiedInTask, NotFound, StoreError, TaskFailed
from fednas.fleet._expected import Expectations, Expected, Form
from fednas.fleet._protocol import Complete, Register, Uploaded
from fednas.fleet._updates import accept_task, problem_of, refusal_of, result_of
from fednas.models import encode
from fednas.store import digest_of
from fednas.work import KINDS, TRAIN, Kind, Output, Task, TaskResult

TASK = Task(
    id="1/pre/a/1/phone-0",
    kind="train",
    client="phone-0",
    inputs={"weights": "w"},
    data={"shard": "s"},
)
EXPECTED = Expected({"weights": Form(elements=10, size=100)}, weight=7)
SESSION = "0" * 32


def report(**changes: object) -> Complete:
    fields = {
        "session": SESSION,
        "outputs": {"weights": Uploaded(sha256="a" * 64, size=100)},
        "sums": {"samples": 8, "loss": 0.5, "forged": 1e9},
        "weight": 7,
    }
    return Complete.model_validate({**fields, **changes})


def test_what_is_expected_stands_in_the_heads_of_the_blobs() -> None:
    blob = encode(np.zeros(12345, np.float32))
    shard = encode_rows(np.zeros((77, 3, 2, 2), np.uint8), np.zeros(77, np.int64))
    objects, read = {"blobs/w": blob, "data/s": shard}, []

    def head(key: str, length: int) -> bytes:
        read.append(key)
        return objects[key][:length]

    expectations = Expectations(head, blobs="blobs/", data="data/")
    for _ in range(3):
        assert expectations.of(TASK) == Expected({"weights": Form(12345, len(blob))}, weight=77)
    assert read == ["blobs/w", "data/s"]


@pytest.mark.parametrize("head", [b"", b"\xff" * 512, b"\x08" + b"\0" * 7 + b"[1,2,3]]"])
def test_heads_of_something_else_are_corrupt(head: bytes) -> None:
    with pytest.raises(Corrupt):
        Expectations(lambda key, length: head, blobs="", data="").of(TASK)


def test_a_right_report_has_no_problem() -> None:
    assert problem_of(TASK, EXPECTED, report()) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outputs": {}}, "WrongOutputs"),
        ({"outputs": {"other": Uploaded(sha256="a" * 64, size=100)}}, "WrongOutputs"),
        ({"outputs": {"weights": Uploaded(sha256="a" * 64, size=2**60)}}, "WrongSize"),
        ({"weight": 7_000_000}, "WrongWeight"),
        ({"sums": {"samples": 8}}, "WrongSums"),
    ],
)
def test_a_wrong_report_is_refused_with_a_reason(changes: dict[str, object], reason: str) -> None:
    problem = problem_of(TASK, EXPECTED, report(**changes))
    assert problem is not None
    assert problem.reason == reason


@pytest.mark.parametrize(
    "changes",
    [
        '"weight": NaN',
        '"weight": -1',
        '"sums": {"loss": Infinity}',
        '"outputs": {"../../ladder": {"sha256": "%s", "size": 1}}' % ("a" * 64),
        '"outputs": {"weights": {"sha256": "A", "size": 1}}',
        '"outputs": {"weights": {"sha256": "%s", "size": -1}}' % ("a" * 64),
        '"session": "x"',
    ],
)
def test_a_malformed_report_does_not_get_that_far(changes: str) -> None:
    good = f'{{"session": "{SESSION}", "outputs": {{}}, '
    with pytest.raises(ValidationError):
        Complete.model_validate_json(good + changes + "}")


def test_messages_of_newer_speakers_are_understood() -> None:
    text = json.dumps({"protocol": 2, "device_class": "phone", "name": "a", "gpu": "none"})
    assert Register.model_validate_json(text).workers == 1


def test_a_result_has_what_was_asked_for_and_no_more() -> None:
    accepted = {"weights": TaskResult(outputs={"update": "b" * 64})}
    result = result_of(TASK, report(), accepted)
    assert result.outputs == {"weights": "b" * 64}
    assert result.sums == {"samples": 8, "loss": 0.5}
    assert result.sizes == {"weights": 100}
    assert result.weight == 7


def test_the_look_at_an_upload_knows_what_it_must_be() -> None:
    digest = digest_of(b"x")
    look = accept_task(TASK, EXPECTED.outputs["weights"], "weights", "uploads/l/weights", digest)
    assert look.kind == "accept"
    assert look.params == {"upload": "uploads/l/weights", "digest": digest, "elements": 10}


def test_only_what_is_the_senders_fault_is_refused() -> None:
    reasons = {
        NotFound("x"): "NothingUploaded",
        TaskFailed("holds NaN"): "BadUpdate",
    }
    for error, reason in reasons.items():
        refused = refusal_of(error)
        assert refused is not None
        assert refused.reason == reason
    assert refusal_of(StoreError("x")) is None
    assert refusal_of(DiedInTask("x")) is None


def test_each_output_of_a_kind_is_expected_to_be_like_its_own_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outputs = (Output("weights"), Output("alphas", like="alphas"))
    twin = Kind("twin", TRAIN.params, TRAIN.run, outputs)
    monkeypatch.setitem(KINDS, "twin", twin)
    blobs = {name: encode(np.zeros(count, np.float32)) for name, count in (("w", 9), ("a", 4))}
    task = TASK.model_copy(
        update={"kind": "twin", "inputs": {"weights": "w", "alphas": "a"}, "data": {}}
    )
    expected = Expectations(lambda key, length: blobs[key][:length], blobs="", data="").of(task)
    assert {name: form.elements for name, form in expected.outputs.items()} == {
        "weights": 9,
        "alphas": 4,
    }
    assert expected.size == sum(map(len, blobs.values()))
    one = {"weights": Uploaded(sha256="a" * 64, size=len(blobs["w"]))}
    problem = problem_of(task, expected, report(outputs=one))
    assert problem is not None
    assert problem.reason == "WrongOutputs"
