"""The site of a board: who is first, tables of rows that pair, speeds, and a page for each row."""

# In short: The site of a board: who is first, and a page for each row.

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from draftmark.analysis.board.answers import answers
from draftmark.analysis.board.board import Board
from draftmark.analysis.board.series import regressions, series_of
from draftmark.analysis.board.submission import Submission
from draftmark.analysis.board.tables import (
    TRUSTS,
    Table,
    Trust,
    acceptance_tables,
    speed_tables,
    trust_of,
)
from draftmark.analysis.fairness import data_findings
from draftmark.analysis.titles import key_title, task_title
from draftmark.errors import UserError
from draftmark.reports._shared.rows import group_by
from draftmark.reports._site.board_pages import (
    MOST_SHOWN,
    change_text,
    draft_trend,
    table_page,
    verdict,
)
from draftmark.reports._site.paragraphs import Paragraphs
from draftmark.reports._site.render import render_page, static_files
from draftmark.results import Number, Results
from draftmark.text import printable_paragraphs

_LONGEST = 100_000  # characters of a recipe
_Files = Iterator[tuple[str, str | bytes]]


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

    def files(self) -> _Files:
        """Yield the path in the site and the content of each file."""
        if self.board is None:
            raise UserError("Name a board: draftmark board build FOLDER.")
        yield from static_files().items()
        tables = acceptance_tables(self.board, self.submissions)
        pages = group_by(tables, table_page)
        yield "index.html", self._front(self.board, tables)
        yield "speeds.html", _page("board_speeds.html", 0, tables=speed_tables(self.submissions))
        for path, found in pages.items():
            yield path, self._table_page(path, found)
        for series in self._series.values():
            for submission in series:
                yield f"rows/{submission.hash}.html", self._row_page(self.board, submission, series)

    @cached_property
    def _trusts(self) -> dict[str, tuple[Trust, list[str]]]:
        return {item.hash: trust_of(item, self.reruns) for item in self.submissions}

    @cached_property
    def _series(self) -> dict[tuple[str, str], list[Submission]]:
        return series_of(self.submissions)

    def _front(self, board: Board, tables: Sequence[Table]) -> str:
        fallen = [
            (series[-1], [change_text(item) for item in found])
            for (suite, _), series in self._series.items()
            if (found := list(regressions(series, board.suites[suite])))
        ]
        return _page(
            "board.html",
            0,
            title=board.title,
            groups=group_by(list(answers(tables)), lambda item: (item.suite, item.target)),
            pages=group_by(tables, table_page),
            fallen=fallen,
            trusts=self._trusts,
            rules=TRUSTS,
            num_rows=len(self.submissions),
            refused=self.refused,
            most=MOST_SHOWN,
        )

    def _table_page(self, path: str, tables: Sequence[Table]) -> str:
        depth = path.count("/")
        return _page("board_table.html", depth, tables=tables, trusts=self._trusts)

    def _row_page(self, board: Board, row: Submission, series: Sequence[Submission]) -> str:
        trust, reasons = self._trusts[row.hash]
        gamma = board.suites[row.header.suite].gamma
        trend = draft_trend(board, series)
        return _page(
            "board_row.html",
            1,
            row=row,
            gamma=gamma,
            columns=_columns(row, gamma),
            prompts=" or ".join(sorted({f"{it.n}" for it in _numbers(row)})),
            trust=trust,
            rule=TRUSTS[trust],
            reasons=reasons,
            series=series,
            trend=trend,
            findings=data_findings(row.results.results, row.results.data),
            payload={"charts": trend.charts},
            facts=_facts(row),
            recipe=_recipe(row),
        )


def _page(template: str, depth: int, **values: Any) -> str:
    words = {"verdict": verdict, "page_of": table_page, "task_title": task_title}
    return render_page(template, depth, **words, **values)


def _numbers(row: Submission) -> Iterator[Number]:
    yield from (number for found in row.numbers.values() for number in found.values())


def _columns(row: Submission, gamma: int) -> dict[str, str]:
    """Return the keys of a block length with their headings."""
    wanted = f"gamma={gamma}"
    keys = (key for found in row.numbers.values() for key in found)
    return {
        key: key_title(key.replace(f",{wanted}", ""))
        for key in keys
        if wanted in re.split(r"[\[,\]]", key)
    }


def _recipe(row: Submission) -> Paragraphs:
    text = json.dumps(row.results.recipe, indent=1)
    return Paragraphs(printable_paragraphs(text, _LONGEST))


def _facts(submission: Submission) -> dict[str, str]:
    """Return what a row's page says of where it is from."""
    header, manifest = submission.header, submission.results.manifest
    git = manifest.get("git") or {}
    versions = ", ".join(f"{name} {value}" for name, value in manifest["versions"].items() if value)
    targets = {facts["target"]: facts for facts in submission.results.data}
    models = [facts.get("models", {}).get("target", {}) for facts in targets.values()]
    commits = [f"commit {it['commit']}" for it in models if it.get("commit")]
    commits += ["comes with draftmark" for it in models if it.get("source") == "draftmark"]
    return {
        "suite": header.suite,
        "target": f"{', '.join(targets)} ({(commits or ['of no known commit'])[0]})",
        "target's files": submission.target_digest,
        "submitted": header.date,
        "commit of draftmark": str(git.get("commit") or "not known"),
        "versions": versions,
        "machine of speeds": header.machine or "no speeds",
        "engines of speeds": "; ".join(header.engines.values()) or "no speeds",
    }


REPORT = BoardSite()
