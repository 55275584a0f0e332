"""Boards with a small suite, and runs of it whose numbers are those of their tables."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_runs import small_recipe
from stored_runs import MANIFEST

from draftmark.analysis.board.board import open_board
from draftmark.analysis.board.check import check_board
from draftmark.analysis.board.counts import FILE, quantities, read_counts
from draftmark.analysis.board.submission import Submission, content_hash
from draftmark.analysis.board.suite import Suite, freeze_suite
from draftmark.analysis.quantities import Quantity, acceptance_quantities
from draftmark.analysis.summary import pool_seeds, quantity_number
from draftmark.config.recipe import Recipe
from draftmark.config.validation import parse_toml, validate_section
from draftmark.data.rows import load_rows
from draftmark.registry import find_registered
from draftmark.results import Cell, Contender, Pooled, Result, Results
from draftmark.store.acceptance_tables import sliding_table, write_tables
from draftmark.store.cell_records import Records
from draftmark.store.entries import checksum_line
from draftmark.store.records import tables_name
from draftmark.store.run_folder import RESULTS, SUMS, save_results
from draftmark.types import MAX_GAMMA, Ledger

LIMIT = 256  # tokens of a text
TASKS, PROMPTS, LENGTH = ("gsm8k", "mbpp"), 8, 40  # fewer prompts never separate three rows
TARGET = "0" * 64
TRAINED = Ledger(steps=8, rows=32)


@cache
def small_suite(first: str = "small-suite", prompts: int = PROMPTS) -> Suite:
    """Return a suite of the first sample rows of two tasks."""
    tasks = [find_registered("tasks", name) for name in TASKS]
    rows = {
        task.name: (task.version, load_rows(task, "test", prompts, sources=["samples"]))
        for task in tasks
    }
    return freeze_suite(first, rows)


def make_board(folder: Path, suites: Sequence[Suite] = (), targets: str = "") -> Path:
    """Write the settings of a board, and the files of its suites."""
    folder.mkdir(parents=True, exist_ok=True)
    suites = suites or [small_suite()]
    for suite in suites:
        (folder / f"{suite.name}.json").write_text(json.dumps(asdict(suite)))
    names = json.dumps([f"{suite.name}.json" for suite in suites])
    (folder / "board.toml").write_text(f'title = "A board"\nsuites = {names}\n{targets}')
    return folder


def board_run(
    directory: Path, alphas: Mapping[str, Sequence[float]], suite: Suite | None = None
) -> Results:
    """Write a run of a suite; method -> for each seed, how likely its tokens are accepted."""
    suite, recipe = suite or small_suite(), _recipe(list(alphas))
    rows, pooled = [], []
    for task in suite.tasks:
        for method, seeds in alphas.items():
            found = []
            for seed, alpha in enumerate(seeds):
                cell = Cell(task, "tiny", method, seed)
                records = directory / "records" / f"{len(rows):02d}"
                tables = _write_tables(records, alpha, suite.tasks[task].prompts)
                counted = acceptance_quantities(Records(tables=tables), recipe)
                found.append({key: counted[key] for key in counted if _is_claimed(key)})
                rows.append(_result(cell, found[-1], f"records/{records.name}", suite))
            if len(seeds) > 1:
                contender = Contender(task, "tiny", method)
                pooled.append(Pooled(contender, tuple(range(len(seeds))), pool_seeds(found)))
    manifest = {**MANIFEST, "versions": {"draftmark": "0.1.0", "torch": "2.13.0"}}
    data = tuple(_data(task, suite) for task in suite.tasks)
    recipe_facts = recipe.model_dump(mode="json")
    title = "A small run"
    results = Results(
        "small", title, recipe_facts, tuple(rows), tuple(pooled), (), (), data, manifest
    )
    save_results(results, directory)
    return results


def row_of(board: Path, draft: str = "tiny--kd") -> Path:
    """Return the folder of the first submission of a draft."""
    return next((board / "submissions" / "tiny-target" / draft).iterdir())


def _is_claimed(key: str) -> bool:
    """True if a submission may claim a number: others would only cost the tests time."""
    return key.startswith(("block_efficiency[", "acceptance_rate[")) and any(
        f"gamma={gamma}" in key.rstrip("]").split(",") for gamma in (2, 4, 8)
    )


def _recipe(methods: Sequence[str]) -> Recipe:
    top = f"seeds = [0, 1]\ntasks = {json.dumps(TASKS)}"
    text = small_recipe((8, 4, PROMPTS), methods, evaluation="temperatures = [0, 1]")
    text = text.replace('tasks = ["gsm8k"]', top)
    recipe: Recipe = validate_section(Recipe, parse_toml(text, "the recipe"), "the recipe")
    return recipe


def _write_tables(records: Path, alpha: float, prompts: Mapping[str, str]) -> dict[float, Any]:
    """Write a cell's tables: of accepted and refused tokens at temperature 0, of chances at 1."""
    records.mkdir(parents=True)
    rng = np.random.default_rng(round(alpha * 1000))
    tables: dict[float, Any] = {0.0: [], 1.0: []}
    for place, name in enumerate(prompts):
        chance_S = np.clip(rng.normal(alpha, 0.1, LENGTH + place), 0.05, 0.95)
        greedy_S = (rng.random(LENGTH + place) < chance_S).astype(np.float64)
        tables[0.0].append(sliding_table(name, greedy_S, greedy_S, greedy_S, MAX_GAMMA))
        tables[1.0].append(
            sliding_table(name, chance_S, chance_S, greedy_S, MAX_GAMMA, ratio_S=chance_S)
        )
    for temperature, own in tables.items():
        write_tables(records / tables_name(temperature), own)
    return tables


