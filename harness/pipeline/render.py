"""Reports: results rendered to files, all of them or none."""

from collections.abc import Sequence
from pathlib import Path

from draftmark import registry
from draftmark.results import Results
from draftmark.speculation.interfaces import Report
from draftmark.store.files import write_atomically
from draftmark.store.run_folder import path_inside


def render_reports(results: Results, directory: Path, names: Sequence[str]) -> list[Path]:
    """Write the reports of these names into a folder; return their files."""
    return write_reports(
        results, directory, [registry.find_registered("reports", name) for name in names]
    )


def write_reports(results: Results, directory: Path, reports: Sequence[Report]) -> list[Path]:
    """Write reports into a folder; return their files. If one report raises, none is written."""
    contents = {
        file: content for report in reports for file, content in report(results, directory).items()
    }
    for file, content in contents.items():
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        folder = path_inside(directory, str(Path(file).parent))
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / Path(file).name, data)
    return [directory / file for file in contents]
