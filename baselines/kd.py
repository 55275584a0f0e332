"""KD: knowledge distillation on fixed text (Hinton et al. 2015, arXiv 1503.02531).

The loss of a token is KL(p || q), for the target p and the draft q. All supervised tokens have the
same weight; prompt tokens are not supervised. DistillSpec (Zhou et al. 2023, arXiv 2310.08461)
calls this method "supervised KD".
"""

# Trains: a model.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class KnowledgeDistillation(LanguageModelMethod):
    """`temperature` softens p and q in the loss."""

    temperature: Annotated[float, Field(gt=0)] = 1.0

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by KL(p || q)."""
        from draftmark.training.divergences import forward_kl
        from draftmark.training.loop import train

        return train(context, lambda draft, target, _: forward_kl(draft, target, self.temperature))


METHOD = KnowledgeDistillation
