"""What methods have in common whose draft is a head on the target's features.

The head (`draftmark.models.feature_head`) is one decoder layer of the target's architecture between
the target's embedding and output head, both frozen. It trains on text that is there beforehand,
whose features the store holds; the checkpoint is the one whose first drafted token is accepted most
on the validation rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from draftmark.baselines._selection import kept, train_on_gaps
from draftmark.baselines._token_losses import TokenLossName
from draftmark.speculation.interfaces import Drafter
from draftmark.types import Kind, Placement, Text, TrainingRun

if TYPE_CHECKING:
    import torch

    from draftmark.models.feature_head import Architecture, FeatureHead
    from draftmark.models.hidden_states import StateSource, StoredHiddenStates
    from draftmark.models.language_model import LanguageModel
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.loop import TokenLoss
    from draftmark.training.validation import Criterion


# `mc_sim_7b_63` of EAGLE's code (eagle/model/choices.py at 08dc06c): 25 nodes, 5 deep.
PUBLISHED = (
    *((rank,) for rank in range(4)),
    *((0, rank) for rank in range(3)),
    *((1, 0), (1, 1), (2, 0), (2, 1), (3, 0)),
    *((0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1), (0, 2, 0), (0, 2, 1), (1, 0, 0)),
    *((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 2)),
    *((0, 0, 0, 0, 0), (0, 0, 0, 0, 1)),
)


@dataclass(frozen=True)
class FeatureHeadMethod(ABC):
    """The knobs of every head.

    `loss`: between the laws. `depth`: how many tokens deep the head is rolled forward on its own
    features in training; depth k weighs `decay` to the power k. `keep` below 1 is AdaSPEC's
    selection (arXiv 2510.19779; its k is 0.4): a reference head is trained first, then the head on
    the share of tokens where its loss, over all depths, exceeds the reference's by most.
    `from_layer`: the target's layer that the head's starts as; by default it is random, as
    published. What layers put out can be far larger than the features, which come after the last
    norm: EAGLE-1's head, which has none, then starts worse than random. `tree`: what is drafted
    instead of a chain, as paths of ranks (`speculation.trees`), or "eagle" for the one that
    EAGLE-1 was published with; block length g is then the tree down to depth g.
    """

    loss: TokenLossName = "soft_cross_entropy"
    depth: Annotated[int, Field(ge=1)] = 1
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0
    from_layer: Annotated[int, Field(ge=0)] | None = None
    tree: Literal["eagle"] | tuple[tuple[int, ...], ...] | None = None

    kind: ClassVar[Kind] = "feature_head"
    trains: ClassVar[bool] = True

    architecture: ClassVar["Architecture"]

    def __post_init__(self) -> None:
        """Raise ValueError for paths that are no tree."""
        if self.tree not in (None, "eagle"):
            from draftmark.speculation.trees import Tree

            Tree.of(self.paths)

    @property
    def paths(self) -> tuple[tuple[int, ...], ...]:
        """The paths of the tree; none for a chain."""
        return PUBLISHED if self.tree == "eagle" else self.tree or ()

    @abstractmethod
    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return whose states the head reads, of a target with so many layers."""

    def draft_ids(self, texts: Sequence[Text], vocab_size: int) -> "torch.Tensor | None":
        """Return the tokens of the draft's own vocabulary; None for all of the target's."""
        return None

    def head(self, target: "LanguageModel", texts: Sequence[Text], seed: int) -> "FeatureHead":
        """Return the untrained head; raises UserError for what the target has not."""
        from draftmark.models.feature_head import Shape, make_head

        layers = self.layers(target.model.config.num_hidden_layers)
        ids = self.draft_ids(texts, target.vocab_size)
        size = None if ids is None else len(ids)
        shape = Shape(self.architecture, layers, target.vocab_size, size)
        return make_head(target, shape, seed=seed, draft_ids=ids, from_layer=self.from_layer)

    def fit(self, context: "TrainingContext", loss: "TokenLoss", noise: float = 0.0) -> "Draft":
        """Return the context's head trained by a loss, taken at every depth."""
        from draftmark.training.head_training import by_depth, in_training
        from draftmark.training.loop import train

        head = in_training(context.draft, self.depth, noise, context.seed)
        ready, loss = replace(context, draft=head), by_depth(loss, self.decay)
        if self.keep == 1:
            return train(ready, loss)
        return train_on_gaps(ready, loss, lambda gap_N, batch: kept(gap_N, batch, self.keep))

    def training_runs(self, run: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the training, and the reference's before it if it selects."""
        own = replace(run, depth=self.depth)
        return (own,) if self.keep == 1 else (own, replace(own, compared=True))

    def criterion(
        self, target: "LanguageModel", validation: "StoredHiddenStates", states: "StateSource"
    ) -> "Criterion":
        """Return the acceptance of each block's first token on the validation rows."""
        from draftmark.training.head_training import head_acceptance

        return head_acceptance(target, validation, states)

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the saved head as a drafter."""
        from draftmark.models.feature_head import load_head
        from draftmark.speculation.head_drafter import FeatureHeadDrafter
        from draftmark.speculation.tree_drafter import TreeDrafter
        from draftmark.speculation.trees import Tree

        head = load_head(directory, placement)
        return TreeDrafter(head, Tree.of(self.paths)) if self.paths else FeatureHeadDrafter(head)
