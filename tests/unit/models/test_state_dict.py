import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_numpy
from safetensors.torch import save

from fednas.errors import DataError
from fednas.models import build, encode, initialise, layout, start_architecture
from fednas.models._state_dict import state_vector

ARCHITECTURE = start_architecture("cnn", channels=1, size=8, classes=10)
VECTOR = initialise(ARCHITECTURE, 7)
NETWORK = build(ARCHITECTURE, VECTOR)
SHAPES = dict(layout(NETWORK))
STATE = NETWORK.state_dict()
FIRST, *_, LAST = SHAPES


def without(*names):
    return {name: tensor for name, tensor in STATE.items() if name not in names}


@pytest.mark.parametrize(
    "blob",
    [
        encode(VECTOR),
        save(STATE),
        save(STATE, metadata={"format": "pt", "epoch": "90"}),
        save({f"module.{name}": tensor for name, tensor in STATE.items()}),
        save({f"module._orig_mod.{name}": tensor for name, tensor in STATE.items()}),
        save({name: STATE[name] for name in reversed(SHAPES)}),
        save({name: tensor.double() for name, tensor in STATE.items()}),
    ],
    ids=["vector", "state", "metadata", "parallel", "compiled", "no-counters", "float64"],
)
def test_the_same_network_in_any_wrapping_gives_the_same_bits(blob):
    vector = state_vector(blob, SHAPES)
    assert vector.dtype == np.float32
    assert vector.tobytes() == VECTOR.tobytes()


def test_counters_of_batch_norm_are_not_weights():
    counted = STATE | {"norm.num_batches_tracked": torch.tensor(12)}
    assert np.array_equal(state_vector(save(counted), SHAPES), VECTOR)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_taken_by_value(kind):
    exact = {name: tensor.to(kind) for name, tensor in STATE.items()}
    wanted = torch.cat([exact[name].float().ravel() for name in SHAPES]).numpy()
    assert np.array_equal(state_vector(save(exact), SHAPES), wanted)


def torch_saved(**options):
    stream = io.BytesIO()
    torch.save(STATE, stream, **options)
    return stream.getvalue()


def header_length_of(start):
    """Safetensors whose first bytes, the length of its header, are those of a pickle."""
    length = int.from_bytes(start, "little")
    tensors = {"x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    return length.to_bytes(8, "little") + json.dumps(tensors).encode().ljust(length)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (
            encode(VECTOR[:-1]),
            rf"holds {len(VECTOR) - 1} weights; this network needs {len(VECTOR)}",
        ),
        (
            save_numpy({"weights": VECTOR}, metadata={"a": "b"}),
            "has metadata or padding; must be as fednas writes it",
        ),
        (save(without(LAST)), rf"lacks '{LAST}'; must be the state dict of this network"),
        (save(without(*SHAPES)), r"lacks '.*', '.*', '.*' and \d+ more; must be"),
        (save(STATE | {"extra": torch.ones(2)}), r"has 'extra', which this network does not have"),
        (
            save({f"net.{name}": tensor for name, tensor in STATE.items()}),
            r"lacks '.* more and has 'net\..* more, which this network",
        ),
        (
            save({**{f"module.{k}": v for k, v in without(LAST).items()}, LAST: STATE[LAST]}),
            r"lacks .* and has 'module\.",
        ),
        (
            save(STATE | {LAST: torch.ones(12)}),
            rf"tensor '{LAST}' has shape \[12\]; this network needs \[10\]",
        ),
        (
            save(STATE | {LAST: torch.ones(10, dtype=torch.int64)}),
            rf"tensor '{LAST}' is of type I64; must be float32",
        ),
        (save(STATE | {LAST: torch.full((10,), torch.nan)}), rf"'{LAST}' holds NaN or infinity"),
        (
            save(STATE | {LAST: torch.full((10,), 1e300, dtype=torch.float64)}),
            rf"'{LAST}' holds NaN or infinity",
        ),
        (encode(np.where(VECTOR == 0, np.float32("inf"), VECTOR)), "its vector holds NaN or inf"),
        (torch_saved(), r"is a pickle .*save_file\(network\.state_dict\(\)"),
        (torch_saved(_use_new_zipfile_serialization=False), "is a pickle"),
        (b"", "is empty"),
        (b"version https://git-lfs", "is no safetensors file"),
        (save(STATE)[:-1], "is no safetensors file"),
        (header_length_of(b"\x80\x02"), "lacks"),
    ],
)
def test_what_is_not_this_network_is_refused_in_one_line(blob, message):
    with pytest.raises(DataError, match=message) as caught:
        state_vector(blob, SHAPES)
    assert "\n" not in str(caught.value)


def test_a_tensor_called_weights_may_be_the_only_one_of_a_network():
    blob = save({"weights": torch.tensor([1.0, 2.0])}, metadata={"any": "thing"})
    assert state_vector(blob, {"weights": (2,)}).tolist() == [1, 2]


def test_start_weights_are_read_without_torch():
    code = (
        "import sys, numpy as np; from fednas.models import encode; "
        "from fednas.models._state_dict import state_vector; "
        "state_vector(encode(np.ones(6, np.float32)), {'a': (2, 3)}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
