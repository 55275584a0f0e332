"""EAGLE-3: a one-layer head on fused low, middle and high features, trained as it will draft.

Li et al. 2025, "EAGLE-3: Scaling up Inference Acceleration of Large Language Models via
Training-Time Test" (arXiv 2503.01840; code https://github.com/SafeAILab/EAGLE at cb7e084). No
feature is predicted, so the head is free in what it feeds on: in training it is rolled forward
`depth` tokens on its own features, and the loss of the laws is taken at each, weighing `decay` to
the power of the depth. Published: 7 and 0.8; the code of speculators has 3 and 1.0.

`draft_vocabulary` cuts the output head to the tokens that the training text holds most often, as
published for large vocabularies (32,000 of 128,000 for Llama 3). What is outside is never drafted,
and counts as rejected.

Published recipe: ShareGPT and UltraChat-200k, answered by the target (`text = "target"`), AdamW
(0.9, 0.95), learning rate 5e-5, clip 0.5, 40 epochs. Its loss is divided by all positions of a
batch, masked ones too; here it is the mean over the supervised ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from draftmark.baselines._feature_head import FeatureHeadMethod
from draftmark.baselines._token_losses import token_loss
from draftmark.errors import UserError
from draftmark.types import Text

if TYPE_CHECKING:
    import torch

    from draftmark.models.feature_head import Architecture
    from draftmark.training.context import Draft, TrainingContext

Layer = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Eagle3(FeatureHeadMethod):
    """`features`: the three layers that are fused, as `draftmark.models.hidden_states` counts them.

    By default 2, the middle, and the last but three, closer together where a target is shallow.
    """

    depth: Annotated[int, Field(ge=1)] = 7
    decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    features: tuple[Layer, Layer, Layer] | None = None
    draft_vocabulary: Annotated[int, Field(ge=1)] | None = None

    architecture: ClassVar["Architecture"] = "eagle3"

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the three layers; raises UserError if the target has not three different ones."""
        middle = num_layers // 2
        chosen = self.features or (
            min(2, middle - 1),
            middle,
            max(num_layers - 3, middle + 1),
        )
        if len(set(chosen)) < 3 or not 0 <= min(chosen) < max(chosen) < num_layers:
            raise UserError(
                f"eagle3: features = {list(chosen)} are not three different layers of a target "
                f"with layers 0 to {num_layers - 1}; name three in the method's entry."
            )
        low, middle, high = sorted(chosen)
        return low, middle, high

    def draft_ids(self, texts: Sequence[Text], vocab_size: int) -> "torch.Tensor | None":
        """Return the most frequent tokens of the texts, if the draft has its own vocabulary."""
        from draftmark.training.head_training import frequent_ids

        if self.draft_vocabulary is None or self.draft_vocabulary >= vocab_size:
            return None
        return frequent_ids(texts, self.draft_vocabulary)

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the head trained at every depth."""
        between_laws = token_loss(self.loss)
        return self.fit(context, lambda draft_NV, target_NV, _: between_laws(draft_NV, target_NV))


METHOD = Eagle3
