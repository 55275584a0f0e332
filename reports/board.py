"""The site of a board: tables of rows that pair, tables of speeds, and a page for each row."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from draftmark.analysis.board.board import Board
from draftmark.analysis.board.submission import Submission
from draftmark.analysis.board.tables import TRUSTS, Trust, acceptance_tables, speed_tables, trust_of
from draftmark.errors import UserError
from draftmark.reports._site.paragraphs import Paragraphs
from draftmark.reports._site.render import render_page, static_files
from draftmark.results import Results
from draftmark.text import printable_paragraphs

_LONGEST = 100_000  # characters of a recipe


@dataclass(frozen=True)
class BoardSite:
    """The report on the sound submissions of a board."""

    board: Board | None = None
    submissions: Sequence[Submission] = ()
    reruns: Sequence[Submission] = ()  # by the board's maintainers
    refused: int = 0

    def __call__(self, results: Results, directory: Path) -> dict[str, str | bytes]:
        """Raise UserError: a single run has no board."""
        raise UserError("The report board is of a board's submissions: draftmark board build.")

    def files(self) -> Iterator[tuple[str, str | bytes]]:
        """Yield the path in the site and the content of each file."""
        if self.board is None:
            raise UserError("Name a board: draftmark board build FOLDER.")
        tables = acceptance_tables(self.board, self.submissions)
        trusts = {item.hash: trust_of(item, self.reruns) for item in self.submissions}
        yield (
            "index.html",
            render_page(
                "board.html",
                0,
                title=self.board.title,
                tables=tables,
                speeds=speed_tables(self.submissions),
                trusts=trusts,
                rules=TRUSTS,
                num_rows=len(self.submissions),
                refused=self.refused,
            ),
        )
        yield from static_files().items()
        series = _series(self.submissions)
        for submission in self.submissions:
            yield (
                f"rows/{submission.hash}.html",
                _row_page(submission, series[submission.name], *trusts[submission.hash]),
            )


def _series(submissions: Sequence[Submission]) -> dict[str, list[Submission]]:
    """Return the submissions of each draft, the oldest first."""
    found: dict[str, list[Submission]] = {}
    for item in sorted(submissions, key=lambda item: (item.header.date, item.hash)):
        found.setdefault(item.name, []).append(item)
    return found


def _row_page(
    submission: Submission, series: Sequence[Submission], trust: Trust, reasons: Sequence[str]
) -> str:
    recipe = json.dumps(submission.results.recipe, indent=1)
    return render_page(
        "board_row.html",
        1,
        row=submission,
        trust=trust,
        rule=TRUSTS[trust],
        reasons=reasons,
        series=series,
        facts=_facts(submission),
        recipe=Paragraphs(printable_paragraphs(recipe, _LONGEST)),
    )


def _facts(submission: Submission) -> dict[str, str]:
    """Return what a row's page says of where it is from."""
    header, manifest = submission.header, submission.results.manifest
    git = manifest.get("git") or {}
    versions = ", ".join(f"{name} {value}" for name, value in manifest["versions"].items() if value)
    targets = {facts["target"]: facts for facts in submission.results.data}
    models = [facts.get("models", {}).get("target", {}) for facts in targets.values()]
    commit = next((model.get("commit") for model in models if model.get("commit")), None)
    return {
        "suite": header.suite,
        "target": f"{', '.join(targets)} (commit {commit or 'not known'})",
        "target's files": submission.target_digest,
        "submitted": header.date,
        "commit of draftmark": str(git.get("commit") or "not known"),
        "versions": versions,
        "machine of speeds": header.machine or "no speeds",
    }


REPORT = BoardSite()
