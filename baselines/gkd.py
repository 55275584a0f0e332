"""GKD: generalised knowledge distillation (Agarwal et al. 2024, arXiv 2306.13649).

For the target p, the draft q and m = beta p + (1 - beta) q, the loss of a token is

    beta KL(p || m) + (1 - beta) KL(q || m)

The paper's lambda is the share of steps for which the draft generates the text (algorithm 1),
without a gradient through the sampling. Lambda = 0.5 is

    [[methods]]
    name = "gkd"
    training = { text = "mixture", mixture = { dataset = 0.5, draft = 0.5 } }

and lambda = 1 is `text = "draft"`. Without these settings the text is the recipe's, and only the
divergence is GKD's. TRL's defaults: lambda 0.5, beta 0.5, `text_temperature` 0.9.
"""

# Trains: a model.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class GeneralisedDistillation(LanguageModelMethod):
    """`beta`: loss / beta tends to forward KL at 0, loss / (1 - beta) to reverse KL at 1.

    At both ends the loss itself tends to 0, which matters to learning rates and `clip_norm`. Drafts
    far from the target converge slowly, as the loss is bounded, unlike KL. CSD's code has a "gkd"
    variant with beta 0.9; OSD's "jsd" is a weighted sum of both KLs, a different loss.
    """

    beta: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by the generalised JSD."""
        from draftmark.training.divergences import jsd
        from draftmark.training.loop import train

        return train(context, lambda draft, target, _: jsd(draft, target, self.beta))


METHOD = GeneralisedDistillation
