"""Many results of one recipe, commit after commit, to measure `trend` and `site` under load.

    python tests/support/many_results.py FOLDER 1000

writes results of 15 methods on 5 tasks with 3 seeds each. Their rates vary; one method loses at
the middle commit.
"""

import random
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stored_runs import MANIFEST, recipe_of

from draftmark.results import Cell, Contender, Number, Pooled, Result, Results
from draftmark.store.run_folder import save_results

METHODS, TASKS, SEEDS = 15, ("gsm8k", "mbpp", "xsum", "cnn_dm", "alpaca"), 3
KEYS = ("acceptance_rate[t=0,gamma=4]", "block_efficiency[t=0,gamma=4]")
FALLS, BY = "method-3", 0.1


def results_at(place: int, num_results: int) -> Results:
    """Return the results of one commit."""
    chance = random.Random(place)
    cells = [
        Cell(task, "p", f"method-{method}", seed)
        for task in TASKS
        for method in range(METHODS)
        for seed in range(SEEDS)
    ]
    rows = tuple(
        Result(cell, _numbers(cell, place, num_results, chance), None, {}) for cell in cells
    )
    pooled = tuple(
        Pooled(Contender(*key), tuple(range(SEEDS)), next(r.numbers for r in rows if _of(r) == key))
        for key in dict.fromkeys(map(_of, rows))
    )
    day = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=place)
    commit = {"commit": f"{place:040x}", "dirty": False, "date": day.isoformat()}
    recipe = recipe_of(TASKS, {f"method-{n}": [()] * SEEDS for n in range(METHODS)}, (0.0,))
    manifest = {**MANIFEST, "git": commit}
    return Results("mine", "A title", recipe, rows, pooled, (), (), (), manifest)


def _of(row: Result) -> tuple[str, str, str]:
    return row.cell.task, row.cell.pair, row.cell.method


def _numbers(cell: Cell, place: int, num_results: int, chance: random.Random) -> dict[str, Number]:
    rate = 0.5 + chance.gauss(0, 0.002) - BY * (cell.method == FALLS and 2 * place >= num_results)
    number = Number(rate, rate - 0.01, rate + 0.01, 64, "accepted / tested", 64.0)
    return {
        key: replace(number, value=value) for key, value in zip(KEYS, (rate, 1 + rate), strict=True)
    }


def write_many(folder: Path, num_results: int) -> None:
    """Write results into subfolders."""
    for place in range(num_results):
        save_results(results_at(place, num_results), folder / f"mine-{place:08x}")


if __name__ == "__main__":
    write_many(Path(sys.argv[1]), int(sys.argv[2]))
