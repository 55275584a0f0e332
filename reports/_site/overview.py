"""The site's front page, as data: the ranking of each task and pair, then a row for each method."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from draftmark.analysis.literature import matching
from draftmark.reports._shared.sections import Entry, Format, Shown, three, two
from draftmark.reports._site.charts import Chart, forests
from draftmark.reports._site.pages import Board, Line, Run, key, slug
from draftmark.results import Contender, Result
from draftmark.text import plain

SHOWN_BOARDS = 12  # rankings that are not folded away
CHARTED = 6  # up to so many have a chart on the front page
ALONE = "One seed: it says nothing of how far another training of a method would land."


def index(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the template of the front page is filled with."""
    boards = [board for run in runs for board in run.boards]
    several = len(runs) > 1
    columns = _columns(runs)
    published = any(matching(who, run.results.recipe) for run in runs for who in _contenders(run))
    charts: list[Chart] = []
    charted: dict[str, range] = {}
    for board in boards if len(boards) <= CHARTED else ():
        first = len(charts)
        charts += forests(board)
        charted[board.file] = range(first, len(charts))
    words = ["method", "task", "pair", *(["run"] if several else []), "seeds", "groups", "gamma"]
    header = [*words, *columns, *(["published"] if published else [])]
    rows = [
        _line(board, line, several, columns, published)
        for board in boards
        for line in ordered(board)
    ]
    return {
        "heading": "Leaderboard" if several or not runs else plain(runs[0].results.title),
        "lead": _lead(runs, boards),
        "alerts": [alert for run in runs for alert in _alerts(run, several)],
        "runs": runs,
        "several": several,
        "boards": boards,
        "shown_boards": SHOWN_BOARDS,
        "charted": charted,
        "charts": charts,
        "ranked": ranked,
        "lacks": lacks,
        "filters": _filters(boards, several),
        "header": header,
        "words": len(words),
        "rows": rows,
    }


def _contenders(run: Run) -> list[Contender]:
    return list(dict.fromkeys(row.cell.contender for row in run.results.results))


def _columns(runs: Sequence[Run]) -> dict[str, tuple[str, float | None, Format]]:
    """Return (name, temperature, form) of each column of numbers, by its heading."""
    found: dict[str, tuple[str, float | None, Format]] = {}
    for temperature in sorted({t for run in runs for t in run.temperatures}):
        where = f"T={temperature:g}"
        found[f"acceptance rate, {where}"] = ("acceptance_rate", temperature, three)
        found[f"block efficiency, {where}"] = ("block_efficiency", temperature, two)
    names = {
        "speedup": ("speedup", two),
        "quality with draft": ("quality_with_draft", three),
        "quality of draft alone": ("quality_draft", three),
    }
    rows = [row for run in runs for row in run.results.results]
    for title, (name, form) in names.items():
        if any(name in row.numbers for row in rows):
            found[title] = (name, None, form)
    return found


def _line(
    board: Board,
    line: Line,
    several: bool,
    columns: Mapping[str, tuple[str, float | None, Format]],
    published: bool,
) -> list[Any]:
    """Return a row of the table: strings, [text, page] and [order, value, interval, place]."""
    run, who, own = board.run, line.contender, line.numbers
    numbers: list[Entry] = []
    for name, temperature, form in columns.values():
        full = name if temperature is None else key(name, temperature, run.gamma)
        if full in own:
            numbers.append(Shown(full, own[full], form, "interval"))
        else:
            numbers.append("failed" if len(line.failed) == len(line.cells) else "-")
    if published:
        figures = matching(who, run.results.recipe)
        numbers.append("; ".join(f"{three(f.value)} ({f.table.column})" for f in figures) or "-")
    seeds = line.seeds + (f" ({len(line.failed)} failed)" if line.failed else "")
    groups = " / ".join(_letters(board, line))
    page = run.cells[line.cells[0].cell] if len(line.cells) == 1 else board.file
    words = [who.task, who.pair, *([run.label] if several else []), seeds, groups, f"{run.gamma}"]
    return [[plain(who.method), page], *map(plain, words), *map(_entry, numbers)]


