"""What methods have in common whose draft is a language model; your own may derive from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.protocols import Drafter
from harness.types import Course, Kind, Placement


@dataclass(frozen=True)
class LanguageModelMethod:
    """A method whose draft is a language model, which proposes token by token."""

    kind: ClassVar[Kind] = "language_model"
    trains: ClassVar[bool] = True

    def courses(self, told: Course) -> tuple[Course, ...]:
        """Return the trainings that make a draft, one after the other: the one that is told."""
        return (told,)

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the saved language model as a drafter."""
        from harness.drafting.drafters import LanguageModelDrafter
        from harness.models import load_model

        return LanguageModelDrafter(load_model(directory, placement))
