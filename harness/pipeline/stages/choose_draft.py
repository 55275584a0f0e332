"""The choice among drafts that were trained with different learning rates."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from draftmark.analysis.validation_history import kept_point, prefers_lower, validation_criterion
from draftmark.store.entries import ENTRY, SEAL
from draftmark.store.graph import Job
from draftmark.store.records import DRAFT
from draftmark.store.store import write_json

SEARCH = "draft at the chosen learning rate"  # an input of the drafts of later seeds


def write_best_draft(job: Job, trials: Mapping[float, str]) -> None:
    """Copy the trial whose kept checkpoint is best on validation into `job.out`.

    `trials` maps each learning rate to the job's input of its draft; of equal trials the first
    wins. `draft.json` is the best trial's, with its learning rate; `search` has the learning rate,
    value on validation and ledger of every trial.
    """
    folders = {rate: job.inputs[name] for rate, name in trials.items()}
    facts = {rate: _read_facts(folder) for rate, folder in folders.items()}
    criterion = validation_criterion(next(iter(facts.values()))["history"])
    values = {rate: kept_point(each["history"])[criterion] for rate, each in facts.items()}
    best = (min if prefers_lower(criterion) else max)(values, key=lambda rate: values[rate])
    own = shutil.ignore_patterns(ENTRY, SEAL)  # of the trial's entry in the store
    shutil.copytree(folders[best], job.out, ignore=own, dirs_exist_ok=True)
    search = [
        {"learning_rate": rate, "value": values[rate], "ledger": facts[rate]["ledger"]}
        for rate in trials
    ]
    write_json(job.out / DRAFT, {**facts[best], "learning_rate": best, "search": search})


def chosen_rate(folder: Path) -> float:
    """Return the learning rate that was chosen for the draft of a folder."""
    rate: float = _read_facts(folder)["learning_rate"]
    return rate


def note_rate(folder: Path, rate: float) -> None:
    """Add the learning rate that a search chose to the facts of a later seed's draft."""
    write_json(folder / DRAFT, {**_read_facts(folder), "learning_rate": rate})


def _read_facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / DRAFT).read_bytes())
    return facts
