"""A layer as a device sees it: what its time depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fednas.resources._terms import Term

__all__ = ["Key", "Operation"]

Key = tuple[str, int, int, int]
"""Operation, kernel, stride, size: layers that differ in widths alone have one key."""

Positive = Annotated[int, Field(ge=1)]


class Operation(BaseModel):
    """A convolution or linear layer, with the normalisation and the activation behind it.

    Parameters
    ----------
    name : str
        ``conv``, ``depthwise`` or ``linear``, and what follows: ``conv+batch_norm+relu``.
    kernel, stride, size : int
        Of the kernel and of the input image in pixels, all square; 1 for a linear layer.
    inputs, outputs : (int, tuple of int)
        Channels: a factor, and indices into ``Architecture.widths`` to multiply it with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kernel: Positive
    stride: Positive
    size: Positive
    inputs: Term
    outputs: Term

    @property
    def key(self) -> Key:
        return self.name, self.kernel, self.stride, self.size

    def channels(self, widths: Sequence[int]) -> tuple[int, int]:
        """Channels in and out at these widths."""
        return _product(self.inputs, widths), _product(self.outputs, widths)


def _product(term: Term, widths: Sequence[int]) -> int:
    factor, indices = term
    for index in indices:
        factor *= widths[index]
    return factor
