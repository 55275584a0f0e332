"""MTP: one layer that predicts several tokens in turn, as models with native MTP heads do.

DeepSeek-V3 (arXiv 2412.19437, section 2.2); trained for drafting as FastMTP does (arXiv 2509.18362,
equation 2): the layer reads its own output in place of the target's state from the second depth on,
and the loss of a token at depth k, from 0, is

    beta^k / (1 + beta + ... + beta^(depth - 1)) times -log q(token)

with `decay` as beta, published 0.6, and depth 3. A norm precedes both inputs of the projection, the
target's final state and the token's embedding; the state after the last norm is fed back, as in
speculators (`models/mtp` at 0.9.0). DeepSeek-V3's weights instead feed back the state before it.

FastMTP fine-tunes a native head on text that the target wrote (`text = "target"`). This head is
new, or starts from a layer of the target (`from_layer`). vLLM runs MTP heads only of models that
come with one, so the reference engine alone runs this head.
"""

# In short: MTP: one layer that predicts several tokens in turn.
# Trains: a head.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from draftmark.baselines._feature_head import FeatureHeadMethod
from draftmark.baselines._head import Decay
from draftmark.baselines._token_losses import LossName

if TYPE_CHECKING:
    from draftmark.models.heads.feature_head import Architecture
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class Mtp(FeatureHeadMethod):
    """The knobs are those of every head."""

    loss: LossName = "cross_entropy"
    depth: Annotated[int, Field(ge=1)] = 3
    decay: Decay = 0.6

    architecture: ClassVar["Architecture"] = "mtp"

    @property
    def norms(self) -> dict[str, bool]:
        """The norms of the head: the state after the last one is fed back."""
        return {"norm_output": True}

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the last layer, whose hidden state is the feature."""
        return (num_layers,)

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the head trained at every depth."""
        return self.fit(context, self.token_loss())


METHOD = Mtp
