"""The data set, and how it is split over the clients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fednas.spec._base import Int, Model, Number, OneOf, Rule, Text
from fednas.spec._network import location_rule

__all__ = [
    "Augmentation",
    "ByColumn",
    "ByLabelShards",
    "Central",
    "Columns",
    "Data",
    "Dirichlet",
    "Evaluation",
    "Iid",
    "Normalize",
    "Partition",
    "QuantitySkew",
]


class Columns(Model):
    """Names of the columns of the parquet files."""

    image: Text = Field("img", min_length=1, max_length=128, description="Column of the images.")
    label: Text = Field("label", min_length=1, max_length=128, description="Column of the labels.")


class Iid(Model):
    """Every client gets the same number of samples, drawn at random."""


class Dirichlet(Model):
    """Each client's mix of labels is drawn from a Dirichlet distribution."""

    alpha: Number = Field(
        ge=0.001,
        le=1000,
        description="Concentration: 0.1 gives clients of one or two labels, 100 nearly equal ones.",
    )


class ByLabelShards(Model):
    """The samples, sorted by label, are cut into shards of equal size and dealt to the clients."""

    per_client: Int = Field(
        ge=1,
        le=1000,
        description="Shards of each client: with 2, most clients hold two labels. At most as many "
        "shards in all as there are training samples.",
    )


class ByColumn(Model):
    """Whole values of a column, such as users, are dealt to the clients."""

    name: Text = Field(
        min_length=1,
        max_length=128,
        description="Column of the parquet files, of integers or text, with at least as many "
        "values as there are clients.",
    )


class QuantitySkew(Model):
    """The clients' numbers of samples are drawn from a Dirichlet distribution."""

    alpha: Number = Field(
        ge=0.001,
        le=1000,
        description="Concentration: 0.1 gives a few clients nearly everything, 100 nearly equal "
        "shares.",
    )


class Partition(OneOf):
    """How the training samples are split over the clients."""

    iid: Iid | None = Field(
        None, description="Every client gets the same number of samples, drawn at random."
    )
    dirichlet: Dirichlet | None = Field(
        None, description="Each client's mix of labels is drawn from a Dirichlet distribution."
    )
    shards: ByLabelShards | None = Field(
        None,
        description="The samples, sorted by label, are cut into shards of equal size, and each "
        "client gets some of them.",
    )
    column: ByColumn | None = Field(
        None,
        description="Whole values of a column of the parquet files, such as users, are dealt to "
        "the clients: the largest first, each to the client with the fewest samples.",
    )
    quantity_skew: QuantitySkew | None = Field(
        None,
        description="The clients' numbers of samples are drawn from a Dirichlet distribution, "
        "their samples at random.",
    )


class Central(Model):
    """A validation split that no client trains on."""

    fraction: Number = Field(
        0.1, ge=0.01, le=0.5, description="Share of the training samples that is held back."
    )


class Evaluation(OneOf):
    """What candidates are ranked on."""

    central: Central | None = Field(
        None, description="A central validation split that no client trains on."
    )


Augmentation = Literal["flip", "crop"]
"""How the images of a batch are changed at random."""


class Normalize(Model):
    """What a network is given of a pixel in 0..255: ``(pixel / 255 - mean) / std``, by channel."""

    rules = (
        Rule(
            lambda normalize: len(normalize.mean) != 2,
            "size(self.mean) != 2",
            "must have 1 entry (grey images) or 3 (red, green, blue)",
            "mean",
        ),
        Rule(
            lambda normalize: len(normalize.std) == len(normalize.mean),
            "size(self.std) == size(self.mean)",
            "must have as many entries as mean",
            "std",
        ),
    )

    mean: tuple[
        Annotated[Number, Field(ge=0, le=1, description="Of one channel, of pixel / 255.")], ...
    ] = Field(
        min_length=1,
        max_length=3,
        description="What is subtracted of pixel / 255: one number a channel.",
    )
    std: tuple[
        Annotated[Number, Field(ge=0.001, le=1, description="Of one channel, of pixel / 255.")], ...
    ] = Field(
        min_length=1,
        max_length=3,
        description="What the difference is divided by: one number a channel.",
    )


class Data(Model):
    """The data set, and how it is split over the clients."""

    rules = (
        location_rule("source", "digits, a path or s3://bucket/prefix", prefix=True),
        Rule(
            lambda data: len(set(data.augment or ())) == len(data.augment or ()),
            "!has(self.augment) || size(self.augment) < 2 || self.augment[0] != self.augment[1]",
            "must name each augmentation once",
            "augment",
        ),
    )

    source: Text = Field(
        min_length=1,
        max_length=1024,
        description="digits (8x8 images that come with fednas), or a folder: a path or "
        "s3://bucket/prefix. It holds parquet files in the Hugging Face image layout "
        "(train*.parquet, test*.parquet), or PNG and JPEG files in one folder a class "
        "(train/<class>/, test/<class>/).",
    )
    columns: Columns = Field(Columns(), description="Names of the columns of the parquet files.")
    partition: Partition = Field(
        Partition(iid=Iid()),
        description="How the training samples are split over the clients. Exactly one.",
    )
    evaluation: Evaluation = Field(
        Evaluation(central=Central()),
        description="What candidates are ranked on. Exactly one.",
    )
    augment: (
        tuple[
            Annotated[
                Augmentation,
                Field(
                    description="flip (left and right change sides, half of the time) or crop "
                    "(moved by up to an eighth of the size; the edges are mirrored)."
                ),
            ],
            ...,
        ]
        | None
    ) = Field(
        None,
        max_length=2,
        description="How clients change the images that they train on, anew at random in each "
        "batch: flip, crop. Unset: not at all. Validation and test images stay as they are.",
    )
    normalize: Normalize | None = Field(
        None,
        description="What the networks are given of a pixel in 0..255: (pixel / 255 - mean) / std, "
        "by channel. Unset: mean 0.5 and std 0.25.",
    )

    @property
    def value_column(self) -> str | None:
        """The column, besides images and labels, that the partition needs."""
        return None if self.partition.column is None else self.partition.column.name
