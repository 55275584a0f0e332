"""Stored runs with known numbers: all tokens of a prompt have one acceptance probability."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from draftmark.results import Cell, Number, Result, Results
from draftmark.store.acceptance_tables import sliding_table, write_tables
from draftmark.store.records import tables_name
from draftmark.store.run_folder import save_results
from draftmark.types import MAX_GAMMA

HOSTILE = "=1+1<script>alert(1)</script>|`$x_1$\\input{x}\u202e\x1b[31m\x00\n# d%&" + "y" * 100_000
NUMBER = Number(0.5, 0.4, 0.6, 4, "accepted / tested")
MANIFEST = {
    "python": "3.11.7",
    "versions": {"torch": "2.13.0"},
    "git": {"commit": "0" * 40, "dirty": False},
    "hardware": {"processor": "x", "cores": 2, "accelerators": []},
    "threads": 1,
}
Alphas = Mapping[str, Sequence[Sequence[float]]]  # method -> seed -> prompt


def recipe_of(
    tasks: Sequence[str], alphas: Alphas, temperatures: Sequence[float]
) -> dict[str, Any]:
    """Return the recipe keys that reports and gates read."""
    seeds = max((len(item) for item in alphas.values()), default=1)
    return {
        "title": "A title",
        "tasks": list(tasks),
        "pairs": [{"name": "p", "target": "tiny-target", "draft": {}}],
        "methods": [{"name": name, "label": "", "training": {}} for name in alphas],
        "seeds": list(range(seeds)),
        "data": {"test_rows": 4, "sources": ["samples"]},
        "training": {"learning_rate": 0.003},
        "evaluation": {"num_speculative_tokens": 4, "temperatures": list(temperatures)},
        "speed": None,
    }


def run_of(
    directory: Path,
    alphas: Alphas,
    *,
    tasks: Sequence[str] = ("gsm8k",),
    temperatures: Sequence[float] = (0.0,),
    length: int = 200,
) -> Results:
    """Write a run into a folder and return it; all methods and seeds have the same prompts."""
    rows = []
    for task in tasks:
        for method, seeds in alphas.items():
            for seed, by_prompt in enumerate(seeds):
                name = f"records/{len(rows):02d}"
                (directory / name).mkdir(parents=True, exist_ok=True)
                for temperature in temperatures:
                    path = directory / name / tables_name(temperature)
                    write_tables(
                        path, [_table(task, *item, length) for item in enumerate(by_prompt)]
                    )
                numbers = {
                    f"{rate}[t={t:g},gamma=4]": replace(NUMBER, value=float(np.mean(by_prompt)))
                    for rate in ("acceptance_rate", "block_efficiency")
                    for t in temperatures
                }
                rows.append(Result(Cell(task, "p", method, seed), numbers, None, {}, records=name))
    recipe = recipe_of(tasks, alphas, temperatures)
    results = Results("mine", "A title", recipe, tuple(rows), (), (), (), (), MANIFEST)
    save_results(results, directory)
    return results


def _table(task: str, number: int, alpha: float, length: int) -> Any:
    accept_S = np.full(length, alpha)
    return sliding_table(f"{task}/test/{number}", accept_S, accept_S, accept_S, MAX_GAMMA)
