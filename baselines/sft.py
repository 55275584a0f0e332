"""Supervised fine-tuning: cross-entropy on the training text's tokens, without the target's laws.

The loss of a token y is -log q(y), for the draft's law q. On gold answers it is what a draft gets
that was only fine-tuned on the task; on the target's own responses (`training.text = "target"`) it
is sequence-level distillation (Kim and Rush 2016, arXiv 1606.07947), called SeqKD in later papers.
AdaSPEC (Hu et al. 2025, arXiv 2510.19779) fine-tunes its targets so; a published recipe for drafts
is not known to us. At a one-hot target it is forward KL, and LK's -log acceptance as well.

Text that the draft writes itself (`draft`) teaches it nothing: the mean of the gradient over the
draft's own samples at temperature 1 is zero. The steps do not pay for the target's head; its hidden
states of the text are made all the same, once for all methods, and listed in the ledger.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class SupervisedFineTuning(LanguageModelMethod):
    """Has no knobs."""

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by cross-entropy on the tokens of its text."""
        from draftmark.training.divergences import cross_entropy
        from draftmark.training.loop import train

        without_laws = replace(context, target=None)
        return train(without_laws, lambda draft, _, batch: cross_entropy(draft, batch.labels_N))


METHOD = SupervisedFineTuning
