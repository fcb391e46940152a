"""Tables of latencies: what is between their points, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fednas.errors import DataError
from fednas.resources import (
    LatencyRow,
    LatencyTable,
    Operation,
    read_latencies,
    write_latencies,
)

INPUTS, OUTPUTS = (1, 4, 16), (2, 8, 64)


def time(inputs: int, outputs: int) -> float:
    return round(0.3 + 0.02 * inputs + 0.01 * outputs + 0.005 * inputs * outputs, 6)


ROWS = [
    *(
        LatencyRow("conv+relu", 3, 1, 8, i, o, time(i, o), "d", "r")
        for i in INPUTS
        for o in OUTPUTS
    ),
    *(LatencyRow("depthwise", 3, 2, 8, w, w, w / 100, "d", "r") for w in (4, 8)),
    LatencyRow("network", 0, 0, 0, 0, 0, 0.25, "d", "r"),
]
TABLE = LatencyTable.of(ROWS, "t.csv")
CONV = Operation(name="conv+relu", kernel=3, stride=1, size=8, inputs=(1, (0,)), outputs=(2, (1,)))
DEPTHWISE = Operation(
    name="depthwise", kernel=3, stride=2, size=8, inputs=(1, (0,)), outputs=(1, (0,))
)


@given(st.integers(1, 16), st.integers(1, 32))
def test_constant_linear_and_product_terms_are_interpolated_exactly(
    first: int, second: int
) -> None:
    expected = time(first, 2 * second) + 0.25
    assert TABLE.milliseconds([CONV], [first, second]) == pytest.approx(expected)


def test_a_network_is_the_sum_of_its_layers_and_its_constant() -> None:
    both = TABLE.milliseconds([CONV, DEPTHWISE, DEPTHWISE], [6, 4])
    assert both == pytest.approx(time(6, 8) + 2 * 0.06 + 0.25)


@pytest.mark.parametrize(("width", "like"), [(1, 4), (4, 4), (8, 8), (100, 8)])
def test_beyond_the_grid_its_edge_counts(width: int, like: int) -> None:
    assert TABLE.milliseconds([DEPTHWISE], [width]) == pytest.approx(like / 100 + 0.25)


def test_a_table_reads_back_from_its_csv() -> None:
    text = write_latencies(ROWS)
    assert text.splitlines()[0] == (
        "operation,kernel,stride,size,channels_in,channels_out,milliseconds,device,runtime"
    )
    assert read_latencies(text, "t.csv") == TABLE


def test_the_first_layer_that_is_not_in_it_is_told() -> None:
    other = DEPTHWISE.model_copy(update={"stride": 1})
    assert TABLE.missing([CONV, DEPTHWISE]) is None
    assert TABLE.missing([CONV, other]) == other


HEADER = write_latencies([]).strip()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: got ''; must be operation,kernel,"),
        ("layer,ms\nconv,3\n", "line 1: got 'layer,ms'; must be operation,kernel,"),
        (f"{HEADER}\nconv,3,1\n", "line 2: got 3 columns; must be 9"),
        (f"{HEADER}\nconv,3,1,8,x,4,0.5,d,r\n", "line 2: invalid literal for int"),
        (
            f"{HEADER}\nconv,3,1,8,4,4,0,d,r\n",
            "line 2: milliseconds: got 0; must be greater than 0",
        ),
        (f"{HEADER}\nconv,3,1,8,4,4,nan,d,r\n", "line 2: milliseconds: got nan; must be greater"),
        (
            f"{HEADER}\nconv,3,1,8,4,4,1,d,r\nconv,3,1,8,8,8,1,d,r\n",
            "conv of kernel 3, stride 1 and size 8: has no row of 4 to 8 channels; must have one "
            "for each pair of its widths",
        ),
    ],
)
def test_what_is_no_table_is_named_by_its_line(text: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        read_latencies(text, "t.csv")
    assert str(caught.value).startswith(f"t.csv: {problem}")
