"""Direct logit distillation: the squared distance of logits, weighed by a law.

An ablation in Kim et al. 2025 (arXiv 2509.25837, table 5; `dld_ablation` of the code at c77a3a7).
With D = z - t, the draft's logits less the target's, the loss of a token is half of the sum of
w D^2; no gradient goes through w. The code has a quarter for the half.

Softmax ignores a constant on all logits and this loss does not, so that a draft spends itself on
matching one: `normalisation = "mean"` takes each side's mean off first, and with uniform weights it
then is `csd` with ["uniform", "uniform"]. The paper has CSD ahead of it for each weight. Both were
measured by text quality, not acceptance; the recipe is CSD's.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from draftmark.baselines._weights import Weight
from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class DirectLogitDistillation(LanguageModelMethod):
    """`weight`: whose law weighs; `weight_temperature` softens it.

    The code also normalises by minimum, maximum, deviation and range; these are left out.
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
