"""Results on disk: `results/<recipe>-<key>/`, named by what decided them, reports beside them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness import registry
from harness.errors import UserError
from harness.protocols import Report
from harness.published import Results
from harness.settings.validation import explain
from harness.storage.entries import files_in
from harness.storage.sums import RECORDS, SUMS, check_all, inside, intact, write_sums
from harness.store import write_json, write_whole

FILE = "results.json"


def save_results(results: Results, directory: Path) -> None:
    """Write results as JSON, in full or not at all, and the sums of all that belongs to them."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / SUMS).unlink(missing_ok=True)
    write_json(directory / FILE, asdict(results))
    names = [f"{RECORDS}/{name}" for name in files_in(directory / RECORDS)]
    write_sums(directory, [FILE, *names])


def load_results(directory: Path) -> Results:
    """Return the results in a folder; raises UserError if there are none or they do not read.

    And if one of the records beside them is damaged.
    """
    if not (directory / FILE).is_file():
        raise UserError(f"{directory} has no {FILE}; name a folder that `draftmark run` printed.")
    path = intact(directory, FILE)
    check_all(directory)  # now, and not in whichever report reads it
    try:
        # Numbers are not taken strictly: JSON writes 1.0 and 1 alike in other hands.
        return TypeAdapter(Results).validate_json(path.read_bytes())
    except ValidationError as error:
        said = explain(error, f"{path} does not read")
        raise UserError(f"{said.removesuffix('.')}; run the recipe again.") from error


def run_folders(folders: Sequence[Path]) -> list[Path]:
    """Return the folders of runs among some folders and directly below them, each once.

    Raises UserError if one of them neither is such a folder nor holds one.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        below = [folder] if (folder / FILE).is_file() else sorted(folder.glob(f"*/{FILE}"))
        if not below:
            raise UserError(f"{folder} holds no {FILE}; name folders that `draftmark run` printed.")
        found |= dict.fromkeys(path if path == folder else path.parent for path in below)
    return list(found)


def render(results: Results, directory: Path, names: Sequence[str]) -> list[Path]:
    """Write the named reports into a folder and return their files."""
    return write(results, directory, [registry.find("reports", name) for name in names])


def write(results: Results, directory: Path, reports: Sequence[Report]) -> list[Path]:
    """Write reports into a folder, all of them or none, and return their files."""
    contents = {
        file: content for report in reports for file, content in report(results, directory).items()
    }
    for file, content in contents.items():
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        folder = inside(directory, str(Path(file).parent))
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / Path(file).name, data)
    return [directory / file for file in contents]
