"""A board: a folder with `board.toml`, the submissions, and the maintainers' runs of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

from draftmark.analysis.board.submission import FOLDER
from draftmark.analysis.board.suite import Suite, read_suite, shipped_suite, suite_names
from draftmark.config.validation import Section, parse_toml, validate_section
from draftmark.environment import added_files
from draftmark.errors import UserError
from draftmark.store.plain_files import NotPlain, read_plain
from draftmark.store.reading import explained
from draftmark.store.run_folder import RESULTS, path_inside
from draftmark.text import decode_text

SETTINGS = "board.toml"
RERUNS = "reruns"  # the maintainers' runs, in a folder laid out like the board
_MAX_BYTES = 100_000
_TEMPLATE = (
    *("README.md", SETTINGS, ".github/workflows/board.yml"),
    f"{FOLDER}/.gitkeep",  # git keeps no empty folder
)
_DEPTH = 3  # of a submission's folder below `submissions`


class _Settings(Section):
    """The file `board.toml`."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    suites: Annotated[tuple[str, ...], Field(min_length=1)]
    targets: Mapping[str, str] = {}


@dataclass(frozen=True)
class Board:
    """A board: its title, its suites by name, the newest first, and the hashes of targets."""

    folder: Path
    title: str
    suites: Mapping[str, Suite]
    targets: Mapping[str, str]  # name -> hash of its files; others may have any

    @property
    def suite(self) -> Suite:
        """The suite that new submissions are of."""
        return next(iter(self.suites.values()))

    @property
    def reruns(self) -> "Board":
        """The board of the maintainers' own runs of its drafts."""
        return replace(self, folder=self.folder / RERUNS)

    def submissions(self) -> Iterator[tuple[Path, str]]:
        """Yield each submission's folder, and the reason why a path is none; "" for folders."""
        yield from _at_depth(self.folder / FOLDER, _DEPTH)

    def ages(self) -> dict[str, int]:
        """Return the place of each submission in the order in which the board's branch got them."""
        found: dict[str, int] = {}
        for name in added_files(self.folder):
            path = PurePosixPath(name)
            if path.name == RESULTS:
                found[str(path.parent)] = len(found)
        return found


def _at_depth(folder: Path, depth: int) -> Iterator[tuple[Path, str]]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir():
            if not _is_kept_folder(path):
                yield path, "is not a folder <target>/<draft>/<hash> of submissions"
        elif depth == 1:
            yield path, ""
        else:
            yield from _at_depth(path, depth - 1)


def _is_kept_folder(path: Path) -> bool:
    """True for the empty file by which git keeps an empty folder."""
    return path.name == ".gitkeep" and path.is_file() and not path.lstat().st_size


def open_board(folder: Path) -> Board:
    """Return the board in a folder; raises UserError if its settings are missing or malformed."""
    path = folder / SETTINGS
    if not path.is_file():
        raise UserError(
            f"{folder} has no {SETTINGS}; make a board with draftmark board new {folder}."
        )
    with explained(path, "fix or replace it"):
        text = decode_text(read_plain(path, _MAX_BYTES))
    found = validate_section(_Settings, parse_toml(text, str(path)), str(path))
    suites = [_suite(folder, name) for name in found.suites]
    return Board(folder, found.title, {suite.name: suite for suite in suites}, found.targets)


def _suite(folder: Path, name: str) -> Suite:
    """Return a suite that comes with draftmark, or that in a file of the board's folder."""
    if not name.endswith(".json"):
        return shipped_suite(name)
    path = path_inside(folder, name)
    if not path.is_file():
        raise NotPlain(f"{path} is missing; name a file, or one of {', '.join(suite_names())}.")
    return read_suite(path)


def template_files() -> dict[str, bytes]:
    """Return the files of a new board by their paths in it."""
    root = resources.files("draftmark.reports") / "board_template"
    return {name: (root / name).read_bytes() for name in _TEMPLATE}
