"""How the search goes, and where it stops."""

from __future__ import annotations

from pydantic import Field

from fednas.spec._base import Int, Model, Number, OneOf

__all__ = [
    "DEFAULT_STRATEGY",
    "ConstantRounds",
    "EarlyDrop",
    "NetAdapt",
    "Rounds",
    "Strategy",
    "StrategySettings",
    "TopK",
]


class ConstantRounds(Model):
    """The same number of rounds in every iteration."""

    pre: Int = Field(
        1, ge=1, le=1000, description="Rounds of every candidate before the early drop."
    )
    post: Int = Field(
        1, ge=0, le=1000, description="Further rounds of the candidates that survive it."
    )


class Rounds(OneOf):
    """How many rounds candidates train."""

    constant: ConstantRounds | None = Field(
        None, description="The same number of rounds in every iteration."
    )


class TopK(Model):
    """The best k candidates survive."""

    keep: Int = Field(4, ge=1, le=1000, description="Candidates that survive the early drop.")


class EarlyDrop(OneOf):
    """Which candidates survive the first rounds."""

    top_k: TopK | None = Field(None, description="The best k by validation accuracy survive.")


class StrategySettings(Model):
    """What all strategies have in common.

    One that splits the clients into groups says so by a field ``client_groups``, which is then
    held against the number of clients.
    """

    def warnings(self, share: float) -> list[str]:
        """What is allowed but hardly meant for a target of that share, one line each."""
        return []


class NetAdapt(StrategySettings):
    """Federated NetAdapt (arXiv 2002.06352, 1804.03230).

    Every iteration shrinks one group of layers until the whole network has
    ``firstStep * stepDecay^(t-1)`` of the start's resource less.
    """

    max_iterations: Int = Field(
        20, ge=1, le=1000, description="Iterations after which the search ends, target or not."
    )
    first_step: Number = Field(
        0.05,
        gt=0,
        le=0.5,
        description="Share of the start's cost in the target's resource that the first iteration "
        "removes.",
    )
    step_decay: Number = Field(
        0.98, gt=0, le=1, description="Factor from one iteration's step to the next."
    )
    filter_step: Int | None = Field(
        None,
        ge=1,
        le=256,
        description="Widths are tried in multiples of this. Unset: 8 where the smallest layer "
        "has at least 64 filters, else 4.",
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
        description="How many rounds candidates train. Exactly one.",
    )
    early_drop: EarlyDrop = Field(
        EarlyDrop(top_k=TopK()),
        description="Which candidates survive the first rounds. Exactly one.",
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


class Strategy(OneOf):
    """How the search goes."""

    net_adapt: NetAdapt | None = Field(None, description="Federated NetAdapt with early drop.")

    def warnings(self, share: float) -> list[str]:
        """What is allowed but hardly meant, each line with the name of the strategy first."""
        name, settings = self.chosen
        assert isinstance(settings, StrategySettings), name
        return [f"{name}: {line}" for line in settings.warnings(share)]


DEFAULT_STRATEGY = Strategy(net_adapt=NetAdapt())
"""The strategy of a spec that chooses none."""
