"""DLD: direct logit distillation, an ablation of CSD (Kim et al. 2025, arXiv 2509.25837, table 5).

With the draft's logits z, the target's t and D = z - t, the loss of a token is

    1/2 sum over x of w(x) D_x^2

without a gradient through the weight. The code (`dld_ablation` at c77a3a7) has 1/4.

Softmax ignores a constant added to all logits; this loss does not. `normalisation = "mean"` first
subtracts the mean of z and of t; with a uniform weight that is `csd` with ["uniform", "uniform"].
By text quality the paper ranks CSD above DLD for each weight. The published recipe is CSD's.
"""

# Trains: a model.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from draftmark.baselines._token_losses import Weight
from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class DirectLogitDistillation(LanguageModelMethod):
    """`weight`: w, as in `csd`; `weight_temperature` softens w.

    The code also normalises by minimum, maximum, deviation and range; this method does not.
    """

    weight: Weight = "target"
    normalisation: Literal["none", "mean"] = "none"
    weight_temperature: Annotated[float, Field(gt=0)] = 1.0

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by direct logit distillation."""
        from draftmark.training.logit_losses import dld
        from draftmark.training.loop import train

        return train(
            context,
            lambda draft, target, _: dld(
                draft, target, self.weight, self.normalisation, self.weight_temperature
            ),
        )


METHOD = DirectLogitDistillation
