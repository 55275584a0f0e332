"""A run that goes on elsewhere from a pack: nothing is computed twice, and no number changes."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from draftmark.pipeline.executor import execute
from draftmark.pipeline.experiment import Plan, plan
from draftmark.pipeline.journal import Journal
from draftmark.pipeline.planning.estimates import find_gpu
from draftmark.pipeline.planning.plan_table import tabulate_plan
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run, save_records
from draftmark.progress import Progress
from draftmark.results import Cell, Result, Results
from draftmark.store import garbage_collection
from draftmark.store.entries import files_in
from draftmark.store.graph import Node
from draftmark.store.packing import pack, unpack
from draftmark.store.run_locks import held
from draftmark.store.store import Store

QUIET = Progress(quiet=True)
RECIPE = """
title = "a run that moves"
tasks = ["gsm8k"]
threads = 1
[data]
sources = ["samples"]
train_rows = 8
validation_rows = 2
test_rows = 4
[[pairs]]
name = "tiny"
target = "tiny-target"
draft = { pruned = [0, 7] }
[training]
passes = 1
rows_per_batch = 4
validations = 1
[[methods]]
name = "untrained"
[[methods]]
name = "adaspec"
[evaluation]
temperatures = [0]
max_new_tokens = 8
[speed]
blocks = 2
prompts_per_block = 1
"""
ONE_MORE = """
[[methods]]
name = "lk"
"""

_OF_ONE_METHOD = Counter(draft=1, scores=1, responses=1, grades=2, likelihoods=1, decodes=1)


def _prepared(folder: Path, more: str = "") -> Plan:
    recipe = folder / "moving.toml"
    recipe.write_text(RECIPE + more)
    return plan(load_recipe(str(recipe)), QUIET)


def _run(prepared: Plan, store: Store, folder: Path) -> tuple[Results, Counter[str]]:
    """Run a recipe; return its results, and how many results of each stage were made."""
    journal = Journal.open(store, "moving")
    with held(store, folder, prepared.nodes):
        results = run(prepared, "moving", store, QUIET, partial(execute, journal=journal))
        results = save_records(prepared, results, store, folder)
    assert journal.folder is not None
    lines = "".join(path.read_text("utf-8") for path in journal.folder.glob("*.jsonl")).splitlines()
    stages = {node.key: node.stage for node in prepared.nodes}
    events = [json.loads(line) for line in lines]
    return results, Counter(stages[event["key"]] for event in events if event["event"] == "done")


def _rows(results: Results) -> dict[Cell, Result]:
    return {row.cell: replace(row, records="") for row in results.results}


def _records(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def _states(prepared: Plan, store: Store) -> dict[str, str]:
    """Return what a plan says of each draft."""
    _, stages = tabulate_plan(prepared, store, find_gpu("h100"))
    return {stage.node.label: stage.state for stage in stages if stage.node.stage == "draft"}


def _scores(prepared: Plan, method: str) -> Node:
    return next(n for c, n in prepared.cells.items() if c.method == method).scores[0.0]


@pytest.mark.slow
def test_a_run_goes_on_from_its_pack_with_the_same_numbers(tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here" / "store"), Store(tmp_path / "there" / "store")
    prepared = _prepared(tmp_path)
    first, made = _run(prepared, here, tmp_path / "here" / "moving")
    assert made["draft"] == 2

    pack(here, "moving", tmp_path / "pack")
    unpack(tmp_path / "pack", there)
    assert garbage_collection.size_of(tmp_path / "pack") < 0.2 * garbage_collection.size_of(
        here.root
    )

    again, made = _run(prepared, there, tmp_path / "there" / "moving")
    assert made == {}
    assert replace(again, manifest={}) == replace(first, manifest={})
    assert _records(tmp_path / "there" / "moving") == _records(tmp_path / "here" / "moving")

    more = _prepared(tmp_path, ONE_MORE)
    assert _states(more, there) == {
        "draft untrained, seed 0": "cached",
        "draft adaspec, seed 0": "cached",
        "draft lk, seed 0": "to do",
    }
    larger, made = _run(more, there, tmp_path / "there" / "more")
    # Its own, and the target's states on the training, validation and test texts.
    assert made == _OF_ONE_METHOD | {"features": 3}
    rows = _rows(larger)
    assert {cell: rows[cell] for cell in _rows(first)} == _rows(first)

    scores, draft = _scores(prepared, "adaspec"), _scores(prepared, "adaspec").inputs["draft"]
    assert not there.has(draft, whole=True)
    shutil.rmtree(there.directory(scores))
    assert _states(prepared, there)["draft adaspec, seed 0"] == "to do"
    last, made = _run(prepared, Store(there.root), tmp_path / "there" / "last")
    assert made == {"draft": 1, "scores": 1}
    for node in (scores, draft):
        assert _made(there, node) == _made(here, node)
    assert [row.numbers for row in last.results] == [row.numbers for row in first.results]
    assert [row.ledger for row in last.results] == [row.ledger for row in first.results]

    untrained, nodes = next(iter(prepared.cells.items()))
    (decodes,) = nodes.decodes.values()
    shutil.rmtree(there.directory(decodes))
    there.scratch(nodes.draft).rmdir()
    (there.root / "scratch" / nodes.draft.key).touch()  # no draft can be made there again
    lame, made = _run(prepared, Store(there.root), tmp_path / "there" / "lame")
    row = _rows(lame)[untrained]
    assert (made, row.failure, len(row.speed_failures)) == ({}, None, 1)
    assert "speedup" not in row.numbers
    assert row.numbers.items() <= _rows(first)[untrained].numbers.items()


def _made(store: Store, node: Node) -> Any:
    """Return the bytes of what a stage made, without the entry."""
    return {
        name: (store.load(node).directory / name).read_bytes() for name in store.load(node).files
    }
