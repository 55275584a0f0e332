"""From runs that were made apart to the folder of one run, with its leaderboard."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from draftmark.analysis.merging.merge import merge_runs
from draftmark.analysis.stored_runs import summarise_run, write_summary
from draftmark.config.recipe import Recipe
from draftmark.config.recipe_text import recipe_toml
from draftmark.config.validation import validate_section
from draftmark.pipeline.publish import writable_folder
from draftmark.pipeline.render import render_reports
from draftmark.results import Results
from draftmark.store.files import write_atomically
from draftmark.store.published_folder import publish_folder

REPORTS = ("answer", "leaderboard")


def write_merged_run(folders: Sequence[Path], out: Path, against: str | None = None) -> Results:
    """Write the result of all cells in run folders into a folder, and return it.

    An earlier merged run there is replaced. Raises UserError if the runs cannot be joined, or if
    the folder holds something else.
    """
    merged = merge_runs(folders, against)
    results = merged.results
    with TemporaryDirectory(dir=writable_folder(out.parent), prefix=".merging-") as name:
        made = Path(name)
        merged.save(made)
        recipe = validate_section(Recipe, dict(results.recipe), "the merged recipe")
        write_atomically(made / "merged.toml", recipe_toml(recipe).encode("utf-8", "replace"))
        write_summary(summarise_run(results), made)
        files = sorted(path for path in made.rglob("*") if path.is_file())
        publish_folder(out, ((str(file.relative_to(made)), file.read_bytes()) for file in files))
    render_reports(results, out, REPORTS)
    return results
