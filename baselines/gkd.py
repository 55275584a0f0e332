"""Generalised knowledge distillation: a JSD with weight beta, on text partly the draft's own.

Agarwal et al. 2024, "On-Policy Distillation of Language Models" (GKD, arXiv 2306.13649). The loss
of a token is beta KL(p || m) + (1 - beta) KL(q || m) for m = beta p + (1 - beta) q, the target's
law p and the draft's q. The paper's lambda, the share of steps whose text the draft writes at that
moment (algorithm 1), is the mixture of the training text; at lambda = 0.5:

    [[methods]]
    name = "gkd"
    training = { text = "mixture", mixture = { dataset = 0.5, draft = 0.5 } }

and `text = "draft"` is lambda = 1. No gradient goes through the sampling. Without such a setting
the text is the recipe's, and GKD then is only its divergence. TRL's defaults are lambda 0.5, beta
0.5 and sampling at temperature 0.9 (`text_temperature` here).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class GeneralisedDistillation(LanguageModelMethod):
    """`beta`: forward KL is the limit at 0, reverse KL at 1 (`distillspec` has both).

    The loss, over beta or 1 - beta, tends to them; itself it tends to 0, so compare learning rates
    and `clip_norm` with care near the ends. For a draft far from its target the limit is slow, as
    the loss is bounded and a KL is not. CSD's code has a "gkd" arm of beta 0.9; OSD's "jsd" is
    a weighted sum of both KLs, and none of this.
    """

    beta: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by the generalised JSD."""
        from draftmark.training.divergences import jsd
        from draftmark.training.loop import train

        return train(context, lambda draft, target, _: jsd(draft, target, self.beta))


METHOD = GeneralisedDistillation
