"""The records beside a cell's results, as analysis reads them, and the quantities of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from draftmark.analysis.categories import sum_conversations
from draftmark.analysis.quality import WHO, quality_quantities
from draftmark.analysis.quantities import GAMMAS, Quantity, acceptance_quantities
from draftmark.analysis.stored_counts import stored_rows, stored_tables
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


def stored_records(row: Result, directory: Path, recipe: Recipe) -> Records:
    """Return a cell's acceptance tables and grades; raises UserError if one is damaged."""
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
    tables = {t: stored_tables(row, directory, t) for t in recipe.evaluation.temperatures}
    return Records(tables=tables, **fields)


def stored_quantities(
    row: Result, directory: Path, recipe: Recipe, task: Task, gammas: Iterable[int] = GAMMAS
) -> dict[str, Quantity]:
    """Return the quantities of acceptance and quality that a cell's records still show.

    Blocks are of the lengths `gammas`, and of the recipe's.
    """
    records = stored_records(row, directory, recipe)
    found = {
        **acceptance_quantities(records, recipe, gammas),
        **quality_quantities(records, task, recipe),
    }
    return {name: sum_conversations(item) for name, item in found.items()}
