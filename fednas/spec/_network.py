"""The network to start from."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field
from pydantic.alias_generators import to_snake

from fednas.spec._address import WRONG_BUCKET_IN_URI, key_problem, s3_pattern
from fednas.spec._base import Int, Model, Number, OneOf, Rule, Text
from fednas.spec._training import InitialTraining

__all__ = ["MODULE_PATTERN", "Initial", "ModelArgs", "Network", "location_rule"]

MODULE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
"""``package.module:name``, of a function or a class."""


def _is_location(text: str, pattern: str) -> bool:
    """Whether it is a path, or a well-formed address in S3."""
    if "://" not in text and not text.startswith("s3:"):
        return True
    if re.fullmatch(pattern, text) is None or re.search(WRONG_BUCKET_IN_URI, text):
        return False
    return not key_problem(text.removeprefix("s3://").partition("/")[2].removesuffix("/"))


def location_rule(field: str, what: str, *, prefix: bool = False) -> Rule:
    """The rule that a field is a path or an ``s3://`` address, which may be a folder's."""
    pattern = s3_pattern(prefix=prefix)
    return Rule(
        lambda model: (v := getattr(model, to_snake(field))) is None or _is_location(v, pattern),
        f"!has(self.{field}) || (!self.{field}.contains('://') && "
        f"!self.{field}.startsWith('s3:')) || (self.{field}.matches(r'{pattern}') && "
        f"!self.{field}.matches(r'{WRONG_BUCKET_IN_URI}'))",
        f"must be {what}",
        field,
    )


Filters = Annotated[Int, Field(ge=1, le=65536, description="Filters of one group.")]


class ModelArgs(Model):
    """Arguments of the network."""

    width_multiplier: Number = Field(
        1.0,
        ge=0.0625,
        le=4,
        description="Factor on the number of filters of every layer of the starting network.",
    )
    widths: tuple[Filters, ...] | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="Of a module's network, and of no other: the filters of each group of layers "
        "that are cut together, in forward order. fednas check shows the groups.",
    )


class Initial(OneOf):
    """Where the starting network's weights come from."""

    rules = (location_rule("weights", "a path or s3://bucket/key"),)

    training: InitialTraining | None = Field(
        None, description="FedAvg from random weights, on the same clients, before the search."
    )
    weights: Text | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="A safetensors file of trained weights: a path, or s3://bucket/key. A rung of "
        "another search, rung-NN.safetensors with its ladder.json beside it, may be narrower than "
        "the network that model names: the search starts from the rung's.",
    )


class Network(Model):
    """The network that the search starts from."""

    rules = (
        Rule(
            lambda model: (model.name is None) != (model.module is None),
            "has(self.name) != has(self.module)",
            "must hold exactly one of name, module",
        ),
        Rule(
            lambda model: (model.module is None) == (model.args.widths is None),
            "has(self.module) == has(self.args.widths)",
            "must be one number for each group of a module's network, and unset for one of the zoo",
            "args.widths",
        ),
    )

    name: Literal["mobilenet_v1", "mobilenet_v2", "resnet20", "cnn"] | None = Field(
        None,
        description="A network of the zoo: mobilenet_v1 or mobilenet_v2 (for images of 32 pixels "
        "and more), resnet20 (for 32 pixels), or cnn (four small convolutions, LEAF's "
        "for CelebA).",
    )
    module: Text | None = Field(
        None,
        max_length=256,
        pattern=MODULE_PATTERN,
        description="A network of one's own in place of name: package.module:function, called "
        "with (channels, size, classes, widths) in every worker, which must be able to import it.",
    )
    args: ModelArgs = Field(ModelArgs(), description="Arguments of the network.")
    initial: Initial = Field(
        Initial(training=InitialTraining()),
        description="Where the starting weights come from: training or weights. Exactly one.",
    )

    @property
    def family(self) -> str:
        """Its name or its module."""
        found = self.name or self.module
        assert found is not None, "a rule"
        return found
