from hypothesis import given
from hypothesis import strategies as st

from fednas.resources import Terms

TERM = st.tuples(st.integers(0, 10**6), st.lists(st.integers(0, 2), max_size=3).map(tuple))


@given(st.lists(TERM), st.tuples(*[st.integers(1, 1024)] * 3))
def test_collected_terms_keep_the_sum(
    terms: list[tuple[int, tuple[int, ...]]], widths: tuple[int, int, int]
):
    expected = 0
    for coefficient, indices in terms:
        for i in indices:
            coefficient *= widths[i]
        expected += coefficient
    assert Terms.collect(terms).value(widths) == expected


@given(st.lists(TERM))
def test_order_does_not_matter(terms: list[tuple[int, tuple[int, ...]]]):
    assert Terms.collect(terms) == Terms.collect(reversed(terms))


def test_reads_back_from_json():
    terms = Terms.collect([(3, (0, 1)), (2, ())])
    assert Terms.model_validate_json(terms.model_dump_json()) == terms
