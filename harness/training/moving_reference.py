"""A reference that follows the draft: every so many steps it takes the draft's weights.

Its weights are a function of the step, also in a resumed training: each refresh is written before
the training goes on.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel
from draftmark.training.checkpoints import best_file, load_best, save_best
from draftmark.training.context import TrainingContext
from draftmark.training.lora import merged_weights
from draftmark.training.sharding import whole


@dataclass
class MovingReference:
    """At step s the reference has the draft's weights of step s - s mod `refresh`.

    Before step `refresh` the reference keeps the weights that it was given.
    """

    context: TrainingContext
    reference: LanguageModel
    refresh: int
    _taken: int = field(default=0, init=False)  # the step whose weights the reference has

    @property
    def _folder(self) -> Path:
        return self.context.scratch / "references"

    def prepare(self, step: int) -> None:
        """Give the reference its weights for a step; raises UserError if they were deleted."""
        due = step - step % self.refresh
        if due == self._taken:
            return
        if due == step:
            self._take(step)
        elif best_file(self._folder, due).is_file():
            load_best(self._folder, due, self.reference.model)
        else:
            raise UserError(
                f"The training cannot go on at step {step}: {best_file(self._folder, due)} is "
                f"missing. Delete {self.context.scratch} to train again from the start."
            )
        self._taken = due

    def _take(self, step: int) -> None:
        weights = merged_weights(self.context.draft.model)
        self.reference.model.load_state_dict({name: whole(each) for name, each in weights.items()})
        if self.context.team.is_first:
            save_best(self._folder, step, self.reference.model)
            self._delete_unreachable()

    def _delete_unreachable(self) -> None:
        """Delete the weights that no checkpoint needs: those before the latest one's refresh."""
        steps = [_number(path) for path in self.context.scratch.glob("step-*")]
        first = max(steps, default=0)
        for path in self._folder.glob("best-*"):
            if _number(path) < first - first % self.refresh:
                path.unlink()


def _number(path: Path) -> int:
    found = re.search(r"\d+", path.name)
    return int(found.group()) if found else 0
