"""What a method trains with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from draftmark.config.model_sections import Optimisation
from draftmark.models.language_model import LanguageModel
from draftmark.progress import NamedStep, Step, silent_step
from draftmark.store.graph import Job
from draftmark.training.batches import Batch, Texts
from draftmark.training.process_group import ALONE, ProcessGroup
from draftmark.training.schedule import WHOLE, Goal, goal
from draftmark.training.trackers import Journal
from draftmark.training.validation import Criterion
from draftmark.types import Ledger

TokenLoss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]


@dataclass(frozen=True)
class TrainingContext:
    """What a method trains with. Texts and criterion are there for a method that trains.

    `spent` is what the method has cost so far, and `part` how much of what is left of its budget,
    if it has one, this training may take.
    """

    draft: LanguageModel  # the draft init, float32
    target: LanguageModel | None  # its head, for losses that compare with its laws
    settings: Optimisation
    dtype: str
    seed: int
    scratch: Path
    step: Step = field(default_factory=silent_step)
    texts: Texts = field(default_factory=Texts)
    criterion: Criterion | None = None
    keeps_end: bool = False  # write a checkpoint at the end, so that it is read if called again
    spent: Ledger = field(default_factory=Ledger)
    part: Fraction = WHOLE
    team: ProcessGroup = ALONE
    journal: Journal = field(default_factory=Journal)

    @property
    def goal(self) -> Goal:
        """What ends this training; raises UserError if the budget is used up already."""
        live, rows = self.texts.live, len(self.texts)
        return goal(self.settings, rows, live=live, spent=self.spent, part=self.part)

    @contextmanager
    def tracked(self, job: Job, label: str) -> Iterator[TrainingContext]:
        """Tell how the training goes, to who watches the job and to trackers, while a block runs.

        Raises UserError if the budget is used up already.
        """
        settings = self.settings
        run = job.logs if self.team.is_first else None
        told = {**settings.key_settings(), "dtype": self.dtype, "seed": self.seed}
        units = self.goal.units
        journal = Journal.open(settings.trackers, run, told)
        try:
            with job.progress.step(label, units) as step:
                yield replace(self, step=step, journal=journal)
        finally:
            journal.close()

    def before(
        self, name: str, passes: float | None = None, rows_per_batch: int | None = None
    ) -> TrainingContext:
        """Return the context of a training before this one, by the same settings.

        It takes so many passes; by default as many as this one, or half of what is left of the
        budget. It trains the same draft in place; an interruption of what follows does not repeat
        it.
        """
        own: dict[str, Any] = {"passes": passes, "budget": None} if passes else {}
        own |= {"rows_per_batch": rows_per_batch} if rows_per_batch else {}
        return replace(
            self,
            settings=self.settings.model_copy(update=own),
            part=self.part / 2,
            scratch=self.scratch / name,
            step=NamedStep(self.step, name),
            journal=self.journal.aside(name),
            keeps_end=True,
        )

    def after(self, ledger: Ledger) -> TrainingContext:
        """Return the context of a training after one of the same method that has cost so much."""
        return replace(self, spent=self.spent + ledger)


@dataclass(frozen=True)
class PreLossPass:
    """What is measured of all tokens of a step, without gradient, before any gradient is taken.

    `measure` is asked as a loss is; with a `reference`, what it says of the reference is taken off
    what it says of the draft. The loss finds the mean over the step in its batch. `weigh` takes
    what was measured [N] with the Batch of the whole step and returns weights [N], not all 0; the
    step's loss is the mean by them, else all tokens weigh the same.
    """

    measure: TokenLoss
    reference: LanguageModel | None = None  # of the draft's shape, on its device; it is only read
    weigh: Callable[[torch.Tensor, Batch], torch.Tensor] | None = None


@dataclass(frozen=True)
class Draft:
    """What training gives: a model if there is one, what it cost, and how its validation went."""

    model: LanguageModel | None
    ledger: Ledger
    history: Sequence[Mapping[str, float]] = ()
