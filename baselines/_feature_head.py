"""Shared parts of methods whose draft is a feature head (Li et al. 2024, arXiv 2401.15077).

A head (`draftmark.models.heads.feature_head`) is one decoder layer of the target's architecture
between the target's embedding and output head, both frozen. The head trains on stored hidden states
of fixed text. `_head` has the parts that block heads share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from draftmark.baselines._head import HeadMethod
from draftmark.baselines._token_losses import LossName
from draftmark.speculation.interfaces import Drafter
from draftmark.speculation.methods import drafting_knob
from draftmark.types import Placement, Text

if TYPE_CHECKING:
    import torch

    from draftmark.models.heads.block_layouts import TrainedHead
    from draftmark.models.heads.feature_head import Architecture, FeatureHead
    from draftmark.models.heads.head_layouts import HeadFacts
    from draftmark.models.hidden_states import StateSource, StoredHiddenStates
    from draftmark.models.language_model import LanguageModel
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.loop import TokenLoss
    from draftmark.training.validation import Criterion

# `mc_sim_7b_63` of EAGLE's code (eagle/model/choices.py at 08dc06c): 25 nodes, 5 deep.
EAGLE_TREE = (
    *((rank,) for rank in range(4)),
    *((0, rank) for rank in range(3)),
    *((1, 0), (1, 1), (2, 0), (2, 1), (3, 0)),
    *((0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1), (0, 2, 0), (0, 2, 1), (1, 0, 0)),
    *((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 2)),
    *((0, 0, 0, 0, 0), (0, 0, 0, 0, 1)),
)


@dataclass(frozen=True)
class FeatureHeadMethod(HeadMethod):
    """The knobs of every feature head, beside those of every head.

    `depth`: number of tokens that training rolls the head forward on its own features.
    `from_layer`: the target's layer that initialises the head; None is random, as published. Layer
    outputs can be far larger than the normalised features, so EAGLE-1's head, which has no norm,
    then starts worse than random. `tree`: the tree to draft in place of a chain, as paths of ranks
    (`speculation.trees`) or "eagle" for EAGLE-1's; block length g uses its first g levels.
    """

    loss: LossName = "soft_cross_entropy"
    depth: Annotated[int, Field(ge=1)] = 1
    from_layer: Annotated[int, Field(ge=0)] | None = None
    tree: Literal["eagle"] | tuple[tuple[int, ...], ...] | None = drafting_knob(None)

    architecture: ClassVar["Architecture"]

    def __post_init__(self) -> None:
        """Raise ValueError for paths that do not form a tree, and for knobs that exclude others."""
        super().__post_init__()
        if self.tree not in (None, "eagle"):
            from draftmark.speculation.trees import Tree

            Tree.from_paths(self.paths)

    @property
    def paths(self) -> tuple[tuple[int, ...], ...]:
        """The paths of the tree; empty for a chain."""
        return EAGLE_TREE if self.tree == "eagle" else self.tree or ()

    @property
    def reads(self) -> float:
        """The number of depths at which training reads a token."""
        return self.depth

    @property
    def norms(self) -> dict[str, bool]:
        """The norms of the head, by their names in `HeadShape`, that are knobs of the method."""
        return {}

    def start_from(self, head: "TrainedHead") -> Self:
        """Return the method with the architecture of a trained head, from which training goes on.

        Raises ValueError if the architecture is another, or if knobs contradict the head.
        """
        from draftmark.models.heads.head_layouts import HeadFacts

        if not isinstance(head, HeadFacts) or head.kind != self.architecture:
            raise ValueError(
                f"it is a head of {head.kind}, and the method trains {self.architecture}"
            )
        if self.from_layer is not None:
            raise ValueError("from_layer initialises a new head; leave it out")
        return self.with_facts(self.facts_of(head))

    def facts_of(self, head: "HeadFacts") -> dict[str, Any]:
        """Return the knobs that a trained head decides, by name."""
        return {}

    def with_facts(self, facts: dict[str, Any]) -> Self:
        """Return the method with a head's knobs; raises ValueError for one that contradicts."""
        defaults = {field.name: field.default for field in fields(self)}
        for name, value in facts.items():
            own = getattr(self, name)
            if own not in (value, defaults[name]):
                raise ValueError(f"the head has {name} = {value}, not {own}; leave {name} out")
        return replace(self, **facts)

    def draft_ids(self, texts: Sequence[Text], vocab_size: int) -> "torch.Tensor | None":
        """Return the token ids of the draft vocabulary; None for the target's vocabulary."""
        return None

    def head(self, target: "LanguageModel", texts: Sequence[Text], seed: int) -> "FeatureHead":
        """Return the untrained head; raises UserError if the target lacks a layer it reads."""
        from draftmark.models.heads.feature_head import HeadShape, make_head

        layers = self.layers(target.model.config.num_hidden_layers)
        ids = self.draft_ids(texts, target.vocab_size)
        size = None if ids is None else len(ids)
        shape = HeadShape(self.architecture, layers, target.vocab_size, size, **self.norms)
        return make_head(target, shape, seed=seed, draft_ids=ids, from_layer=self.from_layer)

    def fit(self, context: "TrainingContext", loss: "TokenLoss", noise: float = 0.0) -> "Draft":
        """Return the head trained by a token loss at every depth."""
        from draftmark.training.head_training import trainable_head

        head = trainable_head(context.draft, self.depth, noise, context.seed)
        return super().fit(replace(context, draft=head), loss)

    def mean_loss(self, loss: "TokenLoss") -> "TokenLoss":
        """Return the mean [N] of a token loss over depths, with weights decay^k."""
        from draftmark.training.head_training import mean_over_depths

        assert self.decay != "dpace"
        return mean_over_depths(loss, self.decay)

    def losses_and_confidence(self, loss: "TokenLoss") -> tuple["TokenLoss", "TokenLoss"]:
        """Return a token loss at every depth [N, K], and q(token) there."""
        from draftmark.training.head_training import loss_by_depth
        from draftmark.training.position_weights import confidence_by_depth

        return loss_by_depth(loss), confidence_by_depth

    def criterion(
        self, target: "LanguageModel", validation: "StoredHiddenStates", states: "StateSource"
    ) -> "Criterion":
        """Return the acceptance of first drafted tokens on the validation rows."""
        from draftmark.training.head_training import head_acceptance_criterion

        return head_acceptance_criterion(target, validation, states)

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the drafter of a saved head."""
        from draftmark.models.heads.feature_head import load_head
        from draftmark.speculation.head_drafter import FeatureHeadDrafter
        from draftmark.speculation.tree_drafter import TreeDrafter
        from draftmark.speculation.trees import Tree

        head = load_head(directory, placement)
        return (
            TreeDrafter(head, Tree.from_paths(self.paths))
            if self.paths
            else FeatureHeadDrafter(head)
        )
