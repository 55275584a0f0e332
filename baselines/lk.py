"""LK losses: the acceptance of a drafted token as the objective, alone or after KL.

Samarin et al. 2026, "LK Losses" (arXiv 2602.23881). With alpha the sum of min(p, q), the chance of
acceptance, the loss of a token is, by `objective`,

    adaptive_kl_tv           c KL(p || q) + (1 - c) TV(p, q), c = exp(-eta alpha) (equations 4, 5)
    negative_log_acceptance  -log alpha, whose gradient is TV's / alpha

No gradient goes through c. KL leads while the draft is far off, where TV hardly has a gradient, and
TV takes over as alpha grows. The paper's gains are at temperature 1 (3.5 to 8.2 % of accepted
length over KL); at temperature 0, and in engines that draft greedily whatever the temperature,
sum min(p, q) is not what is measured, and about 1 % is left.

Published recipe: the target's own responses at temperature 1 (`text = "target"`), 10 passes,
batches of 64, learning rate 4e-4, cosine, 100 steps of warm-up, AdamW (0.9, 0.95), clip 0.5. It
trains heads; their discount by position has no counterpart in a draft that is a language model.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class LK(LanguageModelMethod):
    """`eta` and `per` are of adaptive_kl_tv: how soon KL is left, and whose alpha decides it.

    Paper: eta 3 (10 for Medusa). SpecForge's default is 1. "batch" is the mean over all supervised
    tokens of the step, which both heads measure first, without a gradient; the ledger counts it.
    Speculators has alpha per "position", which costs no such survey.
    """

    objective: Literal["adaptive_kl_tv", "negative_log_acceptance"] = "adaptive_kl_tv"
    eta: Annotated[float, Field(ge=0)] = 3.0
    per: Literal["batch", "position"] = "batch"

    def __post_init__(self) -> None:
        """Raise ValueError for a knob that the objective does not have."""
        if self.objective != "adaptive_kl_tv" and (self.eta, self.per) != (LK.eta, LK.per):
            raise ValueError(
                f"objective = {self.objective!r} has no eta and no per; leave them out, or take "
                "objective = 'adaptive_kl_tv'"
            )

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by the objective."""
        from draftmark.training.divergences import (
            acceptance,
            adaptive_kl_tv,
            negative_log_acceptance,
        )
        from draftmark.training.loop import PreLossPass, train

        if self.objective == "negative_log_acceptance":
            return train(context, lambda draft, target, _: negative_log_acceptance(draft, target))
        if self.per == "position":
            return train(context, lambda draft, target, _: adaptive_kl_tv(draft, target, self.eta))
        survey = PreLossPass(lambda draft, target, _: acceptance(draft, target))
        return train(
            context,
            lambda draft, target, batch: adaptive_kl_tv(draft, target, self.eta, batch.mean),
            survey,
        )


METHOD = LK
