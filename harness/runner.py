"""The graph of stages -> records -> results. Reads as the experiment."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.analysis import fairness
from harness.analysis.comparisons import Seeds, by_contender, compare, rank
from harness.analysis.quality import qualities
from harness.analysis.quantities import Quantity, quantities
from harness.analysis.summary import pool, summarise
from harness.environment import manifest
from harness.experiment import CellNodes, Plan
from harness.fanout import Failure, execute
from harness.graph import Node
from harness.nodes.provenance import data_facts, texts_behind
from harness.progress import Progress
from harness.published import Cell, Contender, Pooled, Result, Results
from harness.storage.cell_records import Records
from harness.storage.entries import entry_facts
from harness.storage.records import (
    DECODES,
    GRADES,
    LIKELIHOODS,
    TABLES,
    VERDICTS,
    samples_name,
    tables_name,
)
from harness.storage.sums import RECORDS, inside
from harness.store import Store
from harness.types import TimedDecode


def run(recipe_plan: Plan, name: str, store: Store, progress: Progress) -> Results:
    """Return the results of every cell; a failed cell is a row with its reason."""
    recipe = recipe_plan.recipe
    failures = execute(recipe_plan.nodes, store, progress, threads=recipe.threads)
    decodes: dict[Cell, Sequence[TimedDecode]] = {}
    counted: dict[Cell, dict[str, Quantity]] = {}
    results = []
    for cell, nodes in recipe_plan.cells.items():
        if failure := _failure(nodes, failures):
            results.append(Result(cell, {}, None, {}, failure=f"{failure.label}: {failure.reason}"))
            continue
        records, provenance = _records(nodes, store), _provenance(nodes, store)
        decodes[cell] = records.decodes
        results.append(_result(recipe_plan, cell, records, provenance, counted))
    data = data_facts(recipe_plan.settings.values(), store)
    contenders = by_contender(counted)
    return Results(
        name=name,
        title=recipe_plan.recipe.title,
        recipe=recipe_plan.recipe.model_dump(mode="json"),
        results=tuple(results),
        pooled=tuple(
            _pooled(contender, seeds, results)
            for contender, seeds in contenders.items()
            if len(seeds) > 1
        ),
        comparisons=compare(contenders, recipe),
        standings=rank(contenders, recipe),
        data=data,
        manifest=manifest(),
        findings=fairness.findings(recipe, results, decodes, data),
    )


def _result(
    recipe_plan: Plan,
    cell: Cell,
    records: Records,
    provenance: dict[str, Any],
    counted: dict[Cell, dict[str, Quantity]],
) -> Result:
    """Return a cell's numbers, and note its quantities in `counted`; or the reason for none."""
    recipe, task = recipe_plan.recipe, recipe_plan.settings[cell.task, cell.pair].task
    try:
        found = quantities(records, recipe) | qualities(records, task, recipe)
        numbers = summarise(found, records, recipe)
    except Exception as error:  # records that no number can be taken of are a failed row
        reason = f"its numbers cannot be taken: {type(error).__name__}: {error}"
        return Result(cell, {}, records.ledger, provenance, failure=reason)
    counted[cell] = found
    return Result(cell, numbers, records.ledger, provenance)


def _pooled(contender: Contender, seeds: Seeds, results: Sequence[Result]) -> Pooled:
    mine = [row.numbers for row in results if row.cell.contender == contender]
    speedups = [numbers["speedup"] for numbers in mine if "speedup" in numbers]
    return Pooled(contender, tuple(seeds), pool(list(seeds.values()), speedups))


def _provenance(nodes: CellNodes, store: Store) -> dict[str, Any]:
    """Return what a cell's numbers were made of: entries, and the texts that they rest on."""
    return {
        "entries": [entry_facts(store.load(node)) for node in nodes.all()],
        "draft_texts": texts_behind([nodes.draft]),
        "scored_texts": texts_behind(node.inputs["features"] for node in nodes.scores.values()),
    }


def save_records(recipe_plan: Plan, results: Results, store: Store, directory: Path) -> Results:
    """Copy the per-prompt records of every cell beside the results; return these, knowing where."""
    placed = []
    for number, result in enumerate(results.results):
        if result.failure:
            placed.append(result)
            continue
        name = f"{RECORDS}/{number:02d}"
        folder = inside(directory, name)
        folder.mkdir(parents=True, exist_ok=True)
        for file, source in _record_files(recipe_plan.cells[result.cell], store).items():
            (folder / file).unlink(missing_ok=True)  # a link of that name is not followed
            shutil.copyfile(source, folder / file)
        placed.append(replace(result, records=name))
    return replace(results, results=tuple(placed))


def _record_files(nodes: CellNodes, store: Store) -> dict[str, Path]:
    """Return a cell's record files, by the name that each gets beside the results."""
    files = {
        tables_name(temperature): store.load(node).directory / TABLES
        for temperature, node in nodes.scores.items()
    }
    if nodes.draft_grades:
        files["draft-alone-grades.parquet"] = store.load(nodes.draft_grades).directory / GRADES
    files["target-grades.parquet"] = store.load(nodes.target_grades).directory / GRADES
    if nodes.decodes and nodes.decode_grades:
        files[DECODES] = store.load(nodes.decodes).directory / DECODES
        files["decode-grades.parquet"] = store.load(nodes.decode_grades).directory / GRADES
    for (who, temperature), node in nodes.samples.items():
        files[samples_name(who, temperature)] = store.load(node).directory / GRADES
    for who, node in nodes.likelihoods.items():
        files[f"{who}-{LIKELIHOODS}"] = store.load(node).directory / LIKELIHOODS
    if nodes.verdicts:
        files[VERDICTS] = store.load(nodes.verdicts).directory / VERDICTS
    return files


def _failure(nodes: CellNodes, failures: Mapping[str, Failure]) -> Failure | None:
    return next((failures[node.key] for node in nodes.all() if node.key in failures), None)


def _records(nodes: CellNodes, store: Store) -> Records:
    def directory(node: Node | None) -> Path | None:
        return store.load(node).directory if node else None

    return Records.load(
        draft=store.load(nodes.draft).directory,
        target_grades=store.load(nodes.target_grades).directory,
        scores={t: store.load(node).directory for t, node in nodes.scores.items()},
        draft_grades=directory(nodes.draft_grades),
        decodes=directory(nodes.decodes),
        decode_grades=directory(nodes.decode_grades),
        likelihoods={who: store.load(node).directory for who, node in nodes.likelihoods.items()},
        samples={which: store.load(node).directory for which, node in nodes.samples.items()},
        verdicts=directory(nodes.verdicts),
    )
