"""No training: the draft init as it is. The floor that every method has to beat."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.protocols import Drafter
from harness.types import Draft, Kind, Ledger, Placement

if TYPE_CHECKING:
    from harness.training import TrainingContext


@dataclass(frozen=True)
class Untrained:
    """Has no knobs."""

    kind: ClassVar[Kind] = "language_model"
    trains: ClassVar[bool] = False

    def train(self, context: "TrainingContext") -> Draft:
        """Return the draft init, at no cost."""
        return Draft(context.draft, Ledger())

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the saved language model as a drafter."""
        from harness.drafters import LanguageModelDrafter
        from harness.models import load_model

        return LanguageModelDrafter(load_model(directory, placement))


METHOD = Untrained
