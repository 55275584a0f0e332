"""From runs that were made apart to the folder of one run, with its leaderboard."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from draftmark.analysis.merging.merge import merge_runs
from draftmark.analysis.published_counts import unpacked_run
from draftmark.analysis.stored_runs import summarise_run, write_summary
from draftmark.config.recipe import Recipe
from draftmark.config.recipe_text import recipe_toml
from draftmark.config.validation import validate_section
from draftmark.errors import UserError
from draftmark.pipeline.publish import writable_folder
from draftmark.pipeline.render import render_reports
from draftmark.results import Results
from draftmark.store.files import scratch_folder, write_atomically
from draftmark.store.published_folder import publish_folder
from draftmark.store.run_folder import check_ranks, run_folders

REPORTS = ("answer", "leaderboard")


def write_merged_run(sources: Sequence[Path], out: Path, against: str | None = None) -> Results:
    """Write the result of all cells of runs into a folder, and return it.

    A source is a run's folder, a folder of such folders, or a file of published counts. An earlier
    merged run in the folder is replaced. Raises UserError if the runs cannot be joined, or if the
    folder holds something else.
    """
    with scratch_folder(".merging-", writable_folder(out.parent)) as scratch:
        opened = dict(_opened(sources, scratch / "unpacked"))
        with _fitting():
            merged = merge_runs(opened, against)
            check_ranks(merged.results)
        results, made = merged.results, scratch / "made"
        merged.save(made)
        recipe = validate_section(Recipe, dict(results.recipe), "the merged recipe")
        write_atomically(made / "merged.toml", recipe_toml(recipe).encode("utf-8", "replace"))
        write_summary(summarise_run(results), made)
        files = sorted(path for path in made.rglob("*") if path.is_file())
        publish_folder(out, ((str(file.relative_to(made)), file.read_bytes()) for file in files))
    render_reports(results, out, REPORTS)
    return results


@contextmanager
def _fitting() -> Iterator[None]:
    """Raise UserError if the block meets results that are incomplete, or records of other prompts.

    What merging reads of results is more than their shapes say: old versions wrote less.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise UserError(
            f"The runs cannot be joined ({type(error).__name__}: {error}): the results of one are "
            "incomplete, or its records do not fit them; run its recipe again."
        ) from error


def _opened(sources: Sequence[Path], unpacked: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the folder of each run, with its source; files of counts are unpacked."""
    for number, source in enumerate(sources):
        folder = unpacked_run(source, unpacked / str(number))
        for run in run_folders([folder]):
            yield run, run if folder == source else source
