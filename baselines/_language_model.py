"""What methods have in common whose draft is a language model."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.protocols import Drafter
from harness.types import Kind, Placement


@dataclass(frozen=True)
class LanguageModelMethod:
    """A method whose draft is a language model, which proposes token by token."""

    kind: ClassVar[Kind] = "language_model"
    trains: ClassVar[bool] = True

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the saved language model as a drafter."""
        from harness.drafters import LanguageModelDrafter
        from harness.models import load_model

        return LanguageModelDrafter(load_model(directory, placement))
