"""Results on disk: `results/<recipe>-<key>/`, named by what decided them, reports beside them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from draftmark.config.validation import explain_error
from draftmark.errors import UserError
from draftmark.results import Results
from draftmark.store.checksums import RECORDS, SUMS, check_all, intact, write_sums
from draftmark.store.entries import files_in
from draftmark.store.store import write_json

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
        said = explain_error(error, f"{path} does not read")
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
