"""What methods have in common whose draft is a language model; your own may derive from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from draftmark.speculation.interfaces import Drafter
from draftmark.types import Kind, Placement, TrainingRun


@dataclass(frozen=True)
class LanguageModelMethod:
    """A method whose draft is a language model, which proposes token by token."""

    kind: ClassVar[Kind] = "language_model"
    trains: ClassVar[bool] = True

    def training_runs(self, told: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the trainings that make a draft, one after the other: the one that is told."""
        return (told,)

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the saved language model as a drafter."""
        from draftmark.models.language_model import load_model
        from draftmark.speculation.language_model_drafter import LanguageModelDrafter

        return LanguageModelDrafter(load_model(directory, placement))
