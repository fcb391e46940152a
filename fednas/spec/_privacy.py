"""What may be learnt of a client from the networks that a search gives out."""

from __future__ import annotations

from pydantic import Field

from fednas.spec._base import Model, Number, OneOf

__all__ = ["DEFAULT_PRIVACY", "ClientLevel", "NoPrivacy", "Privacy"]


class NoPrivacy(Model):
    """Updates are averaged as they are."""


class ClientLevel(Model):
    """Differential privacy of a client: whatever its data are, what is given out is much alike."""

    clip_norm: Number = Field(
        gt=0,
        le=1_000_000,
        description="L2 norm that the update of a client is clipped to: its weights after "
        "training less those that it started from.",
    )
    noise_multiplier: Number = Field(
        gt=0,
        le=10_000,
        description="Standard deviation of the Gaussian noise in the sum of a round's updates, "
        "over clipNorm.",
    )
    delta: Number = Field(
        gt=0,
        le=0.1,
        description="Chance that epsilon does not hold; should be less than 1 over the number of "
        "clients.",
    )
    epsilon: Number = Field(
        gt=0,
        le=1000,
        description="The budget, at delta: the search ends before a round that would exceed it.",
    )


class Privacy(OneOf):
    """What clients are promised."""

    none: NoPrivacy | None = Field(None, description="Nothing: updates are averaged as they are.")
    client_level: ClientLevel | None = Field(
        None,
        description="Differential privacy of each client towards whoever sees the networks; the "
        "coordinator and its store are trusted.",
    )


DEFAULT_PRIVACY = Privacy(none=NoPrivacy())
