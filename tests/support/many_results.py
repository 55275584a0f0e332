"""Many results of one recipe, commit after commit, to measure `trend` and `site` under load.

    python tests/support/many_results.py FOLDER NUMBER [FIRST]

writes results of 15 methods on 5 tasks with 3 seeds each, of the size of real ones: 27 MB. Their
rates vary; one method loses at the middle commit. FIRST is the first commit that is written.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stored_runs import MANIFEST, recipe_of

from draftmark.analysis.quantities import DEFINITIONS, RATES, quantity_key
from draftmark.analysis.stored_runs import summarise_run, write_summary
from draftmark.results import Cell, Number, Pooled, Result, Results
from draftmark.store.run_folder import save_results

METHODS, TASKS, SEEDS = 15, ("gsm8k", "mbpp", "xsum", "cnn_dm", "alpaca"), 3
WAYS = ((0.0, None), (1.0, None), (1.0, "greedy"))  # temperatures, and how the draft drafts
STAGES = ("target", "responses", "features", "draft", "scores", "texts", "grades", "init", "alone")
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
        Result(cell, dict(_numbers(cell, place, num_results, chance)), None, _provenance(cell))
        for cell in cells
    )
    pooled = tuple(
        Pooled(key, tuple(range(SEEDS)), next(r.numbers for r in rows if r.cell.contender == key))
        for key in dict.fromkeys(cell.contender for cell in cells)
    )
    day = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=place)
    commit = {"commit": f"{place:040x}", "dirty": False, "date": day.isoformat()}
    temperatures = sorted({temperature for temperature, _ in WAYS})
    recipe = recipe_of(TASKS, {f"method-{n}": [()] * SEEDS for n in range(METHODS)}, temperatures)
    manifest = {**MANIFEST, "git": commit}
    return Results("mine", "A title", recipe, rows, pooled, (), (), (), manifest)


def _numbers(
    cell: Cell, place: int, num_results: int, chance: random.Random
) -> Iterator[tuple[str, Number]]:
    rate = 0.5 + chance.gauss(0, 0.002) - BY * (cell.method == FALLS and 2 * place >= num_results)
    for name in RATES:
        number = Number(rate, rate - 0.01, rate + 0.01, 64, DEFINITIONS[name], 61.8)
        for temperature, draft in WAYS:
            for gamma in range(1, 17):
                key = quantity_key(name, temperature, gamma, draft=draft)
                yield key, replace(number, value=rate + 0.001 * gamma + ("per" in name))
    for position in range(1, 61):
        key = quantity_key("marginal_acceptance", 0.0, 4, position)
        yield key, replace(number, value=rate / position)


def _provenance(cell: Cell) -> dict[str, Any]:
    names = {f"package-{n}": "1.2.3" for n in range(12)}
    manifest = {**MANIFEST, "versions": names}
    entry = {"label": str(cell), "manifest": manifest, "seconds": 1.0, "settings": {"a": "b" * 160}}
    files = {f"file-{n}": {"sha256": f"{n:064x}", "bytes": 10**6} for n in range(2)}
    inputs = {f"input-{n}": f"{n:064x}" for n in range(2)}
    rest = {"files": files, "inputs": inputs}
    return {
        "entries": [
            {**entry, **rest, "stage": stage, "key": f"{place:060x}{cell.seed:04x}"}
            for place, stage in enumerate(STAGES)
        ]
    }


def write_many(folder: Path, num_results: int, first: int = 0) -> None:
    """Write results into subfolders."""
    for place in range(first, num_results):
        results, directory = results_at(place, num_results), folder / f"mine-{place:08x}"
        save_results(results, directory)
        write_summary(summarise_run(results), directory)


if __name__ == "__main__":
    write_many(Path(sys.argv[1]), *map(int, sys.argv[2:]))
