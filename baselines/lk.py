"""LK losses: direct optimisation of acceptance (Samarin et al. 2026, arXiv 2602.23881).

For the target p, the draft q and alpha = sum of min(p, q), the acceptance probability, the loss of
a token is, by `objective`,

    adaptive_kl_tv           c KL(p || q) + (1 - c) TV(p, q), c = exp(-eta alpha) (equations 4, 5)
    negative_log_acceptance  -log alpha, whose gradient is that of TV over alpha

without a gradient through c. Far from the target KL dominates, as TV has hardly a gradient there;
TV takes over as alpha grows. At temperature 1 the paper gains 3.5 to 8.2 % of accepted length over
KL; at temperature 0 and with greedy drafting, where acceptance is not alpha, about 1 %.

Published recipe: the target's responses at temperature 1 (`text = "target"`), 10 passes, batches of
64, learning rate 4e-4, cosine, 100 steps of warm-up, AdamW (0.9, 0.95), clip 0.5. The recipe trains
heads; a language model draft has no counterpart to their discount by position.
"""

# Trains: a model.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class LK(LanguageModelMethod):
    """The knobs of LK; `eta` and `per` are for adaptive_kl_tv only.

    `eta`: rate of c (paper: 3, 10 for Medusa; SpecForge: 1). `per`: "batch" uses alpha's mean over
    the step's supervised tokens, from an extra pass of both heads that the ledger counts;
    "position" uses each token's alpha without that pass, as Speculators does.
    """

    objective: Literal["adaptive_kl_tv", "negative_log_acceptance"] = "adaptive_kl_tv"
    eta: Annotated[float, Field(ge=0)] = 3.0
    per: Literal["batch", "position"] = "batch"

    def __post_init__(self) -> None:
        """Raise ValueError for a knob that the objective does not use."""
        if self.objective != "adaptive_kl_tv" and (self.eta, self.per) != (LK.eta, LK.per):
            raise ValueError(
                f"objective = {self.objective!r} uses neither eta nor per; leave them out, or set "
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
