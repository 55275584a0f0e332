"""DistillSpec: a divergence that suits the task, on text that suits the draft.

Zhou et al. 2023, "DistillSpec: Improving Speculative Decoding via Knowledge Distillation" (arXiv
2310.08461). The loss of a token is D(p, q), for the target's law p and the draft's q. The paper's
two choices are D and who wrote the text, and neither has one default: it chooses D by task and
decoding, among those of `divergence`, and finds on-policy text to matter (abstract). The text is
the recipe's, or the entry's own:

    [[methods]]
    name = "distillspec"
    divergence = "tvd"
    training = { text = "draft" }

As it stands (forward KL, text = "dataset") it is `kd`, bit for bit. That is also what AdaSPEC (Hu
et al. 2025, arXiv 2510.19779) calls DistillSpec in its tables: forward KL on gold answers, by the
scripts of its reference model, and not what this paper recommends. AdaSPEC describes the paper's
recipe as TVD, batches of 32 and 300,000 steps; no code by its authors was found.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class DistillSpec(LanguageModelMethod):
    """`divergence` of the draft's law from the target's; `jsd` is at beta 0.5 (`gkd` has others).

    `tvd` is the chance of rejection itself, and its gradient fades where the draft is far off, as a
    random draft is: LK (arXiv 2602.23881, section A.5) found it much worse than KL from there.
    """

    divergence: Literal["forward_kl", "reverse_kl", "jsd", "tvd"] = "forward_kl"

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by the divergence."""
        from draftmark.training.divergences import DIVERGENCES
        from draftmark.training.loop import train

        divergence = DIVERGENCES[self.divergence]
        return train(context, lambda draft, target, _: divergence(draft, target))


METHOD = DistillSpec
