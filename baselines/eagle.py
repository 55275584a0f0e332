"""EAGLE-1: speculative sampling with a feature head (Li et al. 2024, arXiv 2401.15077).

One decoder layer predicts the target's next feature f from the last feature and the token drawn
after it. For the head's feature f', the target p and the draft q = output head of f', the loss of a
token is

    state_weight smooth_l1(f', f) + loss_weight H(p, q)

where H is the `loss`, by default soft cross-entropy. Uniform noise on the features in training
simulates the head's own errors at greater depths. `depth` above 1 rolls the head forward in
training, as HASS does (arXiv 2408.15766); published: 1. EAGLE-2 is the same head with dynamic
trees. Code: https://github.com/SafeAILab/EAGLE.

Published recipe: ShareGPT's own text, AdamW (0.9, 0.95), learning rate 3e-5, clip 0.5, 20 epochs,
noise 0.2 (its width is 0.2 times 512 / length).
"""

# Trains: a head.

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from draftmark.baselines._feature_head import FeatureHeadMethod
from draftmark.baselines._head import NonNegative

if TYPE_CHECKING:
    import torch

    from draftmark.models.heads.feature_head import Architecture
    from draftmark.training.batches import Batch
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class Eagle(FeatureHeadMethod):
    """`state_weight` and `loss_weight`: weights of the losses; `noise`: width of the noise."""

    state_weight: NonNegative = 1.0
    loss_weight: NonNegative = 0.1
    noise: NonNegative = 0.2

    architecture: ClassVar["Architecture"] = "eagle"

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the last layer, whose hidden state is the feature."""
        return (num_layers,)

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the head trained by the sum of both losses."""
        from draftmark.training.head_training import state_distance

        token_loss = self.token_loss()

        def loss(
            draft_NV: "torch.Tensor", target_NV: "torch.Tensor", batch: "Batch"
        ) -> "torch.Tensor":
            loss_N = self.loss_weight * token_loss(draft_NV, target_NV, batch)
            return loss_N + self.state_weight * state_distance(batch)

        return self.fit(context, loss, self.noise)


METHOD = Eagle