def _result(cell: Cell, found: Mapping[str, Quantity], records: str, suite: Suite) -> Result:
    test = suite.tasks[cell.task].digest
    train = f"train rows of {cell.task}"
    numbers = {key: quantity_number(item) for key, item in found.items()}
    label = "target's responses, test, temperature 0"
    scored = {"label": label, "key": "k", "rows": test, "writer": "target"}
    grades = {"stage": "grades", "settings": {"rows": test}, "inputs": {"target": "t"}}
    entries = [{**grades, "label": "grades", "key": "k", "manifest": {}, "files": {}}]
    provenance = {
        "entries": entries,
        "draft_texts": [{**scored, "label": "train", "rows": train}],
        "scored_texts": [scored],
        "text_digests": {t: f"{suite.name}, {cell.task} at {t}" for t in ("0", "1")},
    }
    return Result(cell, numbers, TRAINED, provenance, records=records)


def _data(task: str, suite: Suite) -> dict[str, Any]:
    return {
        "task": task,
        "task_version": suite.tasks[task].version,
        "pair": "tiny",
        "target": "tiny-target",
        "target_digest": TARGET,
        "draft": "layers 0, 7 of the target, head copied",
        "models": {"target": {"source": "draftmark", "commit": None}},
        "rows": {"train": 8, "validation": 4, "test": PROMPTS},
        "source": {split: "samples" for split in ("train", "validation", "test")},
        "digest": {
            "train": f"train rows of {task}",
            "validation": f"validation rows of {task}",
            "test": suite.tasks[task].digest,
        },
        "max_new_tokens": LIMIT,
        "end_tokens": [2],
        "overlaps": [],
        "fine_tuning": None,
    }


def tamper(
    folder: Path,
    results: Callable[[dict[str, Any]], None] = lambda document: None,
    counts: Callable[[dict[str, list[Any]]], None] | None = None,
) -> Path:
    """Change a submission, and its hashes with it; return its folder of the new hash."""
    document = json.loads((folder / RESULTS).read_text())
    results(document)
    (folder / RESULTS).write_text(json.dumps(document))
    if counts:
        table = pq.read_table(folder / FILE)
        columns = table.to_pydict()
        counts(columns)
        changed = pa.Table.from_pydict(columns, schema=table.schema)
        pq.write_table(changed, folder / FILE, compression="none")
    return rehash(folder)


def claim_anew(folder: Path) -> Path:
    """Claim what the counts of a submission give, as a careful cheat does; return its folder."""
    counts = read_counts(folder / FILE)

    def claim(document: dict[str, Any]) -> None:
        document["pooled"] = []
        for place, row in enumerate(document["results"]):
            [found] = quantities(counts, [place])
            row["numbers"] = {key: asdict(quantity_number(it)) for key, it in found.items()}

    return tamper(folder, claim)


def rehash(folder: Path) -> Path:
    """Write the hashes of what a submission's folder holds; return the folder of the new hash."""
    lines = "".join(checksum_line(folder, name) for name in (RESULTS, FILE))
    (folder / SUMS).write_text(lines)
    return folder.rename(folder.with_name(content_hash(folder)))


def sound_rows(board: Path) -> list[Submission]:
    """Return the submissions of a board, all of which must be sound."""
    found = check_board(open_board(board))
    assert [item.faults for item in found] == [()] * len(found)
    return [item.submission for item in found if item.submission]
