"""EAGLE-1: a one-layer head that predicts the target's next feature, and through it the token.

Li et al. 2024, "EAGLE: Speculative Sampling Requires Rethinking Feature Uncertainty" (arXiv
2401.15077; code https://github.com/SafeAILab/EAGLE). The head reads the target's last feature and
the token that was drawn after it. The loss of a token is the smooth L1 distance of the head's
feature from the target's, and `loss_weight` times the soft cross-entropy of the law that the
target's output head takes of it; uniform noise on the features in training stands for what the head
gets wrong at greater depths. EAGLE-2 is the same head with trees that grow as the draft is sure.

`depth` above 1 rolls the head forward in training, as HASS does (arXiv 2408.15766); published: 1.

Published recipe: ShareGPT's own text, AdamW (0.9, 0.95), learning rate 3e-5, clip 0.5, 20 epochs,
noise 0.2 (its width is that times 512 / length).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from draftmark.baselines._feature_head import FeatureHeadMethod
from draftmark.baselines._token_losses import token_loss

if TYPE_CHECKING:
    import torch

    from draftmark.models.feature_head import Architecture
    from draftmark.training.batches import Batch
    from draftmark.training.context import Draft, TrainingContext

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Eagle(FeatureHeadMethod):
    """`state_weight` and `loss_weight` are of the feature's distance and of the laws' loss."""

    state_weight: Weight = 1.0
    loss_weight: Weight = 0.1
    noise: Weight = 0.2

    architecture: ClassVar["Architecture"] = "eagle"

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the last: its state is the feature."""
        return (num_layers,)

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the head trained by both losses."""
        from draftmark.training.head_training import state_distance

        between_laws = token_loss(self.loss)

        def loss(
            draft_NV: "torch.Tensor", target_NV: "torch.Tensor", batch: "Batch"
        ) -> "torch.Tensor":
            of_laws_N = between_laws(draft_NV, target_NV)
            return self.loss_weight * of_laws_N + self.state_weight * state_distance(batch)

        return self.fit(context, loss, self.noise)


METHOD = Eagle
