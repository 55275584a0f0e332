"""The pages of a board's site as data: who is first, in words, and charts of a draft's series."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from draftmark.analysis.board.answers import Answer, smallest_lead
from draftmark.analysis.board.board import Board
from draftmark.analysis.board.series import (
    Change,
    Line,
    changes,
    engine_versions,
    rate_lines,
    speed_lines,
)
from draftmark.analysis.board.submission import Submission
from draftmark.analysis.board.tables import Table
from draftmark.analysis.titles import key_title, task_title
from draftmark.reports._site.charts import Chart
from draftmark.reports._site.numbers import rounded
from draftmark.reports._site.pages import slug
from draftmark.results import Number
from draftmark.text import printable_text

_SMALL = 0.005  # an end that would round to 0.00, as if a lead might be none
MOST_SHOWN = 10  # drafts of a target on the front page; all are on the pages of its tables


@dataclass(frozen=True)
class Trend:
    """What a row's page says of its draft's series: charts, and sentences on what changed."""

    charts: Sequence[Chart] = ()
    regressions: Sequence[str] = ()
    improvements: Sequence[str] = ()
    not_paired: Sequence[str] = ()


def table_page(table: Table) -> str:
    """Return the path of the page that has a table."""
    terms = table.terms
    names = [slug(name, 100) for name in (terms.suite, terms.target, terms.task)]
    return f"tables/{'/'.join(names)}.html"


def interval(number: Number, digits: int = 2) -> str:
    """Return a value with its interval."""
    ends = f" [{number.low:.{digits}f}, {number.high:.{digits}f}]" if number.low is not None else ""
    return f"{number.value:.{digits}f}{ends}"


def verdict(answer: Answer) -> str:
    """Return who is first on which tasks, and by how much at least."""
    parts = [_first(names, tables) for names, tables in answer.leaders.items()]
    return printable_text(f"At temperature {answer.temperature:g}: {'; '.join(parts)}.")


def _first(names: Sequence[str], tables: Sequence[Table]) -> str:
    where = _listed([task_title(table.terms.task) for table in tables])
    if len(names) > 1:
        shown = [*names[:3], f"{len(names) - 3} more"] if len(names) > 4 else names
        return f"{_listed(shown)} are tied on {where}"
    if not (lead := smallest_lead(tables)):
        alone = all(len(table.rows) == 1 for table in tables)
        return f"{names[0]} is {'the only row' if alone else 'first'} on {where}"
    digits = 3 if lead.low is not None and abs(lead.low) < _SMALL else 2
    ahead = f"{interval(lead, digits)} tokens per pass" + (" or more" if len(tables) > 1 else "")
    return f"{names[0]} is first on {where}, ahead of the next by {ahead}"


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def draft_trend(board: Board, series: Sequence[Submission]) -> Trend:
    """Return the trend of a draft in a suite; empty for a single submission."""
    if len(series) < 2:
        return Trend()
    suite = board.suites[series[0].header.suite]
    found = changes(series, suite)
    falls = [item for item in found if item.is_regression]
    return Trend(
        [*_rate_charts(board, series), *_speed_charts(series)],
        [*map(change_text, falls), *_lower_levels(board, series, falls)],
        [change_text(item) for item in found if item.is_large and not item.is_regression],
        list(dict.fromkeys(_not_paired(it) for it in found if it.difference is None)),
    )


def change_text(change: Change) -> str:
    """Return a significant change in words."""
    assert change.difference is not None
    what = f"{task_title(change.task)}, T={change.temperature:g}"
    when = f"{_label(change.before)} to {_label(change.after)}"
    rate = f"acceptance rate {interval(change.difference, 3)}"
    return printable_text(f"{what}: {rate} from {when}")


def _not_paired(change: Change) -> str:
    when = f"{_label(change.before)} to {_label(change.after)}"
    return printable_text(f"{task_title(change.task)}, T={change.temperature:g}, from {when}")


def _label(item: Submission) -> str:
    commit = str(item.results.commit.get("commit") or "")[:8]
    return f"{item.header.date} {commit}".strip()


def _rate_charts(board: Board, series: Sequence[Submission]) -> Iterator[Chart]:
    suite = board.suites[series[0].header.suite]
    labels = [printable_text(_label(item)) for item in series]
    for temperature, lines in rate_lines(series, suite).items():
        title = f"Acceptance rate at temperature {temperature:g}"
        yield _chart(title, f"accepted / tested, blocks of {suite.gamma}", labels, lines)


def _speed_charts(series: Sequence[Submission]) -> Iterator[Chart]:
    for item in speed_lines(series):
        labels = [
            printable_text(f"{row.header.date} {engine_versions(row, item.key)}") for row in series
        ]
        title = printable_text(f"{key_title(item.key)}; {item.machine}")
        yield _chart(title, "times as fast as the target alone", labels, item.lines)


def _chart(title: str, y: str, labels: Sequence[str], lines: Sequence[Line]) -> Chart:
    series = [
        {
            "name": printable_text(task_title(line.task), 60),
            "points": [[place, *_values(number)] for place, number in line.points],
        }
        for line in lines
    ]
    axes = {"x": "submission", "y": y, "names": labels}
    return {"kind": "line", "title": title, **axes, "series": series}


def _values(number: Number) -> list[float | None]:
    known = (number.value, number.low, number.high) if number.low is not None else (number.value,)
    return list(map(rounded, known))


def _lower_levels(
    board: Board, series: Sequence[Submission], falls: Sequence[Change]
) -> Iterator[str]:
    """Yield the starts of lower levels, but for those that paired differences show."""
    shown = {(item.task, item.temperature, item.after.hash) for item in falls}
    for temperature, lines in rate_lines(series, board.suites[series[0].header.suite]).items():
        for line in lines:
            starts = [series[place] for place in line.falls]
            unseen = [it for it in starts if (line.task, temperature, it.hash) not in shown]
            yield from _levels(line, f"acceptance rate, T={temperature:g}", unseen)
    for speed in speed_lines(series):
        for line in speed.lines:
            what = f"{key_title(speed.key)}; {speed.machine}"
            yield from _levels(line, what, [series[place] for place in line.falls])


def _levels(line: Line, what: str, starts: Sequence[Submission]) -> Iterator[str]:
    for item in starts:
        start = f"a lower level from {_label(item)}"
        yield printable_text(f"{task_title(line.task)}, {what}: {start}")
