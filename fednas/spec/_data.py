"""The data set, and how it is split over the clients."""

from __future__ import annotations

from pydantic import Field

from fednas.spec._base import Model, Number, OneOf, Text
from fednas.spec._network import location_rule

__all__ = ["Central", "Columns", "Data", "Dirichlet", "Evaluation", "Iid", "Partition"]


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


class Partition(OneOf):
    """How the training samples are split over the clients."""

    iid: Iid | None = Field(
        None, description="Every client gets the same number of samples, drawn at random."
    )
    dirichlet: Dirichlet | None = Field(
        None, description="Each client's mix of labels is drawn from a Dirichlet distribution."
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
