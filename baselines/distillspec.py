"""DistillSpec: distillation for speculative decoding (Zhou et al. 2023, arXiv 2310.08461).

The loss of a token is D(p, q), for the target p and the draft q. The paper chooses D by task and
decoding, and finds that on-policy text matters. An entry may set its own text:

    [[methods]]
    name = "distillspec"
    divergence = "tvd"
    training = { text = "draft" }

The default (forward KL, text = "dataset") equals `kd` bit for bit. AdaSPEC's tables (arXiv
2510.19779; its reference model's scripts) call that DistillSpec; the paper recommends otherwise.
AdaSPEC describes the paper's recipe as TVD, batches of 32, 300,000 steps. We found no author code.
"""

# Trains: a model.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from draftmark.speculation.methods import LanguageModelMethod

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class DistillSpec(LanguageModelMethod):
    """`divergence`: D; `jsd` has beta 0.5 (use `gkd` for other values).

    `tvd` is the probability of rejection. Its gradient vanishes for a draft far from the target:
    from a random draft LK (arXiv 2602.23881, section A.5) found it much worse than KL. `skew_kl`
    and `skew_reverse_kl` are DistiLLM's, at its 0.1 (Ko et al. 2024, arXiv 2402.03898, equations 1
    and 2).
    """

    divergence: Literal["forward_kl", "reverse_kl", "jsd", "tvd", "skew_kl", "skew_reverse_kl"] = (
        "forward_kl"
    )

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained by the divergence."""
        from draftmark.training.divergences import DIVERGENCES
        from draftmark.training.loop import train

        divergence = DIVERGENCES[self.divergence]
        return train(context, lambda draft, target, _: divergence(draft, target))


METHOD = DistillSpec
