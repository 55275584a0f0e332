"""CSD: distillation by concrete score matching (Kim et al. 2025, arXiv 2509.25837).

With the draft's logits z, the target's t and D = z - t, the loss of a token is

    1/4 sum over x, y of w1(x) w2(y) (D_x - D_y)^2

without a gradient through the weights. Unlike `dld` it ignores a constant added to all logits.

The default (S, S), two "draft" weights at temperature 1, is the variant of the paper's table 1 and
the code's `csd`. Its gradient equals reverse KL's: differences from `distillspec` with reverse_kl
are noise. Other variants: (T, S) = ["target", "draft"], the code's default for single tasks;
(U, S) = ["uniform", "draft"]; [0.5, 0.5], the code's CSD_TS_mix; `weight_temperature` 1.5, the best
in the code's ablation. The paper measures text quality (ROUGE-L), not acceptance.

Published recipe: GPT-2 1.5B to 0.1B on Dolly, 20 epochs, learning rate 1e-4, batches of 8, cosine,
weight decay 0.01.
"""

# Trains: a model.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.baselines._token_losses import Weight
from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class ConcreteScoreDistillation(LanguageModelMethod):
    """`weights`: w1 and w2, by name or as the target's share of a mixture with the draft.

    `weight_temperature` softens w1 and w2, not D.
    """

    weights: tuple[Weight, Weight] = ("draft", "draft")
    weight_temperature: Annotated[float, Field(gt=0)] = 1.0

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by concrete score distillation."""
        from draftmark.training.logit_losses import csd
        from draftmark.training.loop import train

        return train(
            context,
            lambda draft, target, _: csd(draft, target, self.weights, self.weight_temperature),
        )


METHOD = ConcreteScoreDistillation
