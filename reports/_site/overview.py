"""The site's front page as data: a ranking for each task and pair, then a table of all methods."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from draftmark.analysis.literature import matching_figures
from draftmark.analysis.text_artefacts import artefact_warnings
from draftmark.reports._shared.content import Entry, TableNumber
from draftmark.reports._shared.rows import ONE_SEED, Column, headline_columns
from draftmark.reports._site.charts import Chart, forest_charts
from draftmark.reports._site.pages import Board, Line, SiteRun, slug
from draftmark.text import printable_text

VERDICTS = 4  # runs whose verdicts the front page has
SHOWN_BOARDS = 12  # rankings; the rest are folded away
CHARTED = 6  # with more boards the front page has no charts


def overview_values(runs: Sequence[SiteRun]) -> dict[str, Any]:
    """Return the template values of the front page."""
    boards = [board for run in runs for board in run.boards]
    several = len(runs) > 1
    columns = _columns(runs)
    published = any(_published(board, line) for board in boards for line in board.lines)
    charts: list[Chart] = []
    charted: dict[str, range] = {}
    for board in boards if len(boards) <= CHARTED else ():
        first = len(charts)
        charts += forest_charts(board)
        charted[board.file] = range(first, len(charts))
    words = ["method", "task", "pair", *(["run"] if several else []), "seeds", "groups", "gamma"]
    headings = [column.heading for column in columns]
    rows = [
        _row(board, line, several, columns, published) for board in boards for line in board.ranked
    ]
    return {
        "heading": "Leaderboard" if several or not runs else printable_text(runs[0].results.title),
        "verdicts": list(_verdicts(runs, several)),
        "lead": _lead(runs, boards),
        "alerts": [alert for run in runs for alert in _alerts(run, several)],
        "runs": runs,
        "several": several,
        "boards": boards,
        "shown_boards": SHOWN_BOARDS,
        "charted": charted,
        "charts": charts,
        "ranked": ranking_table,
        "lacks": board_lacks,
        "filters": _filters(boards, several),
        "header": [*words, *headings, *(["published"] if published else [])],
        "words": len(words),
        "rows": rows,
    }


def _columns(runs: Sequence[SiteRun]) -> list[Column]:
    """Return the columns of numbers: rates at all runs' temperatures, others only if measured."""
    measured = {key for run in runs for row in run.results.results for key in row.numbers}
    temperatures = sorted({t for run in runs for t in run.temperatures})
    return [
        column
        for column in headline_columns(temperatures, [run.results for run in runs])
        if column.temperature is not None or column.quantity in measured
    ]


def _row(
    board: Board, line: Line, several: bool, columns: Sequence[Column], published: bool
) -> list[Any]:
    """Return a row of the table; entries: text, [text, page], [order, value, interval, page]."""
    run, contender = board.run, line.contender
    entries = [_entry(line, column.key(run.gamma), column.decimals) for column in columns]
    if published:
        entries.append(_published(board, line) or "-")
    seeds = ", ".join(f"{row.cell.seed}" for row in line.cells)
    seeds += f" ({line.num_failed} failed)" if line.num_failed else ""
    letters = [line.letters.get(key, "") for key in board.efficiency_keys]
    groups = " / ".join(letters) if line.letters else ""
    page = run.cells[line.cells[0].cell] if len(line.cells) == 1 else board.file
    place = [contender.task, contender.pair, *([run.label] if several else [])]
    words = [*place, seeds, groups, f"{run.gamma}"]
    return [
        [printable_text(contender.method), page],
        *map(printable_text, words),
        *map(_script_entry, entries),
    ]


def _published(board: Board, line: Line) -> str:
    figures = matching_figures(line.contender, board.run.results.recipe)
    return "; ".join(f"{figure.value:.3f} ({figure.table.column})" for figure in figures)


