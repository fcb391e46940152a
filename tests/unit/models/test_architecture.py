import subprocess
import sys

import pytest
from pydantic import ValidationError

from fednas.errors import BadInput
from fednas.models import Architecture, start_architecture


def mobilenet(multiplier: float = 0.25) -> Architecture:
    return start_architecture(
        "mobilenet_v1", channels=3, size=32, classes=10, width_multiplier=multiplier
    )


def test_key_is_canonical_json_that_reads_back():
    arch = mobilenet()
    shuffled = Architecture(
        choices={"widths": list(arch.widths)},
        args=dict(reversed(arch.args.items())),
        family=arch.family,
    )
    assert shuffled.key() == arch.key()
    assert Architecture.model_validate_json(arch.key()) == arch


def test_whole_multiplier_has_one_key():
    assert mobilenet(1).key() == mobilenet(1.0).key()


def test_with_widths_changes_nothing_else():
    arch = mobilenet()
    narrow = arch.with_widths([4, *arch.widths[1:]])
    assert narrow.widths == (4, *arch.widths[1:])
    assert narrow.with_widths(arch.widths) == arch


def test_every_width_keeps_a_filter():
    assert min(mobilenet(0.0625).widths) == 2
    assert start_architecture(
        "cnn", channels=1, size=8, classes=10, width_multiplier=0.01
    ).widths == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"family": "resnet"}, "must be one of celeba_cnn, cnn, mobilenet_v1"),
        ({"family": "nets:build()"}, "or package.module:function"),
        ({"choices": {"widths": [8]}}, "mobilenet_v1 has 14 groups"),
        ({"choices": {"widths": [0] * 14}}, "greater than or equal to 1"),
        ({"choices": {"depths": [1]}}, "must be exactly"),
        ({"args": {"classes": 10}}, "must be exactly"),
        ({"args": {**mobilenet().args, "classes": 2.5}}, "classes: got 2.5"),
    ],
)
def test_wrong_architectures_are_refused_in_words(change: dict[str, object], says: str):
    with pytest.raises(ValidationError, match=says):
        Architecture.model_validate({**mobilenet().model_dump(), **change})


def test_unknown_family_names_the_field():
    with pytest.raises(BadInput, match=r"spec\.model\.name: got 'vgg'; must be one of celeba_cnn"):
        start_architecture("vgg", channels=3, size=32, classes=10)


def test_naming_a_network_needs_no_torch():
    code = "import sys, fednas.models, fednas.space; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
