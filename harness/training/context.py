"""The inputs of a training, and its result."""

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
from draftmark.training.batches import Batch, TrainingTexts
from draftmark.training.process_group import ALONE, ProcessGroup
from draftmark.training.schedule import WHOLE, Goal, training_goal
from draftmark.training.trackers import Journal
from draftmark.training.validation import Criterion
from draftmark.types import Ledger

TokenLoss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]


@dataclass(frozen=True)
class TrainingContext:
    """The inputs of a training; texts and criterion are set only for methods that train."""

    draft: LanguageModel  # the draft init, float32
    target: LanguageModel | None  # at least its head, for losses that need target logits
    settings: Optimisation
    dtype: str
    seed: int
    scratch: Path
    step: Step = field(default_factory=silent_step)
    texts: TrainingTexts = field(default_factory=TrainingTexts)
    criterion: Criterion | None = None
    keeps_end: bool = False  # write a checkpoint at the end, for a resumed run to load
    spent: Ledger = field(default_factory=Ledger)  # the method's ledger before this training
    part: Fraction = WHOLE  # of the method's remaining budget
    team: ProcessGroup = ALONE
    journal: Journal = field(default_factory=Journal)
    packed: bool = False  # the draft reads the texts of a step as one sequence, where they fit

    @property
    def sharded(self) -> bool:
        """True if the layers of the draft are spread over the processes."""
        return self.settings.sharded and self.team.count > 1

    @property
    def goal(self) -> Goal:
        """The goal that ends this training; raises UserError if the budget is used up."""
        live, rows = self.texts.live, len(self.texts)
        return training_goal(self.settings, rows, live=live, spent=self.spent, part=self.part)

    @contextmanager
    def tracked(self, job: Job, label: str) -> Iterator[TrainingContext]:
        """Yield the context with a progress bar of the job and with open trackers.

        Raises UserError if the budget is used up.
        """
        run = job.logs if self.team.is_first else None
        settings = {**self.settings.key_settings(), "dtype": self.dtype, "seed": self.seed}
        units = self.goal.units
        journal = Journal.open(self.settings.trackers, run, settings)
        try:
            with job.progress.step(label, units) as step:
                yield replace(self, step=step, journal=journal)
        finally:
            journal.close()

    def before(
        self, name: str, passes: float | None = None, rows_per_batch: int | None = None
    ) -> TrainingContext:
        """Return the context of an earlier training of the same draft, in place.

        It has the same passes by default or, under a budget, half of the remaining budget. A
        resumed run loads its result instead of repeating it.
        """
        changes: dict[str, Any] = {"passes": passes, "budget": None} if passes else {}
        changes |= {"rows_per_batch": rows_per_batch} if rows_per_batch else {}
        return replace(
            self,
            settings=self.settings.model_copy(update=changes),
            part=self.part / 2,
            scratch=self.scratch / name,
            step=NamedStep(self.step, name),
            journal=self.journal.aside(name),
            keeps_end=True,
        )


@dataclass(frozen=True)
class PreLossPass:
    """A pass over all tokens of a step, without gradient, before the loss.

    `measure` has the signature of a loss and returns values [N]; the reference's values, if there
    is a reference, are subtracted from the draft's. The loss reads the mean over the step from
    `Batch.pre_loss_mean`. `weigh` takes the values [N] and the Batch of the whole step and returns
    the weights [N] of the tokens in the step's mean loss, not all 0; by default all are equal. A
    draft that reads a token at K depths may have values, weights and a loss of shape [N, K].
    `prepare` is called with the number of each step before it, to change the reference's weights.
    """

    measure: TokenLoss
    reference: LanguageModel | None = None  # of the draft's shape, on its device; never trained
    weigh: Callable[[torch.Tensor, Batch], torch.Tensor] | None = None
    prepare: Callable[[int], None] | None = None


@dataclass(frozen=True)
class Draft:
    """The result of a training: a model if there is one, its ledger and validation history."""

    model: LanguageModel | None
    ledger: Ledger
    history: Sequence[Mapping[str, float]] = ()
    trained_parameters: int = 0  # the number of weights that trained; 0 if unknown
