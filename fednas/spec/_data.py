"""The data set, and how it is split over the clients."""

from __future__ import annotations

from pydantic import Field

from fednas.spec._base import Int, Model, Number, OneOf, Text
from fednas.spec._network import location_rule

__all__ = [
    "ByColumn",
    "ByLabelShards",
    "Central",
    "Columns",
    "Data",
    "Dirichlet",
    "Evaluation",
    "Iid",
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


class Data(Model):
    """The data set, and how it is split over the clients."""

    rules = (location_rule("source", "digits, a path or s3://bucket/prefix", prefix=True),)

    source: Text = Field(
        min_length=1,
        max_length=1024,
        description="digits (8x8 images that come with fednas), or a folder of parquet files in "
        "the Hugging Face image layout (train*.parquet, test*.parquet): a path or "
        "s3://bucket/prefix.",
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

    @property
    def value_column(self) -> str | None:
        """The column, besides images and labels, that the partition needs."""
        return None if self.partition.column is None else self.partition.column.name
