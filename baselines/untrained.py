"""Untrained: the draft init without training, a baseline for every trained method.

A head that was trained before (`draft = { head = ... }`) is measured as it is.
"""

# In short: Untrained: the draft init, a baseline for the rest.
# Trains: nothing.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from draftmark.speculation.interfaces import Drafter
from draftmark.speculation.methods import LanguageModelMethod
from draftmark.types import Kind, Ledger, Placement, Text

if TYPE_CHECKING:
    from draftmark.models.heads.block_head import BlockModule, BlockShape
    from draftmark.models.heads.block_layouts import BlockFacts, TrainedHead
    from draftmark.models.hidden_states import StateSource, StoredHiddenStates
    from draftmark.models.language_model import LanguageModel
    from draftmark.models.shapes import Shape
    from draftmark.training.context import Draft, TrainingContext
    from draftmark.training.validation import Criterion


@dataclass(frozen=True)
class Untrained(LanguageModelMethod):
    """The method has no knobs."""

    trains: ClassVar[bool] = False

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft init, with an empty ledger."""
        from draftmark.training.context import Draft

        return Draft(context.draft, Ledger())

    def start_from(self, head: "TrainedHead") -> "MeasuredHead":
        """Return the method for a trained head."""
        from draftmark.models.heads.block_layouts import BlockFacts

        return MeasuredBlockHead(head) if isinstance(head, BlockFacts) else MeasuredHead(head)


@dataclass(frozen=True)
class MeasuredHead:
    """A trained head, measured as it is."""

    facts: "TrainedHead"

    kind: ClassVar[Kind] = "feature_head"
    trains: ClassVar[bool] = False

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the head, with an empty ledger."""
        return Untrained().train(context)

    def layers(self, num_layers: int) -> tuple[int, ...]:
        """Return the target's layers that the head reads."""
        return self.facts.layers_of(num_layers)

    def head(self, target: "LanguageModel", texts: Sequence[Text], seed: int) -> "LanguageModel":
        """Raise TypeError: the head is read from its folder."""
        raise TypeError(f"{self.facts.reference} is a trained head and is not made")

    def criterion(
        self, target: "LanguageModel", validation: "StoredHiddenStates", states: "StateSource"
    ) -> "Criterion":
        """Raise TypeError: no checkpoint is selected without training."""
        raise TypeError(f"{self.facts.reference} is not trained here")

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the drafter of the saved head."""
        from draftmark.models.heads.feature_head import load_head
        from draftmark.speculation.head_drafter import FeatureHeadDrafter

        return FeatureHeadDrafter(load_head(directory, placement))


@dataclass(frozen=True)
class MeasuredBlockHead(MeasuredHead):
    """A trained block head, measured as it is."""

    facts: "BlockFacts"

    def module(self, config: "Any", shape: "BlockShape") -> "BlockModule":
        """Return random weights of the head."""
        from draftmark.models.heads.block_imports import build_module

        return build_module(self.facts, config, shape)

    def draft_shape(self, target: "Shape", config: "Mapping[str, Any]") -> "Shape":
        """Return the shape of the head for a target of that shape and config, for planning."""
        from draftmark.models.heads.block_head import count_block_head

        layers = self.layers(target.layers)
        return count_block_head(self.module, target, config, layers, self.facts.block_size)

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the drafter of the saved head."""
        from draftmark.models.heads.block_head import load_block_head
        from draftmark.speculation.block_drafter import BlockDrafter

        return BlockDrafter(load_block_head(directory, self.module, placement))


METHOD = Untrained
