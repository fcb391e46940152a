"""What load_spec accepts, fills in and refuses, in which words."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fednas.errors import SpecError
from fednas.spec import FederatedSearch, clients, load_spec

SMALLEST = """\
apiVersion: fednas.dev/v1alpha1
kind: FederatedSearch
metadata: {name: small}
spec:
  model: {name: cnn}
  data: {source: digits}
  target: {macs: {share: 0.6}}
  deviceClasses:
    - name: phone
      clients: 8
    - name: hub
      clients: 4
"""
EXAMPLES = Path(__file__).parents[3] / "examples"


def document(**spec: Any) -> dict[str, Any]:
    found = copy.deepcopy(load_spec(SMALLEST).to_dict())
    found["spec"].update(spec)
    return found


def problems(source: Any, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(source, overrides)
    return list(caught.value.problems)


def test_the_smallest_file_has_all_defaults() -> None:
    spec = load_spec(SMALLEST).spec
    assert spec.seed == 0
    assert spec.model.args.width_multiplier == 1.0
    assert spec.model.initial.training is not None
    assert spec.model.initial.training.rounds == 60
    assert spec.model.initial.training.optimizer.sgd is not None
    assert spec.model.initial.training.optimizer.sgd.learning_rate == 0.05
    assert spec.model.initial.weights is None
    assert spec.data.partition.iid is not None
    assert spec.data.evaluation.central is not None
    assert spec.data.evaluation.central.fraction == 0.1
    adapt = spec.strategy.net_adapt
    assert adapt is not None
    assert (adapt.filter_step, adapt.client_groups) == (1, None)
    assert (adapt.max_iterations, adapt.first_step, adapt.step_decay) == (100, 0.025, 1.0)
    assert adapt.rounds.constant is not None
    assert (adapt.rounds.constant.pre, adapt.rounds.constant.post) == (0, 0)
    assert (adapt.order, adapt.pairing) == ("divergence", "apart")
    assert adapt.screening.top_k is not None
    assert adapt.screening.top_k.keep == 8
    assert adapt.early_drop.top_k is not None
    assert adapt.early_drop.top_k.keep == 4
    assert spec.training.optimizer.sgd is not None
    assert spec.training.optimizer.sgd.learning_rate == 0.01
    assert (spec.refit, spec.baseline, spec.final_training) == (True, "uniform", None)
    assert (spec.storage, spec.tracking, spec.suspend) == (None, None, False)


def test_clients_are_named_by_class_in_order_of_the_file() -> None:
    names = [client.name for client in clients(load_spec(SMALLEST))]
    assert names == [f"phone-{i}" for i in range(8)] + [f"hub-{i}" for i in range(4)]


def test_what_to_dict_gives_is_read_back_equal() -> None:
    search = load_spec(SMALLEST)
    assert load_spec(search.to_dict()) == search
    assert load_spec(json.dumps(search.to_dict())) == search


@pytest.mark.parametrize("name", ["small.yaml", "cifar10.yaml"])
def test_examples_are_valid_and_need_no_warning(name: str) -> None:
    assert load_spec(EXAMPLES / name).spec.warnings() == []


def test_what_kubernetes_adds_is_left_alone() -> None:
    found = document()
    found["metadata"] |= {"uid": "1", "generation": 2, "managedFields": [{"manager": "kubectl"}]}
    found["status"] = {"phase": "Searching"}
    assert load_spec(found) == load_spec(SMALLEST)


def test_a_null_is_an_absent_field() -> None:
    assert load_spec(document(training=None, storage=None)) == load_spec(SMALLEST)


def test_python_names_are_for_python_alone() -> None:
    text = SMALLEST.replace("deviceClasses", "device_classes")
    assert "spec.device_classes: unknown field; did you mean deviceClasses?" in problems(text)


def test_every_problem_is_reported_at_once_with_path_value_and_remedy() -> None:
    found = document(
        traget={},
        target={"macs": {"share": 1.5}},
        strategy={"netAdapt": {"clientGroups": 13, "maxIterations": "ten"}},
        suspend="yes",
    )
    found["spec"]["model"]["name"] = "cmn"
    found["spec"]["data"] = {"source": "gs://x/y", "partition": {"iid": {}, "dirichlet": {}}}
    found["spec"]["deviceClasses"][1]["name"] = "phone"
    assert sorted(problems(found)) == sorted(
        [
            "spec.traget: unknown field; did you mean target?",
            "spec.target.macs.share: got 1.5; must be less than 1",
            "spec.strategy.netAdapt.maxIterations: got 'ten'; must be a whole number",
            "spec.suspend: got 'yes'; must be true or false",
            "spec.model.name: got 'cmn'; must be one of mobilenet_v1, mobilenet_v2, resnet20, "
            "cnn; did you mean cnn?",
            "spec.data.source: got 'gs://x/y'; must be digits, a path or s3://bucket/prefix",
            "spec.data.partition: got iid, dirichlet; must hold exactly one of iid, dirichlet, "
            "shards, column, quantitySkew",
            "spec.data.partition.dirichlet.alpha: missing; must be given: Concentration: 0.1 gives "
            "clients of one or two labels, 100 nearly equal ones.",
            "spec.deviceClasses[1].name: got 'phone'; must be unique; spec.deviceClasses[0] has "
            "the same name",
        ]
    )


def test_a_broken_field_elsewhere_does_not_hide_a_rule() -> None:
    found = document(strategy={"netAdapt": {"clientGroups": 13}}, seed=-1)
    assert problems(found) == [
        "spec.seed: got -1; must be at least 0",
        "spec.strategy.netAdapt.clientGroups: got 13; must be at most the number of clients of "
        "all deviceClasses",
    ]


def test_an_empty_member_of_a_union_is_explained() -> None:
    assert problems(document(data={"source": "digits", "partition": {"iid": None}})) == [
        "spec.data.partition: got none; must hold exactly one of iid, dirichlet, shards, "
        "column, quantitySkew; an empty one is written iid: {}"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n", "empty; must be a FederatedSearch"),
        ("# nothing\n---\n", "empty; must be a FederatedSearch"),
        ("a: 1\nb: 2\na: 3\n", "line 3: a is given twice; first in line 1"),
        (SMALLEST + "---\n" + SMALLEST, "2 documents; must be one FederatedSearch"),
        ("[1,\n2]", "not a FederatedSearch: must be a mapping with apiVersion, kind, spec"),
        (
            "a: !!python/object:os.system {}\n",
            "line 1: not YAML: could not determine a constructor",
        ),
        ("[" * 1200 + "\n", "not a FederatedSearch: nested too deeply"),
        (SMALLEST.replace("kind: F", "kind: f"), "kind: got 'federatedSearch'; must be Federated"),
        (
            SMALLEST.replace("v1alpha1", "v1"),
            "apiVersion: got 'fednas.dev/v1'; must be fednas.dev/",
        ),
        ("spec: {}\n", "apiVersion: missing; must be fednas.dev/v1alpha1"),
        ("a: [\n", "line 2: not YAML: while parsing a flow node"),
        ("a: b: c\n", "line 1: not YAML: mapping values are not allowed here"),
        ("a: \x00\n", "line 1: not YAML: unacceptable character"),
    ],
)
def test_what_is_no_single_resource_is_refused_in_words(text: str, line: str) -> None:
    assert problems(text)[0].startswith(line)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    binary = tmp_path / "weights.bin"
    binary.write_bytes(b"\xff\xfe\x00")
    twice = tmp_path / "twice.yaml"
    twice.write_text("a: 1\na: 2\n")
    assert problems(tmp_path / "none.yaml") == [f"{tmp_path}/none.yaml: no such file"]
    assert problems(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    assert problems(str(binary)) == [f"{binary}: not a text file in UTF-8"]
    assert problems(twice) == [f"{twice}: line 2: a is given twice; first in line 1"]


@pytest.mark.parametrize(
    ("written", "value"), [("1e-3", 0.001), ("0.5", 0.5), ("1", 1.0), (".5", 0.5), ("5E-4", 5e-4)]
)
def test_numbers_are_read_as_kubectl_reads_them(written: str, value: float) -> None:
    text = SMALLEST + f"  training: {{optimizer: {{sgd: {{learningRate: {written}}}}}}}\n"
    sgd = load_spec(text).spec.training.optimizer.sgd
    assert sgd is not None
    assert sgd.learning_rate == value


@pytest.mark.parametrize("written", [".nan", ".inf", "true", "'0.5'", "1_0", "2024-01-01", "1:30"])
def test_what_is_no_number_is_refused(written: str) -> None:
    text = SMALLEST + f"  federation: {{quorum: {written}}}\n"
    assert problems(text)[0].startswith("spec.federation.quorum: got ")


def test_overrides_set_fields_by_path() -> None:
    spec = load_spec(
        SMALLEST,
        [
            "seed=7",
            "spec.strategy.netAdapt.maxIterations=3",
            "deviceClasses.hub.clients=9",
            "deviceClasses.0.pods=2",
            "storage={endpoint: 'http://minio:9000', bucket: fednas, secretName: minio}",
        ],
    ).spec
    assert spec.strategy.net_adapt is not None
    assert spec.strategy.net_adapt.max_iterations == 3
    assert [c.clients for c in spec.device_classes] == [8, 9]
    assert [c.pods for c in spec.device_classes] == [2, 1]
    assert spec.seed == 7
    assert spec.storage is not None


def test_an_override_takes_the_other_members_of_a_union_away() -> None:
    search = load_spec(SMALLEST, ["model.initial.training.rounds=5", "model.initial.weights=x.st"])
    assert search.spec.model.initial.training is None
    assert search.spec.model.initial.weights == "x.st"
    back = load_spec(search.to_dict(), ["model.initial.training.rounds=5"]).spec.model.initial
    assert back.weights is None
    assert back.training is not None
    assert back.training.rounds == 5


def test_overrides_leave_the_given_mapping_as_it_is() -> None:
    found = document()
    before = copy.deepcopy(found)
    load_spec(found, ["seed=7"])
    assert found == before


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed", "--set seed: must be path=value, such as training.epochs=2"),
        ("=1", "--set =1: must be path=value, such as training.epochs=2"),
        ("deviceClasses.tv.clients=3", "--set deviceClasses.tv.clients=3: no deviceClasses tv; "),
        ("training.epoch=2", "spec.training.epoch: unknown field; did you mean epochs?"),
        ("seed=[1", "--set seed=[1: line 1: not YAML: "),
        ("seed=-1", "spec.seed: got -1; must be at least 0"),
    ],
)
def test_wrong_overrides_are_named(override: str, line: str) -> None:
    assert problems(SMALLEST, override)[0].startswith(line)


def test_a_schedule_that_stops_above_the_target_is_a_warning_with_a_remedy() -> None:
    spec = load_spec(SMALLEST, ["strategy.netAdapt.maxIterations=3"]).spec
    (line,) = spec.warnings()
    assert line == (
        "spec.strategy.netAdapt: 3 iterations come down to a share of 0.925 by their own "
        "arithmetic, above the target's 0.6; maxIterations 16 would do"
    )
    assert load_spec(SMALLEST, ["strategy.netAdapt.maxIterations=20"]).spec.warnings() == []


@pytest.mark.parametrize(
    ("strategy", "path", "wrong"),
    [
        ({"netAdapt": {"order": "size"}}, "netAdapt.order", "got 'size'; must be one of "
         "divergence, loss, accuracy, lossPerResource, accuracyPerResource"),
        ({"random": {"pairing": "alone"}}, "random.pairing", "got 'alone'; must be one of apart, "
         "together"),
        ({"netAdapt": {"screening": {"topK": {"keep": 0}}}}, "netAdapt.screening.topK.keep",
         "got 0; must be at least 1"),
        ({"netAdapt": {"screening": {}}}, "netAdapt.screening",
         "got none; must hold exactly one of topK, none"),
        ({"netAdapt": {"earlyDrop": {"topK": {}, "none": {}}}}, "netAdapt.earlyDrop",
         "got topK, none; must hold exactly one of topK, successiveHalving, none"),
        ({"uniform": {"rounds": {"growing": {"postMin": 5}}}}, "uniform.rounds.growing.postMin",
         "got 5; must be at most postMax"),
        ({"netAdapt": {"rounds": {"adaptive": {"patience": 0}}}},
         "netAdapt.rounds.adaptive.patience", "got 0; must be at least 1"),
        ({"random": {"candidates": 101}}, "random.candidates", "got 101; must be at most 100"),
        ({"uniform": {"clientGroups": 13}}, "uniform.clientGroups",
         "got 13; must be at most the number of clients of all deviceClasses"),
        ({"uniform": {"screening": {"none": {}}}}, "uniform.screening", "unknown field; known "
         "here: maxIterations, firstStep, stepDecay, clientGroups, rounds"),
        ({"netAdapt": {"filterStep": 257}}, "netAdapt.filterStep", "got 257; must be at most 256"),
    ],
)  # fmt: skip
def test_a_wrong_field_of_a_strategy_is_named_with_what_would_be_right(
    strategy: dict[str, Any], path: str, wrong: str
) -> None:
    assert problems(document(strategy=strategy)) == [f"spec.strategy.{path}: {wrong}"]


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("refit", "yes", "refit: got 'yes'; must be true or false"),
        ("refit", 1, "refit: got 1; must be true or false"),
        ("baseline", "random", "baseline: got 'random'; must be one of uniform, none"),
        ("finalTraining", {"rungs": "best"}, "finalTraining.rungs: got 'best'; must be one of "
         "selected, largest, all"),
        ("finalTraining", {"schedule": "cos"}, "finalTraining.schedule: got 'cos'; must be one of "
         "linear, constant"),
        ("finalTraining", {"nested": True, "rungs": "all"}, "finalTraining.nested: got true; must "
         "be false where rungs is not selected"),
        ("finalTraining", {"rounds": 0}, "finalTraining.rounds: got 0; must be at least 1"),
        ("finalTraining", {"epochs": 0}, "finalTraining.epochs: got 0; must be greater than 0"),
        ("finalTraining", {"clientsPerRound": 13}, "finalTraining.clientsPerRound: got 13; must be "
         "at most the number of clients of all deviceClasses"),
    ],
)  # fmt: skip
def test_a_wrong_field_beside_the_strategy_is_named_with_what_would_be_right(
    field: str, value: Any, line: str
) -> None:
    assert problems(document(**{field: value})) == [f"spec.{line}"]


def test_growing_rounds_may_stay_the_same() -> None:
    rounds = {"growing": {"postMin": 4, "postMax": 4}}
    found = load_spec(document(strategy={"netAdapt": {"rounds": rounds}})).spec.strategy.net_adapt
    assert found is not None
    assert found.rounds.growing is not None
    assert (found.rounds.growing.pre, found.rounds.growing.post_min) == (1, 4)


def test_the_final_training_has_its_own_defaults() -> None:
    training = load_spec(document(finalTraining={})).spec.final_training
    assert training is not None
    assert (training.rungs, training.rounds, training.clients_per_round) == ("selected", 20, 10)
    assert training.epochs == load_spec(SMALLEST).spec.training.epochs
    assert training.schedule == "linear"
    sgd = training.optimizer.sgd
    assert sgd is not None
    assert (sgd.learning_rate, sgd.momentum) == (0.02, 0.9)
    training = load_spec(document(finalTraining={"optimizer": {"sgd": {}}})).spec.final_training
    assert training is not None
    assert training.optimizer.sgd == sgd


@pytest.mark.parametrize("strategy", ["netAdapt", "random", "uniform"])
def test_every_schedule_is_checked_against_the_target(strategy: str) -> None:
    settings = {"maxIterations": 3, "firstStep": 0.1}
    (line,) = load_spec(document(strategy={strategy: settings})).spec.warnings()
    assert line == (
        f"spec.strategy.{strategy}: 3 iterations come down to a share of 0.700 by their own "
        "arithmetic, above the target's 0.6; maxIterations 4 would do"
    )
    settings = {"maxIterations": 4, "firstStep": 0.1}
    assert load_spec(document(strategy={strategy: settings})).spec.warnings() == []


def test_a_schedule_that_no_number_of_iterations_saves_names_a_larger_step() -> None:
    sets = ["strategy.netAdapt.stepDecay=0.5", "strategy.netAdapt.firstStep=0.1"]
    (line,) = load_spec(SMALLEST, sets).spec.warnings()
    assert line.endswith("; firstStep 0.201 would do")
    assert load_spec(SMALLEST, [*sets, "strategy.netAdapt.firstStep=0.201"]).spec.warnings() == []


def test_a_class_budget_below_the_target_is_a_warning() -> None:
    spec = load_spec(SMALLEST, ["deviceClasses.hub.budget.macs.share=0.3"]).spec
    (line,) = spec.warnings()
    assert line.startswith("spec.deviceClasses[1].budget.macs.share: 0.3 is below")


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "macs", "share", "sgd", "iid", "netAdapt", "limits", "x"])
            | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
FIELDS = ["seed", "model", "data", "target", "strategy", "training", "deviceClasses", "coordinator"]


@settings(max_examples=25, deadline=None)
@example({"seed": ["\n"]})
@given(st.dictionaries(st.sampled_from([*FIELDS, "storage", "suspend", "y"]), VALUES, max_size=4))
def test_whatever_is_written_gives_a_search_or_a_spec_error(spec: dict[str, Any]) -> None:
    try:
        found: object = load_spec(document(**spec))
    except SpecError as error:
        found = error
    lines = found.problems if isinstance(found, SpecError) else ("spec",)
    assert isinstance(found, FederatedSearch | SpecError)
    assert lines
    assert all(line.startswith("spec") and "\n" not in line for line in lines)
