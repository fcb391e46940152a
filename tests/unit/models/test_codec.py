import numpy as np
import pytest
from safetensors.numpy import save

from fednas.errors import Corrupt
from fednas.models import decode, encode

VECTOR = np.arange(7, dtype=np.float32)


def test_blob_reads_back_writable():
    vector = decode(encode(VECTOR))
    np.testing.assert_array_equal(vector, VECTOR)
    vector[0] = 1


def test_equal_vectors_give_equal_bytes_whatever_their_strides():
    strided = np.repeat(VECTOR, 2)[::2]
    assert encode(strided) == encode(VECTOR)


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (b"", "not safetensors"),
        (b"\x00" * 64, "not safetensors"),
        (encode(VECTOR)[:-1], "not safetensors"),
        (encode(VECTOR) + b"\x00", "not safetensors"),
        (save({"other": VECTOR}), "must be one tensor"),
        (save({"weights": VECTOR, "other": VECTOR}), "must be one tensor"),
        (save({"weights": VECTOR.astype(np.float16)}), "must be float32"),
        (save({"weights": VECTOR.reshape(7, 1)}), "must be float32"),
        (save({"weights": VECTOR}, metadata={"a": "b"}), "has metadata"),
    ],
)
def test_anything_else_is_corrupt(blob: bytes, says: str):
    with pytest.raises(Corrupt, match=says):
        decode(blob)
