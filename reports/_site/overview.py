"""The site's front page as data: verdicts, a matrix of methods by tasks, and their numbers."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from draftmark.analysis.text_artefacts import artefact_warnings
from draftmark.reports._shared.rows import ONE_SEED, group_by, trains_nothing
from draftmark.reports._site.matrix import EXTRAS, MEASURES, board_data
from draftmark.reports._site.pages import Board, SiteRun
from draftmark.text import printable_text

VERDICTS = 4  # runs whose verdicts the front page has


def overview_values(runs: Sequence[SiteRun]) -> dict[str, Any]:
    """Return the template values of the front page."""
    boards = [board for run in runs for board in run.boards]
    several = len(runs) > 1
    return {
        "heading": "Leaderboard" if several or not runs else printable_text(runs[0].results.title),
        "verdicts": list(_verdicts(runs, several)),
        "lead": _lead(runs, boards),
        "alerts": [alert for run in runs for alert in _alerts(run, several)],
        "runs": runs,
        "boards": boards,
        "lacks": _board_lacks(boards),
        "filters": _filters(boards, several),
        "payload": {
            "boards": [board_data(board) for board in boards],
            "measures": [[name, *words] for name, words in MEASURES.items()],
            "extras": list(EXTRAS.items()),
        },
    }


def _board_lacks(boards: Sequence[Board]) -> dict[str, list[Board]]:
    """Return each limit of conclusions with the boards that it is of."""
    pairs = [(text, board) for board in boards for text in board_lacks(board)]
    found = group_by(pairs, lambda pair: pair[0])
    return {text: [board for _, board in items] for text, items in found.items()}


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
    if max(len(line.cells) for line in board.lines) == 1 and not trains_nothing(board.rows):
        yield ONE_SEED


def run_lacks(run: SiteRun) -> Iterator[str]:
    """Yield the limits of conclusions from a run, as sentences."""
    if not run.results.results:
        yield "The run has no results."
    elif len({row.cell.seed for row in run.results.results}) == 1 and not trains_nothing(
        run.results.results
    ):
        yield ONE_SEED


def _alerts(run: SiteRun, several: bool) -> Iterator[dict[str, str]]:
    whose = f"{run.label}: " if several else ""
    for board in run.boards:
        for text in artefact_warnings(run.results, board.task, board.pair):
            words = f"{whose}{board.task_title}, {board.pair}: {text}."
            yield {"words": printable_text(words), "file": run.file}
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


def _filters(boards: Sequence[Board], several: bool) -> list[tuple[str, str, list[str]]]:
    """Return (title, name, choices) of each filter with more than one choice."""
    methods = [line.contender.method for board in boards for line in board.lines]
    found = [
        ("Method", "method", methods),
        ("Task", "task", [board.task_title for board in boards]),
        ("Pair", "pair", [board.pair for board in boards]),
        ("Run", "run", [board.run.label for board in boards] if several else []),
    ]
    choices = [
        (title, name, list(dict.fromkeys(map(printable_text, values))))
        for title, name, values in found
    ]
    return [item for item in choices if len(item[2]) > 1]
