"""EAGLE-3: a head on fused features with training-time test (Li et al. 2025, arXiv 2503.01840).

One decoder layer reads a fused low, middle and high feature. The head predicts no feature: training
rolls it forward `depth` tokens on its own features. For the target p and the draft q, the loss of a
token at depth k is

    decay^k H(p, q)

where H is the `loss`, by default soft cross-entropy. Published: depth 7, decay 0.8 (speculators'
code: 3 and 1.0). `decay = "dpace"` replaces decay^k (`draftmark.training.position_weights`).
`draft_vocabulary` cuts the output head to the most frequent tokens of the training text, as
published for large vocabularies (32,000 of 128,000 for Llama 3). Other tokens count as rejected.

Deviation from the code (https://github.com/SafeAILab/EAGLE at cb7e084): the loss is the mean over
supervised positions; the code's mean is over all positions of a batch, masked ones included.

EAGLE-3.1 ("attention drift", arXiv 2605.09992) is `fc_norm = true` and `norm_output = true`, by the
code that serves it (vLLM's `llama_eagle3.py`): an RMSNorm of each target layer before they are
fused, and the state after the last norm is what the next token of the draft reads. Published:
accepted length 2.82 to 3.02 on Qwen3-8B, 5 drafted tokens, temperature 0.6, mean of nine sets
(speculators, pull request 610).

Published recipe: ShareGPT and UltraChat-200k, answered by the target (`text = "target"`), AdamW
(0.9, 0.95), learning rate 5e-5, clip 0.5, 40 epochs.
"""

# In short: EAGLE-3: a head trained on its own features.
# Trains: a head.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from draftmark.baselines._feature_head import FeatureHeadMethod
from draftmark.baselines._head import Decay, Layer, middle_layers
from draftmark.errors import UserError
from draftmark.types import Text

if TYPE_CHECKING:
    import torch

    from draftmark.models.heads.feature_head import Architecture
    from draftmark.models.heads.head_layouts import HeadFacts
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class Eagle3(FeatureHeadMethod):
    """`features`: the three fused layers; layer k is the hidden state after k layers.

    Default: layer 2, the middle layer and layer L - 3 of L, closer together in a shallow target.
    `fc_norm` and `norm_output`: EAGLE-3.1's norms.
    """

    depth: Annotated[int, Field(ge=1)] = 7
    decay: Decay = 0.8
    features: tuple[Layer, Layer, Layer] | None = None
    draft_vocabulary: Annotated[int, Field(ge=1)] | None = None
    fc_norm: bool = False
    norm_output: bool = False

    architecture: ClassVar["Architecture"] = "eagle3"

    @property
    def norms(self) -> dict[str, bool]:
        """EAGLE-3.1's norms."""
        return {"fc_norm": self.fc_norm, "norm_output": self.norm_output}

    def facts_of(self, head: "HeadFacts") -> dict[str, Any]:
        """Return the layers, norms and draft vocabulary of a trained head."""
        if head.layers is not None and len(head.layers) != 3:
            raise ValueError(f"it reads {len(head.layers)} layers, and the method trains 3")
        facts = {"fc_norm": head.fc_norm, "norm_output": head.norm_output}
        return {**facts, "features": head.layers, "draft_vocabulary": head.draft_vocab_size}

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the three layers in order; raises UserError if the target lacks one."""
        given = self.features or middle_layers(num_layers)
        low, middle, high = sorted(given)
        if not 0 <= low < middle < high < num_layers:
            raise UserError(
                f"eagle3: features = {list(given)} are not three different "
                f"layers of a target with layers 0 to {num_layers - 1}; set features to three of "
                "them in the method's entry."
            )
        return low, middle, high

    def draft_ids(self, texts: Sequence[Text], vocab_size: int) -> "torch.Tensor | None":
        """Return the ids of the draft vocabulary: the most frequent tokens of the texts."""
        from draftmark.training.head_training import frequent_ids

        if self.draft_vocabulary is None or self.draft_vocabulary >= vocab_size:
            return None
        return frequent_ids(texts, self.draft_vocabulary)

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the head trained at every depth."""
        return self.fit(context, self.token_loss())


METHOD = Eagle3
