"""How the search goes, and where it stops."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fednas.spec._arguments import Arguments
from fednas.spec._base import Int, Model, Number, OneOf, Rule, Text
from fednas.spec._network import MODULE_PATTERN

__all__ = [
    "DEFAULT_STRATEGY",
    "AdaptiveRounds",
    "Choosing",
    "ConstantRounds",
    "EarlyDrop",
    "GrowingRounds",
    "KeepAll",
    "Module",
    "NetAdapt",
    "Order",
    "Random",
    "Rounds",
    "Screening",
    "Shrinking",
    "Strategy",
    "StrategySettings",
    "SuccessiveHalving",
    "TopK",
    "Uniform",
]


class ConstantRounds(Model):
    """The same number of rounds in every iteration."""

    pre: Int = Field(
        0, ge=0, le=1000, description="Rounds of every screened candidate before the early drop."
    )
    post: Int = Field(
        0, ge=0, le=1000, description="Further rounds of the candidates that survive it."
    )


class GrowingRounds(Model):
    """More rounds the smaller the network: what is left becomes harder to choose from."""

    rules = (
        Rule(
            lambda model: model.post_min <= model.post_max,
            "self.postMin <= self.postMax",
            "must be at most postMax",
            "postMin",
        ),
    )

    pre: Int = Field(
        1, ge=0, le=1000, description="Rounds of every screened candidate before the early drop."
    )
    post_min: Int = Field(
        0, ge=0, le=1000, description="Rounds after it, at the size of the start."
    )
    post_max: Int = Field(
        4, ge=0, le=1000, description="Rounds after it, at the target; in between in proportion."
    )


class AdaptiveRounds(Model):
    """As many rounds as it takes until the leader stays the same."""

    pre: Int = Field(
        1, ge=0, le=1000, description="Rounds of every screened candidate before the early drop."
    )
    post_max: Int = Field(4, ge=0, le=1000, description="Rounds after it, at most.")
    patience: Int = Field(
        2, ge=1, le=1000, description="Rounds in a row with the same leader that end it."
    )


class Rounds(OneOf):
    """How many rounds candidates train."""

    constant: ConstantRounds | None = Field(
        None, description="The same number of rounds in every iteration."
    )
    growing: GrowingRounds | None = Field(
        None, description="More rounds the smaller the network has become."
    )
    adaptive: AdaptiveRounds | None = Field(
        None, description="Rounds until the leader stays the same."
    )


class TopK(Model):
    """The best k candidates survive."""

    keep: Int = Field(4, ge=1, le=1000, description="Candidates that survive.")


class SuccessiveHalving(Model):
    """After every round the better half survives (arXiv 1502.07943)."""


class KeepAll(Model):
    """Every candidate survives."""


class Screening(OneOf):
    """Which candidates are trained at all."""

    top_k: TopK | None = Field(
        None, description="The best k, as they are just cut, of those that met the target."
    )
    none: KeepAll | None = Field(None, description="Every candidate.")


class EarlyDrop(OneOf):
    """Which candidates survive the first rounds."""

    top_k: TopK | None = Field(None, description="The best k survive the first phase.")
    successive_halving: SuccessiveHalving | None = Field(
        None, description="The better half survives each round."
    )
    none: KeepAll | None = Field(None, description="Every candidate trains all rounds.")


Order = Literal["divergence", "loss", "accuracy", "lossPerResource", "accuracyPerResource"]


class StrategySettings(Model):
    """What all strategies have in common.

    One that splits the clients into groups says so by a field ``client_groups``, which is then
    held against the number of clients.
    """

    def warnings(self, share: float) -> list[str]:
        """What is allowed but hardly meant for a target of that share, one line each."""
        return []


class Shrinking(StrategySettings):
    """A strategy that makes the network smaller by a step an iteration.

    The target of iteration ``t`` is ``firstStep * stepDecay^(t-1)`` of the start's resource below
    what the network has come to, and never below the search's own target.
    """

    max_iterations: Int = Field(
        100, ge=1, le=1000, description="Iterations after which the search ends, target or not."
    )
    first_step: Number = Field(
        0.025,
        gt=0,
        le=0.5,
        description="Share of the start's cost in the target's resource that the first iteration "
        "removes.",
    )
    step_decay: Number = Field(
        1.0, gt=0, le=1, description="Factor from one iteration's step to the next."
    )
    client_groups: Int | None = Field(
        None,
        ge=1,
        le=10000,
        description="Groups that the clients are split into; a candidate trains on one group a "
        "round. Unset: as many as candidates, each of at least 5 clients.",
    )
    rounds: Rounds = Field(
        Rounds(constant=ConstantRounds()),
        description="How many rounds candidates train; with none the search costs the clients "
        "nothing. Exactly one.",
    )

    def reach(self) -> float:
        """Share of the start's cost that the schedule comes down to, at best."""
        d, g, n = self.first_step, self.step_decay, self.max_iterations
        return 1 - (d * n if g == 1 else d * (1 - g**n) / (1 - g))

    def warnings(self, share: float) -> list[str]:
        """A schedule that ends above the target, with the nearest one that meets it."""
        if self.reach() <= share + 1e-9:
            return []
        return [
            f"{self.max_iterations} iterations come down to a share of {self.reach():.3f} by "
            f"their own arithmetic, above the target's {share:g}; {self._what_would_do(share)}"
        ]

    def _what_would_do(self, share: float) -> str:
        for n in range(self.max_iterations + 1, 1001):
            if self.model_copy(update={"max_iterations": n}).reach() <= share:
                return f"maxIterations {n} would do"
        g, n = self.step_decay, self.max_iterations
        steps = n if g == 1 else (1 - g**n) / (1 - g)
        step = -(-(1 - share) / steps // 0.001) * 0.001
        if step <= 0.5:
            return f"firstStep {step:.3f} would do"
        return "a larger stepDecay would do"


class Choosing(Shrinking):
    """A strategy that makes several candidates an iteration and chooses."""

    order: Order = Field(
        "divergence",
        description="Which candidate is the better, for screening, early drop and winner alike: "
        "loss or accuracy on the validation samples, or what of it is lost per resource saved; "
        "divergence, how far its answers are from those of the network that it was cut from, and "
        "the loss once candidates have trained. Those that met the iteration's target come first.",
    )
    screening: Screening = Field(
        Screening(top_k=TopK(keep=8)),
        description="Which candidates are trained at all, if any. Exactly one.",
    )
    early_drop: EarlyDrop = Field(
        EarlyDrop(top_k=TopK()),
        description="Which candidates survive the first rounds. Exactly one.",
    )
    pairing: Literal["apart", "together"] = Field(
        "apart",
        description="Who trains whom in a round: apart, each candidate on a group of its own; "
        "together, all on the same group, in turn, so that clients do not decide between them.",
    )


class NetAdapt(Choosing):
    """Federated NetAdapt (arXiv 2002.06352, 1804.03230).

    Each candidate of an iteration shrinks one group of layers until the whole network meets the
    iteration's target.
    """

    filter_step: Int = Field(1, ge=1, le=256, description="Widths are tried in multiples of this.")


class Random(Choosing):
    """Random search: each candidate of an iteration shrinks every group by chance."""

    candidates: Int = Field(8, ge=1, le=100, description="Candidates of an iteration.")


class Uniform(Shrinking):
    """No search: every group is thinned alike. What a search has to beat."""


class Module(StrategySettings):
    """A strategy of one's own, by its name in a module that is imported and run."""

    path: Text = Field(
        max_length=256,
        pattern=MODULE_PATTERN,
        description="package.module:name of the class, which the coordinator must be able to "
        "import.",
    )
    args: Arguments = Field(
        {},
        max_length=64,
        description="Keyword arguments of the class, by name: values of JSON.",
    )


class Strategy(OneOf):
    """How the search goes."""

    net_adapt: NetAdapt | None = Field(
        None, description="Federated NetAdapt: candidates of one group of layers each."
    )
    random: Random | None = Field(None, description="Candidates of random widths.")
    uniform: Uniform | None = Field(
        None, description="Every group of layers thinned alike: no search."
    )
    module: Module | None = Field(
        None, description="A strategy of one's own: a class in a module of one's own."
    )

    def warnings(self, share: float) -> list[str]:
        """What is allowed but hardly meant, each line with the name of the strategy first."""
        name, settings = self.chosen
        assert isinstance(settings, StrategySettings), name
        return [f"{name}: {line}" for line in settings.warnings(share)]


DEFAULT_STRATEGY = Strategy(net_adapt=NetAdapt())
"""The strategy of a spec that chooses none."""
