"""Plain knowledge distillation: forward KL from the target on fixed text.

Hinton, Vinyals and Dean (2015, arXiv 1503.02531); as a draft's baseline in DistillSpec (Zhou et
al. 2023, arXiv 2310.08461, "supervised KD"). Every supervised token weighs the same; the prompt's
tokens are read and not supervised.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class KnowledgeDistillation(LanguageModelMethod):
    """`temperature` softens both laws in the loss (1: the laws as they are)."""

    temperature: Annotated[float, Field(gt=0)] = 1.0

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by KL(target || draft)."""
        from draftmark.training.divergences import forward_kl
        from draftmark.training.loop import train

        return train(context, lambda draft, target, _: forward_kl(draft, target, self.temperature))


METHOD = KnowledgeDistillation