def _entry(line: Line, key: str, decimals: int) -> Entry:
    if key in line.numbers:
        return TableNumber(key, line.numbers[key], decimals, "interval")
    return "failed" if line.all_failed else "-"


def _script_entry(item: Entry) -> str | list[Any]:
    if not isinstance(item, TableNumber):
        return printable_text(str(item))
    page = f"definitions.html#{slug(item.key.partition('[')[0])}"
    return [item.number.value, item.value, item.interval, page]


def ranking_table(board: Board) -> list[dict[str, Any]]:
    """Return a board's methods with block efficiency and group letters at each temperature."""
    return [
        {
            "method": printable_text(line.contender.method),
            "numbers": [
                (_entry(line, key, 2), line.letters.get(key, "")) for key in board.efficiency_keys
            ],
        }
        for line in board.ranked
    ]


def board_lacks(board: Board) -> Iterator[str]:
    """Yield the limits of conclusions from a board, as sentences."""
    failed = sum(line.num_failed for line in board.lines)
    done = [line for line in board.lines if not line.all_failed]
    if not done:
        yield "All cells failed: there are no numbers."
        return
    if failed:
        yield f"{failed} of {len(board.rows)} cells failed."
    if len(done) == 1:
        yield "Only one method has numbers: there is no ranking."
    if max(len(line.cells) for line in board.lines) == 1:
        yield ONE_SEED


def run_lacks(run: SiteRun) -> Iterator[str]:
    """Yield the limits of conclusions from a run, as sentences."""
    if not run.results.results:
        yield "The run has no results."
    elif len({row.cell.seed for row in run.results.results}) == 1:
        yield ONE_SEED


def _alerts(run: SiteRun, several: bool) -> Iterator[dict[str, str]]:
    for text in artefact_warnings(run.results):
        whose = f"{run.label}: " if several else ""
        yield {"words": printable_text(f"{whose}{text}."), "file": run.file}
    if errors := run.count("error"):
        whose = f"{run.label}: do" if several else "Do"
        words = f"{whose} not compare these numbers: the checks found errors ({errors})."
        yield {"words": words, "file": run.file}
    elif (warnings := run.count("warning")) and not several:
        words = f"The checks found warnings ({warnings}); read them before comparing numbers."
        yield {"words": words, "file": run.file}


def _verdicts(runs: Sequence[SiteRun], several: bool) -> Iterator[dict[str, str]]:
    """Yield the verdict of each run, with its name if there are several."""
    for run in runs if len(runs) <= VERDICTS else ():
        if run.verdict:
            yield {"words": run.verdict, "run": run.label if several else "", "file": run.file}


def _lead(runs: Sequence[SiteRun], boards: Sequence[Board]) -> str:
    rows = list(chain.from_iterable(run.results.results for run in runs))
    failed = sum(bool(row.failure) for row in rows)
    methods = len({row.cell.method for row in rows})
    label = f"{len(runs)} runs" if len(runs) != 1 else runs[0].label
    places = f"{len(boards)} {'task and pair' if len(boards) == 1 else 'tasks and pairs'}"
    counts = {"method": methods, "cell": len(rows)}
    words = [f"{number} {noun}{'' if number == 1 else 's'}" for noun, number in counts.items()]
    return ", ".join([label, places, *words]) + (f", {failed} of them failed" if failed else "")


def _filters(boards: Sequence[Board], several: bool) -> list[tuple[str, int, list[str]]]:
    """Return (title, table column, choices) of each filter with more than one choice."""
    found = [
        ("Method", 0, [line.contender.method for board in boards for line in board.lines]),
        ("Task", 1, [board.task for board in boards]),
        ("Pair", 2, [board.pair for board in boards]),
        ("Run", 3, [board.run.label for board in boards] if several else []),
    ]
    choices = [
        (title, n, list(dict.fromkeys(map(printable_text, values)))) for title, n, values in found
    ]
    return [item for item in choices if len(item[2]) > 1]
