"""A resource as a sum of products of widths, exact for every width.

A convolution from group ``a`` to group ``b`` costs ``kernel * area * w[a] * w[b]``: once these
coefficients are known, a candidate's cost takes microseconds instead of a traced forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import ConfigDict, Field, RootModel

__all__ = ["Term", "Terms"]

Term = tuple[Annotated[int, Field(ge=0)], tuple[Annotated[int, Field(ge=0)], ...]]


class Terms(RootModel[tuple[Term, ...]]):
    """``sum(coefficient * product(widths[i] for i in indices))``.

    >>> terms = Terms.collect([(9, (0,)), (2, (0, 1)), (1, (0,)), (5, ())])
    >>> terms.root
    ((5, ()), (10, (0,)), (2, (0, 1)))
    >>> terms.value([3, 4])
    59
    """

    model_config = ConfigDict(frozen=True)

    @classmethod
    def collect(cls, terms: Iterable[tuple[int, Sequence[int]]]) -> Terms:
        """Like terms added up, in a canonical order."""
        sums: dict[tuple[int, ...], int] = {}
        for coefficient, indices in terms:
            key = tuple(sorted(indices))
            sums[key] = sums.get(key, 0) + coefficient
        return cls(tuple((sums[key], key) for key in sorted(sums)))

    def value(self, widths: Sequence[int]) -> int:
        """The resource at these widths."""
        total = 0
        for coefficient, indices in self.root:
            for index in indices:
                coefficient *= widths[index]
            total += coefficient
        return total

    def part(self, index: int, widths: Sequence[int]) -> int:
        """What of the resource has the width of this index as a factor.

        >>> Terms.collect([(9, (0,)), (2, (0, 1)), (5, ())]).part(1, [3, 4])
        24
        """
        return Terms(tuple(term for term in self.root if index in term[1])).value(widths)
