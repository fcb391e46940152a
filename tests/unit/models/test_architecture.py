import subprocess
import sys

import pytest
from pydantic import ValidationError

from fednas.errors import BadInput
from fednas.models import Architecture, start_architecture
from fednas.spec import Normalize


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


def test_the_key_of_a_network_of_the_usual_scale_is_that_of_earlier_versions():
    """It is in journals: a search that was begun before goes on."""
    start = start_architecture("cnn", channels=1, size=8, classes=10)
    assert start.normalize is None
    assert start.key() == (
        '{"args":{"classes":10,"inputChannels":1,"inputSize":8,"widthMultiplier":1.0},'
        '"choices":{"widths":[32,32,32,32]},"family":"cnn"}'
    )


def test_the_scale_of_the_pixels_is_part_of_a_network_and_stays_when_it_is_cut():
    scale = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    arch = start_architecture(
        "mobilenet_v1", channels=3, size=32, classes=10, width_multiplier=0.25, normalize=scale
    )
    assert arch.normalize == scale
    assert arch.key() != mobilenet().key()
    assert Architecture.model_validate_json(arch.key()) == arch
    assert Architecture.model_validate(arch.model_dump()) == arch
    assert arch.with_widths([4, *arch.widths[1:]]).normalize == scale


@pytest.mark.parametrize(("channels", "words"), [(1, "1 (grey)"), (3, "3 (colour)")])
def test_a_scale_for_other_channels_names_the_field(channels: int, words: str):
    count = 4 - channels
    scale = Normalize(mean=(0.5,) * count, std=(0.25,) * count)
    with pytest.raises(BadInput) as error:
        start_architecture("cnn", channels=channels, size=8, classes=10, normalize=scale)
    assert str(error.value) == (
        f"spec.data.normalize.mean: has {count} entries; must have one a channel, and the images "
        f"have {words}"
    )


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
        ({"family": "resnet"}, "must be one of cnn, mobilenet_v1"),
        ({"family": "nets:build()"}, "or package.module:function"),
        ({"choices": {"widths": [8]}}, "mobilenet_v1 has 14 groups"),
        ({"choices": {"widths": [0] * 14}}, "greater than or equal to 1"),
        ({"choices": {"depths": [1]}}, "must be exactly"),
        ({"args": {"classes": 10}}, "must be exactly"),
        ({"args": {**mobilenet().args, "classes": 2.5}}, "classes: got 2.5"),
        ({"args": {**mobilenet().args, "classes": [2, 3]}}, "must be exactly"),
        ({"args": {**mobilenet().args, "inputStd": [0.2] * 3}}, "mean"),
        (
            {"args": {**mobilenet().args, "inputMean": [0.5], "inputStd": [0.2]}},
            "inputMean: got 1 numbers; must be 3",
        ),
    ],
)
def test_wrong_architectures_are_refused_in_words(change: dict[str, object], says: str):
    with pytest.raises(ValidationError, match=says):
        Architecture.model_validate({**mobilenet().model_dump(), **change})


def test_unknown_family_names_the_field():
    with pytest.raises(BadInput, match=r"spec\.model\.name: got 'vgg'; must be one of cnn"):
        start_architecture("vgg", channels=3, size=32, classes=10)


def test_naming_a_network_needs_no_torch():
    code = "import sys, fednas.models, fednas.space; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
