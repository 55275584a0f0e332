"""No training: the draft init as it is. The floor that every method has to beat."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.drafting.methods import LanguageModelMethod
from harness.types import Draft, Ledger

if TYPE_CHECKING:
    from harness.training import TrainingContext


@dataclass(frozen=True)
class Untrained(LanguageModelMethod):
    """Has no knobs."""

    trains: ClassVar[bool] = False

    def train(self, context: "TrainingContext") -> Draft:
        """Return the draft init, at no cost."""
        return Draft(context.draft, Ledger())


METHOD = Untrained
