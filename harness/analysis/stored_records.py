"""The quantities of acceptance and quality that the records beside a run's results still show."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from draftmark.analysis.categories import sum_conversations
from draftmark.analysis.quality import WHO, quality_quantities
from draftmark.analysis.quantities import GAMMAS, Quantity, counted_quantities
from draftmark.analysis.stored_counts import stored_cell, stored_rows
from draftmark.config.recipe import Recipe
from draftmark.results import Result
from draftmark.store.cell_records import Records
from draftmark.store.records import LIKELIHOODS, VERDICTS, samples_name
from draftmark.types import Task

_GRADES = {
    "target_grades": "target-grades.parquet",
    "draft_grades": "draft-alone-grades.parquet",
    "decode_grades": "decode-grades.parquet",
    "verdicts": VERDICTS,
}


def _stored_grades(row: Result, directory: Path, recipe: Recipe) -> Records:
    """Return the records of a cell's quality; raises UserError if one is damaged."""
    samples = recipe.evaluation.samples
    sampled = [(who, t) for who in WHO for t in (samples.temperatures if samples else ())]
    keyed: dict[str, dict[Any, str]] = {
        "likelihoods": {who: f"{who}-{LIKELIHOODS}" for who in WHO},
        "samples": {(who, t): samples_name(who, t) for who, t in sampled},
    }

    def found(files: Mapping[Any, str]) -> dict[Any, Any]:
        folder = directory / row.records
        here = {key: file for key, file in files.items() if (folder / file).is_file()}
        return {key: stored_rows(row, directory, file) for key, file in here.items()}

    fields = {**found(_GRADES), **{name: found(files) for name, files in keyed.items()}}
    return Records(**fields)


def stored_quantities(
    row: Result, directory: Path, recipe: Recipe, task: Task, gammas: Iterable[int] = GAMMAS
) -> dict[str, Quantity]:
    """Return the quantities of acceptance and quality that a cell's records still show.

    Blocks are of the lengths `gammas`, and of the recipe's.
    """
    counted = {t: stored_cell(row, directory, t, None) for t in recipe.evaluation.temperatures}
    found = {
        **counted_quantities(counted, recipe, gammas),
        **quality_quantities(_stored_grades(row, directory, recipe), task, recipe),
    }
    return {name: sum_conversations(item) for name, item in found.items()}
