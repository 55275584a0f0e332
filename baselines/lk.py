"""LK losses: direct optimisation of acceptance (Samarin et al. 2026, arXiv 2602.23881).

For the target p, the draft q and alpha = sum of min(p, q), the acceptance probability, the loss of
a token is, by `objective`,

    adaptive_kl_tv           c KL(p || q) + (1 - c) TV(p, q), c = exp(-eta alpha) (equations 4, 5)
    negative_log_acceptance  -log alpha, whose gradient is that of TV over alpha

without a gradient through c. KL leads far from the target, where TV has hardly a gradient; TV takes
over as alpha grows. The paper's gains are at temperature 1 (3.5 to 8.2 % of accepted length over
KL). About 1 % is left at temperature 0 and with greedy drafting, where acceptance is not alpha.

Published recipe: the target's responses at temperature 1 (`text = "target"`), 10 passes, batches of
64, learning rate 4e-4, cosine, 100 steps of warm-up, AdamW (0.9, 0.95), clip 0.5. It trains heads;
their discount by position has no counterpart in a language model draft.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class LK(LanguageModelMethod):
    """`eta` and `per` belong to adaptive_kl_tv: the rate of c, and the tokens of its alpha.

    Paper: eta 3 (10 for Medusa); SpecForge: 1. `per` "batch" takes alpha's mean over the step's
    supervised tokens, measured in a pass of both heads before the loss; the ledger counts it.
    Speculators takes alpha per "position", without that pass.
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
            adaptive_kl_tv,
            expected_acceptance,
            negative_log_acceptance,
        )
        from draftmark.training.loop import PreLossPass, train

        if self.objective == "negative_log_acceptance":
            return train(context, lambda draft, target, _: negative_log_acceptance(draft, target))
        if self.per == "position":
            return train(context, lambda draft, target, _: adaptive_kl_tv(draft, target, self.eta))
        mean_acceptance = PreLossPass(lambda draft, target, _: expected_acceptance(draft, target))
        return train(
            context,
            lambda draft, target, batch: adaptive_kl_tv(
                draft, target, self.eta, batch.pre_loss_mean
            ),
            mean_acceptance,
        )


METHOD = LK
