"""DistillSpec: distillation for speculative decoding (Zhou et al. 2023, arXiv 2310.08461).

The loss of a token is D(p, q), for the target p and the draft q. The paper chooses D by task and
decoding, and finds on-policy text to matter. An entry may set its own text:

    [[methods]]
    name = "distillspec"
    divergence = "tvd"
    training = { text = "draft" }

The default (forward KL, text = "dataset") is `kd` bit for bit. That is also the DistillSpec of
AdaSPEC's tables (arXiv 2510.19779; its reference model's scripts), not what the paper recommends.
AdaSPEC describes the paper's recipe as TVD, batches of 32, 300,000 steps. No code by the authors
was found.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class DistillSpec(LanguageModelMethod):
    """`divergence`: D; `jsd` has beta 0.5 (`gkd` has other values).

    `tvd` is the probability of rejection. Its gradient vanishes for a draft far from the target: LK
    (arXiv 2602.23881, section A.5) found it much worse than KL from a random draft.
    """

    divergence: Literal["forward_kl", "reverse_kl", "jsd", "tvd"] = "forward_kl"

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by the divergence."""
        from draftmark.training.divergences import DIVERGENCES
        from draftmark.training.loop import train

        divergence = DIVERGENCES[self.divergence]
        return train(context, lambda draft, target, _: divergence(draft, target))


METHOD = DistillSpec
