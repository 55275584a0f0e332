"""Concrete score distillation: differences of logits as the target has them, weighed by two laws.

Kim et al. 2025, "Distillation of Large Language Models via Concrete Score Matching" (arXiv
2509.25837). With D = z - t, the draft's logits less the target's, the loss of a token is a quarter
of the sum over x, y of w1(x) w2(y) (D_x - D_y)^2; no gradient goes through w1 and w2. A constant
on all logits changes nothing (in `dld` it does).

The default (S, S), two "draft" weights at temperature 1, is the arm of the paper's table 1 and the
code's `csd`. It has exactly the gradient of reverse KL: beside `distillspec` with reverse_kl it is
the same method twice, and differences between them are noise. Arms that differ: (T, S) =
["target", "draft"], the code's default for single tasks; (U, S) = ["uniform", "draft"]; mixtures,
such as [0.5, 0.5] (the code's CSD_TS_mix); a `weight_temperature` of 1.5 (the code's best in its
ablation). The paper measures text quality (ROUGE-L), never acceptance.

Published recipe: GPT-2 1.5B to 0.1B on Dolly, 20 epochs, learning rate 1e-4, batches of 8, cosine,
weight decay 0.01.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.baselines._weights import Weight
from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class ConcreteScoreDistillation(LanguageModelMethod):
    """`weights`: whose laws weigh, by whose they are or the target's share of a mixture.

    `weight_temperature` softens those laws, never D.
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
