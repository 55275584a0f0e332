"""Untrained: the draft init without training, a baseline for every trained method."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from draftmark.speculation.methods import LanguageModelMethod
from draftmark.types import Ledger

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class Untrained(LanguageModelMethod):
    """The method has no knobs."""

    trains: ClassVar[bool] = False

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft init, with an empty ledger."""
        from draftmark.training.context import Draft

        return Draft(context.draft, Ledger())


METHOD = Untrained
