"""Looks: while the gate is inconclusive, the recipe runs again with twice the test rows.

Drafts do not depend on test rows, so they are in the store and are not trained again.
"""

from dataclasses import replace
from pathlib import Path

from draftmark.analysis.gate.accepted import Accepted
from draftmark.analysis.gate.gate import GateOutcome, GateTerms, judge_run
from draftmark.analysis.gate.rule import look_sizes
from draftmark.analysis.stored_counts import stored_counts
from draftmark.analysis.under_block import results_under
from draftmark.pipeline.publish import RunOptions, run_recipe
from draftmark.pipeline.recipe_files import stored_recipe
from draftmark.results import Results


def judge_with_looks(
    results: Results,
    directory: Path,
    accepted: Accepted,
    terms: GateTerms,
    options: RunOptions,
    up_to: int | None,
) -> GateOutcome:
    """Return the gate's outcome for a run, or for the last of its larger repetitions.

    Each look has twice the test rows of the one before, at most `up_to` and at most the number of
    accepted prompts: more prompts could not be paired.
    """
    rows = int(results.recipe["data"]["test_rows"])
    most = max((len(item.prompts) for item in accepted.measured), default=rows)
    sizes = look_sizes(rows, min(up_to or rows, most))
    for number, size in enumerate(sizes, start=1):
        if number > 1:
            results, directory = _with_rows(results, directory, size, options)
        results = results_under(results, accepted.verification)
        now = stored_counts(results, directory, accepted.gamma)
        outcome = judge_run(results, now, accepted, terms, looks=len(sizes))
        if outcome.verdict != "INCONCLUSIVE":
            break
    return replace(outcome, sizes=tuple(sizes[:number]))


def _with_rows(
    results: Results, directory: Path, test_rows: int, options: RunOptions
) -> tuple[Results, Path]:
    """Run a recipe again with more test rows and without speed, which the gate does not judge."""
    data = {**results.recipe["data"], "test_rows": test_rows}
    recipe = stored_recipe({**results.recipe, "data": data, "speed": None}, directory)
    return run_recipe(recipe, results.name, options)
