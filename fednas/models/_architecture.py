"""What identifies a network: its family, what it reads and answers, and its widths."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fednas.errors import BadInput
from fednas.spec import MODULE_PATTERN, Normalize, SearchSpec

__all__ = ["FAMILIES", "Architecture", "start_architecture", "starting_network"]

FAMILIES: dict[str, tuple[int, ...]] = {
    "cnn": (32, 32, 32, 32),
    "mobilenet_v1": (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024),
    "mobilenet_v2": (
        *(32, 16, 96, 24, 144, 144, 32, 192, 192, 192, 64, 384, 384, 384),
        *(384, 96, 576, 576, 576, 160, 960, 960, 960, 320, 1280),
    ),
    "resnet20": (16, 16, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64),
}
"""Each family of the zoo, with its widths at multiplier 1: one per prunable group, in forward
order. They stand here, not beside the networks, so that nobody needs torch to name a network."""

_ARGS = {"inputChannels", "inputSize", "classes", "widthMultiplier"}
_SCALE = {"inputMean", "inputStd"}

Width = Annotated[int, Field(ge=1, le=65536)]
Arg = int | float | tuple[float, ...]


class Architecture(BaseModel):
    """One network, as data: equal architectures build equal networks.

    Parameters
    ----------
    family : str
        A name in `FAMILIES`, or ``package.module:function``, which builds a network of one's own.
    args : dict
        What does not change during a search: ``inputChannels``, ``inputSize`` (pixels, images are
        square), ``classes``, ``widthMultiplier`` (what the start network was made with); where the
        spec says, ``inputMean`` and ``inputStd``, by which pixels are normalised, one number a
        channel.
    choices : dict
        What a search may change: ``widths``, the number of filters of each prunable group, in
        forward order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = Field(max_length=256)
    args: dict[str, Arg]
    choices: dict[str, Annotated[tuple[Width, ...], Field(max_length=1024)]]

    @field_validator("family")
    @classmethod
    def _known(cls, family: str) -> str:
        if family not in FAMILIES and re.fullmatch(MODULE_PATTERN, family) is None:
            raise ValueError(
                f"got {family!r}; must be one of {', '.join(sorted(FAMILIES))}, or "
                "package.module:function"
            )
        return family

    @field_validator("args")
    @classmethod
    def _whole(cls, args: dict[str, Arg]) -> dict[str, Arg]:
        scale = {name: value for name, value in args.items() if name in _SCALE}
        numbers = {n: v for n, v in args.items() if n not in scale and not isinstance(v, tuple)}
        if set(numbers) != _ARGS or len(args) != len(numbers) + len(scale):
            raise ValueError(f"got {sorted(args)}; must be exactly {sorted(_ARGS)}")
        for name in ("inputChannels", "inputSize", "classes"):
            value = numbers[name]
            if value != int(value) or not 1 <= value <= 65536:
                raise ValueError(f"{name}: got {value}; must be a whole number from 1 to 65536")
        whole = {name: int(value) for name, value in numbers.items() if name != "widthMultiplier"}
        if scale:
            normalize = Normalize.model_validate(
                {"mean": scale.get("inputMean"), "std": scale.get("inputStd")}
            )
            if len(normalize.mean) != whole["inputChannels"]:
                raise ValueError(
                    f"inputMean: got {len(normalize.mean)} numbers; must be "
                    f"{whole['inputChannels']}, one a channel"
                )
            scale = {"inputMean": normalize.mean, "inputStd": normalize.std}
        return {**whole, "widthMultiplier": float(numbers["widthMultiplier"]), **scale}

    @model_validator(mode="after")
    def _one_width_per_group(self) -> Self:
        if set(self.choices) != {"widths"}:
            raise ValueError(f"choices: got {sorted(self.choices)}; must be exactly ['widths']")
        num_groups = len(FAMILIES.get(self.family, self.widths))
        if len(self.widths) != num_groups:
            raise ValueError(
                f"choices.widths: got {len(self.widths)}; {self.family} has {num_groups} groups"
            )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of each prunable group, in forward order."""
        return self.choices["widths"]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        size = self._count("inputSize")
        return self._count("inputChannels"), size, size

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self._count("classes")

    @property
    def normalize(self) -> Normalize | None:
        """How pixels are normalised; None: mean 0.5 and std 0.25."""
        if "inputMean" not in self.args:
            return None
        return Normalize.model_validate(
            {"mean": self.args["inputMean"], "std": self.args["inputStd"]}
        )

    def _count(self, name: str) -> int:
        value = self.args[name]
        assert isinstance(value, int), name
        return value

    def with_widths(self, widths: tuple[int, ...] | list[int]) -> Architecture:
        """The same network with other widths."""
        return Architecture(
            family=self.family, args=self.args, choices={"widths": tuple(map(int, widths))}
        )

    def key(self) -> str:
        """Canonical JSON: equal for equal architectures, readable by `model_validate_json`."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def start_architecture(
    name: str,
    *,
    channels: int,
    size: int,
    classes: int,
    width_multiplier: float = 1.0,
    widths: Sequence[int] | None = None,
    normalize: Normalize | None = None,
) -> Architecture:
    """The network that a search starts from.

    Parameters
    ----------
    name : str
        A family of the zoo, a key of `FAMILIES`; or ``package.module:function``, a network of
        one's own.
    channels, size : int
        Of the images; ``size`` in pixels, images are square.
    classes : int
        Number of classes.
    width_multiplier : float
        Scales every width; at least one filter is left.
    widths : sequence of int, optional
        Filters of each group at multiplier 1, in forward order; those of the family by default.
    normalize : Normalize, optional
        How pixels are normalised; mean 0.5 and std 0.25 if there is none.

    Raises
    ------
    BadInput
        The zoo has no such family, the widths of one's own network are not given, or the images
        have not as many channels as ``normalize`` says.
    """
    if ":" not in name and name not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise BadInput(f"spec.model.name: got {name!r}; must be one of {known}")
    filters = FAMILIES.get(name) if widths is None else widths
    if not filters:
        raise BadInput("spec.model.args.widths: missing; must be given for a network of one's own")
    args: dict[str, Arg] = {
        "inputChannels": channels,
        "inputSize": size,
        "classes": classes,
        "widthMultiplier": width_multiplier,
    }
    if normalize is not None:
        if len(normalize.mean) != channels:
            raise BadInput(
                f"spec.data.normalize.mean: has {len(normalize.mean)} entries; must have one a "
                f"channel, and the images have {channels} ({'grey' if channels == 1 else 'colour'})"
            )
        args |= {"inputMean": normalize.mean, "inputStd": normalize.std}
    return Architecture(
        family=name,
        args=args,
        choices={"widths": tuple(max(1, round(w * width_multiplier)) for w in filters)},
    )


def starting_network(spec: SearchSpec, shape: tuple[int, int, int], classes: int) -> Architecture:
    """The network that a spec names, for images [C, H, W] and so many classes."""
    channels, size, _ = shape
    return start_architecture(
        spec.model.family,
        channels=channels,
        size=size,
        classes=classes,
        width_multiplier=spec.model.args.width_multiplier,
        widths=spec.model.args.widths,
        normalize=spec.data.normalize,
    )
