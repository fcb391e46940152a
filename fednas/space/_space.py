"""What may be changed in a network: groups of filters that can only be cut together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fednas.errors import Corrupt
from fednas.models import Architecture
from fednas.resources import LatencyTable, Operation, Terms

__all__ = ["Group", "LeftOut", "Slice", "Space"]

Index = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Slice(_Frozen):
    """Where a group's filters lie in one dimension of one tensor.

    Filter ``i`` is the ``repeat`` positions from ``i * repeat`` on: one, but for a linear layer
    after a flattened image, where each filter is as many columns as it has pixels.
    """

    tensor: str
    dim: Index
    repeat: Positive = 1


class Group(_Frozen):
    """Filters that are cut together, with one index set, through every coupled tensor.

    Parameters
    ----------
    name : str
        The first convolution that produces them: ``block3.pointwise``.
    choice : int
        The index of its width in ``Architecture.widths``. Equals the group's own position as long
        as no group was left out.
    width : int
        Number of filters in the network that was traced.
    slices : tuple of Slice
        Everything that is cut: the producers' filters and biases, normalisation, depthwise
        filters (dimension 0), and what reads the filters (dimension 1).
    producers : tuple of str
        The weight tensors whose norms rank the filters; never depthwise or normalisation.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    choice: Index
    width: Positive
    slices: tuple[Slice, ...]
    producers: tuple[str, ...]


class LeftOut(_Frozen):
    """A group that cannot be cut, and why. Its width stays as it is."""

    name: str
    choice: Index
    width: Positive
    reason: str


class Space(_Frozen):
    """The widths that a search may choose, and what they cost.

    Parameters
    ----------
    start : Architecture
        The network that was traced. All but its widths holds for every network of the space.
    tensors : tuple of (str, tuple of int)
        Layout of the start's weight vector: names and shapes.
    groups : tuple of Group
        In forward order.
    left_out : tuple of LeftOut
        In forward order.
    macs_terms, params_terms, activation_terms : Terms
        Over the indices of ``Architecture.widths``; the last in bytes per sample.
    operations : tuple of Operation
        What a device runs, in forward order.
    min_batch : int
        Samples that a training step needs: 2 where batch normalisation sees one pixel an image.
    batch : int
        Samples of the step whose memory counts. No part of what was traced: `priced` sets it.
    latencies : mapping of str to LatencyTable
        By device class. No part of what was traced either.
    """

    start: Architecture
    tensors: tuple[tuple[str, tuple[Index, ...]], ...]
    groups: tuple[Group, ...]
    left_out: tuple[LeftOut, ...] = ()
    macs_terms: Terms
    params_terms: Terms
    activation_terms: Terms
    operations: tuple[Operation, ...] = ()
    min_batch: Positive = 1
    batch: Positive = Field(1, exclude=True)
    latencies: Mapping[str, LatencyTable] = Field({}, exclude=True)

    def priced(self, batch: int, latencies: Mapping[str, LatencyTable]) -> Self:
        """The same space, its costs in the terms of one search."""
        return self.model_copy(update={"batch": batch, "latencies": dict(latencies)})

    def macs(self, widths: Sequence[int]) -> int:
        """Multiply-accumulates per image, as `fednas.resources.count_macs` would count them."""
        return self.macs_terms.value(self._checked(widths))

    def params(self, widths: Sequence[int]) -> int:
        """Number of trainable values."""
        return self.params_terms.value(self._checked(widths))

    def memory(self, widths: Sequence[int]) -> int:
        """Bytes that training takes at its peak, at the end of a step's forward pass.

        Float32 weights, the gradients of the step before, momentum, and the activations of
        ``batch`` samples. The peak of torch's own allocations was 0 to 9 % above it
        (``bench/memory.py``); what Python and torch take by themselves comes on top.
        """
        activations = self.activation_terms.value(self._checked(widths))
        return 3 * 4 * self.params(widths) + self.batch * activations

    def latency(self, device_class: str, widths: Sequence[int]) -> int:
        """Nanoseconds of one forward pass of one sample, by the table of a device class."""
        table = self.latencies[device_class]
        return max(1, round(1e6 * table.milliseconds(self.operations, self._checked(widths))))

    def shapes(self, widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor at these widths, in the order of the weight vector."""
        self._checked(widths)
        shapes = {name: list(shape) for name, shape in self.tensors}
        for group in self.groups:
            for part in group.slices:
                shapes[part.tensor][part.dim] = widths[group.choice] * part.repeat
        return {name: tuple(shape) for name, shape in shapes.items()}

    def to_json(self) -> bytes:
        """Equal spaces give equal bytes."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """What `to_json` wrote.

        Raises
        ------
        Corrupt
            It is something else.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as e:
            raise Corrupt(f"search space: {e.errors()[0]['msg']}") from e

    def _checked(self, widths: Sequence[int]) -> Sequence[int]:
        if len(widths) != len(self.start.widths):
            raise ValueError(f"got {len(widths)} widths; this space has {len(self.start.widths)}")
        return widths
