"""A run as large as published ones: 15 methods, 3 seeds, and all that a run stores of a cell.

    python tests/support/large_run.py FOLDER

writes such a run on 5 tasks. A cell has the numbers of both temperatures at all block lengths, 8
prompts of 128 tokens each, 11 stages with their settings, and a training history.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stored_runs import MANIFEST, recipe_of, run_of

from draftmark.analysis.quantities import quantity_key
from draftmark.results import Cell, Comparison, Contender, Number, Pooled, Result, Results, Standing
from draftmark.store.examples import examples_name
from draftmark.store.records import write_rows
from draftmark.store.run_folder import save_results
from draftmark.types import Ledger

TASKS = ("gsm8k", "mbpp", "xsum", "cnn_dm", "alpaca")
METHODS = ("kd", *(f"adaspec, variant {place}" for place in range(2, 16)))
SEEDS, TEMPERATURES, GAMMA, TOKENS = (0, 1, 2), (0.0, 1.0), 4, 128
RATES = ("acceptance_rate", "draft_acceptance_rate", "block_efficiency", "accepted_per_pass")
WAYS = ((0.0, None), (1.0, None), (1.0, "greedy"))  # temperatures, and ways of drafting there
OTHERS = (
    *("quality_target", "quality_draft", "quality_with_draft", "outcome_draft", "outcome_target"),
    *("truncated_draft", "truncated_target", "empty_draft", "empty_target", "same_length"),
    *("reference_log_likelihood_draft", "reference_log_likelihood_target", "identical"),
)
TARGETS_STAGES, OWN_STAGES = 4, 7  # stages that the cells of a task share, and those of one cell


def large_run(folder: Path, tasks: Sequence[str] = TASKS) -> Results:
    """Write a run of all methods and seeds on `tasks`, and return it."""
    chance = random.Random(0)
    _write_records(folder, chance)
    cells = [Cell(t, "smollm2-4of30", m, s) for t in tasks for m in METHODS for s in SEEDS]
    rows = tuple(_row(cell, chance) for cell in cells)
    contenders = list(dict.fromkeys(row.cell.contender for row in rows))
    pooled = tuple(Pooled(item, SEEDS, dict(_numbers(chance))) for item in contenders)
    recipe = recipe_of(tasks, {method: [()] * len(SEEDS) for method in METHODS}, TEMPERATURES)
    compared, standings = (
        tuple(_compared(contenders, chance)),
        tuple(_standings(contenders, chance)),
    )
    results = Results("large", "A title", recipe, rows, pooled, compared, standings, (), MANIFEST)
    save_results(results, folder)
    return results


def _write_records(folder: Path, chance: random.Random) -> None:
    """Write the acceptance tables and texts that all cells read."""
    rates = [[chance.random() for _ in range(8)]]
    run_of(folder, {"kd": rates}, temperatures=TEMPERATURES, length=TOKENS)
    for temperature in TEMPERATURES:
        texts = [
            {
                "example_id": f"gsm8k/test/{place}",
                "prompt": "How many apples are left if half of them were eaten yesterday? " * 8,
                "pieces": [f" w{chance.randrange(10**4)}" for _ in range(TOKENS)],
            }
            for place in range(8)
        ]
        write_rows(folder / "records/00" / examples_name(temperature), texts)


def _number(chance: random.Random) -> Number:
    value = chance.random()
    return Number(value, value - 0.1 * chance.random(), value + 0.1, 48, "accepted / tested", 46.5)


def _numbers(chance: random.Random) -> Iterator[tuple[str, Number]]:
    for t, draft in WAYS:
        for gamma in range(1, 17):
            keys = (quantity_key(rate, t, gamma, draft=draft) for rate in RATES)
            yield from ((key, _number(chance)) for key in keys)
        for place in range(1, GAMMA + 1):
            for kind in ("marginal_acceptance", "conditional_acceptance"):
                yield quantity_key(kind, t, GAMMA, place, draft=draft), _number(chance)
    yield from ((name, _number(chance)) for name in OTHERS)


def _row(cell: Cell, chance: random.Random) -> Result:
    history = tuple(
        {"step": 16.0 * k, "validation_acceptance": chance.random(), "loss": chance.random()}
        for k in range(5)
    )
    shared = random.Random(cell.task)
    entries = [_stage("responses", cell.task, shared) for _ in range(TARGETS_STAGES)]
    entries += [_stage("scores", f"draft {cell.method}", chance) for _ in range(OWN_STAGES)]
    ledger = Ledger(steps=64, rows=256, supervised_tokens=32768, flops=1e13, train_s=400.5)
    numbers, records = dict(_numbers(chance)), "records/00"
    return Result(cell, numbers, ledger, {"entries": entries}, records=records, history=history)


def _stage(kind: str, label: str, chance: random.Random) -> dict[str, Any]:
    keys = [f"{chance.getrandbits(256):064x}" for _ in range(5)]
    sampler = {"temperature": 0.0, "top_k": 0, "top_p": 1.0}
    settings = {"dtype": "float32", "samplers": {"target": sampler, "draft": sampler}, "seed": 0}
    files = {f"{key[:8]}.parquet": {"sha256": key, "bytes": 6656} for key in keys[3:]}
    inputs = {"target": keys[1], "draft": keys[2]}
    stage = {"key": keys[0], "stage": kind, "label": label, "settings": settings, "inputs": inputs}
    return {**stage, "files": files, "seconds": 9.5, "manifest": MANIFEST}


def _compared(contenders: Sequence[Contender], chance: random.Random) -> Iterator[Comparison]:
    for item in contenders:
        for t in TEMPERATURES if item.method != METHODS[0] else ():
            for rate in ("acceptance_rate", "block_efficiency"):
                key, number = quantity_key(rate, t, GAMMA), _number(chance)
                yield Comparison(item, METHODS[0], key, number, 0.01, 0.2, 0.05, 900)


def _standings(contenders: Sequence[Contender], chance: random.Random) -> Iterator[Standing]:
    for place, item in enumerate(contenders):
        letters = "abcdefgh"[place % 8]
        for t in TEMPERATURES:
            behind = replace(_number(chance), n=48) if place % len(METHODS) else None
            yield Standing(item, quantity_key("block_efficiency", t, GAMMA), letters, behind)


if __name__ == "__main__":
    large_run(Path(sys.argv[1]))
