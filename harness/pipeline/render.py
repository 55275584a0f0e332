"""Reports: results rendered to files, all of them or none."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from draftmark import registry
from draftmark.pipeline.publish import writable_folder
from draftmark.results import Results
from draftmark.speculation.interfaces import Report
from draftmark.store.files import write_atomically
from draftmark.store.published_folder import publish_folder
from draftmark.store.run_folder import path_inside


@runtime_checkable
class FolderReport(Protocol):
    """A report whose many files have a folder of their own, which is replaced whole."""

    folder: str

    def files(self, results: Results, directory: Path) -> Iterator[tuple[str, str | bytes]]:
        """Yield the path in the folder and the content of each file."""


def render_reports(results: Results, directory: Path, names: Sequence[str]) -> list[Path]:
    """Write the reports of these names where a run has its reports; return their files."""
    found = [registry.find_registered("reports", name) for name in names]
    return write_reports(results, directory, found, report_place(results, directory))


def report_place(results: Results, directory: Path) -> Path:
    """Return the folder of a report's files: another one if a run has reports of both rules.

    Raises UserError if a link there leads out of the run's folder.
    """
    of_run = results.verification == "block" and (directory / "results.json").is_file()
    return writable_folder(path_inside(directory, "block")) if of_run else directory


def write_reports(
    results: Results, directory: Path, reports: Sequence[Report], place: Path | None = None
) -> list[Path]:
    """Write reports into a folder; return their files. If one report raises, none is written.

    `directory` has the records of the results; `place`, by default the same, gets the files. A
    report with a folder of its own replaces it whole.
    """
    place = place or directory
    contents = {
        file: content
        for report in reports
        if not isinstance(report, FolderReport)
        for file, content in report(results, directory).items()
    }
    written = [place / file for file in contents]
    for report in reports:
        if isinstance(report, FolderReport):
            folder = path_inside(place, report.folder)
            written += publish_folder(folder, report.files(results, directory))
    for file, content in contents.items():
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        folder = path_inside(place, str(Path(file).parent))
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / Path(file).name, data)
    return written
