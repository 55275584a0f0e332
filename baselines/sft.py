"""SFT: supervised fine-tuning, or SeqKD (Kim and Rush 2016, arXiv 1606.07947).

The loss of a token y is -log q(y), for the draft q; it does not use the target's distribution. With
`training.text = "target"` it is sequence-level distillation, SeqKD. AdaSPEC (Hu et al. 2025, arXiv
2510.19779) fine-tunes its targets this way; we know no published recipe for drafts.

On-policy text teaches nothing: over the draft's own samples at temperature 1 the mean gradient is
zero. Steps do not run the target's head. The target's hidden states are still computed, once for
all methods, and listed in the ledger.
"""

# Trains: a model.

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class SupervisedFineTuning(LanguageModelMethod):
    """The method has no knobs."""

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by cross-entropy."""
        from draftmark.training.divergences import cross_entropy
        from draftmark.training.loop import train

        without_target = replace(context, target=None)
        return train(without_target, lambda draft, _, batch: cross_entropy(draft, batch.labels_N))


METHOD = SupervisedFineTuning