def _entry(item: Entry) -> str | list[Any]:
    if not isinstance(item, Shown):
        return plain(str(item))
    place = f"definitions.html#{slug(item.key.partition('[')[0])}"
    return [item.number.value, item.value, item.interval, place]


def _letters(board: Board, line: Line) -> list[str]:
    names = [key("block_efficiency", t, board.run.gamma) for t in board.run.temperatures]
    return [line.letters.get(name, "") for name in names] if line.letters else []


def ranked(board: Board) -> list[dict[str, Any]]:
    """Return a task and pair's methods by block efficiency at the first temperature."""
    names = [key("block_efficiency", t, board.run.gamma) for t in board.run.temperatures]
    return [
        {
            "method": plain(line.contender.method),
            "numbers": [(_ranking(line, name), line.letters.get(name, "")) for name in names],
        }
        for line in ordered(board)
    ]


def ordered(board: Board) -> list[Line]:
    """Return a task and pair's methods by block efficiency, those without it last."""
    names = [key("block_efficiency", t, board.run.gamma) for t in board.run.temperatures[:1]]

    def place(line: Line) -> float:
        return min((-line.numbers[name].value for name in names if name in line.numbers), default=1)

    return sorted(board.lines, key=place)


def _ranking(line: Line, name: str) -> Entry:
    if name in line.numbers:
        return Shown(name, line.numbers[name], two, "interval")
    return "failed" if len(line.failed) == len(line.cells) else "-"


def lacks(board: Board) -> Iterator[str]:
    """Yield what a task and pair lacks, for its numbers to say more."""
    failed = [row for row in board.rows if row.failure]
    done = [line for line in board.lines if len(line.failed) < len(line.cells)]
    if not done:
        yield "All cells failed: there are no numbers."
        return
    if failed:
        yield f"{len(failed)} of {len(board.rows)} cells failed."
    if len(done) == 1:
        yield "One method has numbers: there is nothing to rank it with."
    if max(len(line.cells) for line in board.lines) == 1:
        yield ALONE


def run_lacks(run: Run) -> Iterator[str]:
    """Yield what a run lacks."""
    if not run.results.results:
        yield "The run has no results."
    elif len({row.cell.seed for row in run.results.results}) == 1:
        yield ALONE


def counted(run: Run) -> dict[str, Any]:
    """Return a run with how much of it failed or was found wanting."""
    severities = [item.severity for item in run.results.findings]
    return {
        "run": run,
        "failed": sum(bool(row.failure) for row in run.results.results),
        "errors": severities.count("error"),
        "warnings": severities.count("warning"),
    }


def _alerts(run: Run, several: bool) -> Iterator[dict[str, str]]:
    of = f"{run.label}: " if several else ""
    found = counted(run)
    if found["errors"]:
        words = f"{of}not fit to be compared: the checks found errors ({found['errors']})."
        yield {"words": words, "file": run.file}
    elif found["warnings"] and not several:
        words = f"The checks found warnings ({found['warnings']}), to be read before comparing."
        yield {"words": words, "file": run.file}


def _lead(runs: Sequence[Run], boards: Sequence[Board]) -> str:
    rows: list[Result] = [row for run in runs for row in run.results.results]
    failed = sum(bool(row.failure) for row in rows)
    methods = len({row.cell.method for row in rows})
    parts = [f"{len(runs)} runs"] if len(runs) != 1 else [runs[0].label]
    parts += [_count(len(boards), "task and pair", "tasks and pairs")]
    parts += [_count(methods, "method", "methods"), _count(len(rows), "cell", "cells")]
    return ", ".join(parts) + (f", {failed} of them failed" if failed else "")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _filters(boards: Sequence[Board], several: bool) -> list[tuple[str, int, list[str]]]:
    """Return (title, column of the table, choices) of each filter that has something to choose."""
    methods = [line.contender.method for board in boards for line in board.lines]
    found = [
        ("Method", 0, methods),
        ("Task", 1, [board.task for board in boards]),
        ("Pair", 2, [board.pair for board in boards]),
    ]
    if several:
        found.append(("Run", 3, [board.run.label for board in boards]))
    choices = [(title, n, list(dict.fromkeys(map(plain, values)))) for title, n, values in found]
    return [item for item in choices if len(item[2]) > 1]
