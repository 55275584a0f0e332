"""The graph of stages -> records -> results. Reads as the experiment."""

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from draftmark.analysis import fairness
from draftmark.analysis.comparisons import Seeds, by_contender, compare, rank
from draftmark.analysis.quality import qualities
from draftmark.analysis.quantities import Quantity, quantities
from draftmark.analysis.stored_speed import file_of
from draftmark.analysis.summary import pool, summarise
from draftmark.config.sections import SpeedCondition
from draftmark.environment import manifest, project_state
from draftmark.pipeline.executor import Failure, execute
from draftmark.pipeline.experiment import CellNodes, Plan
from draftmark.pipeline.provenance import data_facts, texts_behind
from draftmark.pipeline.setting import Setting
from draftmark.progress import Progress
from draftmark.results import Cell, Contender, Pooled, Result, Results
from draftmark.store.cell_records import Records
from draftmark.store.entries import entry_facts
from draftmark.store.examples import examples_name, write_examples
from draftmark.store.graph import Node
from draftmark.store.records import (
    DECODES,
    GRADES,
    LIKELIHOODS,
    TABLES,
    VERDICTS,
    samples_name,
    tables_name,
)
from draftmark.store.run_folder import RECORDS, path_inside
from draftmark.store.speed_records import ENGINE, PARTS, RUNS, Measurement
from draftmark.store.store import Store
from draftmark.training.token_selection_log import publish


class Execute(Protocol):
    """What makes every missing result: `fanout.execute`, or what does so elsewhere."""

    def __call__(
        self, nodes: Sequence[Node], store: Store, progress: Progress, *, threads: int | None
    ) -> dict[str, Failure]:
        """Return the failures by node key."""


def run(
    recipe_plan: Plan, name: str, store: Store, progress: Progress, make: Execute = execute
) -> Results:
    """Return the results of every cell; a failed cell is a row with its reason."""
    recipe, project = recipe_plan.recipe, project_state()
    tried = make(recipe_plan.nodes, store, progress, threads=recipe.threads)
    # What was light, and could not be made whole, is there for all that reads no more of it.
    there = {node.key for node in recipe_plan.nodes if store.has(node)}
    failures = {key: failure for key, failure in tried.items() if key not in there}
    speeds: dict[Cell, Mapping[SpeedCondition, Measurement]] = {}
    counted: dict[Cell, dict[str, Quantity]] = {}
    results = []
    for cell, nodes in recipe_plan.cells.items():
        if failure := _failure(nodes.needed(), failures):
            results.append(Result(cell, {}, None, {}, failure=f"{failure.label}: {failure.reason}"))
            continue
        made = _made(nodes, failures)
        records, provenance = _records(made, store), _provenance(made, store)
        speeds[cell] = records.speeds
        result = _result(recipe_plan, cell, records, provenance, counted)
        failed, refused = _unmeasured(nodes, failures, some=bool(made.decodes))
        results.append(replace(result, speed_failures=failed, speed_refusals=refused))
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
        manifest={**manifest(), "project": project},
        findings=fairness.findings(recipe, results, speeds, data),
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
    row = Result(cell, {}, records.ledger, provenance, history=tuple(records.history))
    try:
        found = quantities(records, recipe) | qualities(records, task, recipe)
        numbers = summarise(found, records, recipe)
    except Exception as error:  # records that no number can be taken of are a failed row
        reason = f"its numbers cannot be taken: {type(error).__name__}: {error}"
        return replace(row, failure=reason)
    counted[cell] = found
    return replace(row, numbers=numbers)


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
        folder = path_inside(directory, name)
        folder.mkdir(parents=True, exist_ok=True)
        for link in filter(Path.is_symlink, folder.iterdir()):
            link.unlink()  # what is written here is not written elsewhere
        nodes = recipe_plan.cells[result.cell]
        for file, source in _record_files(nodes, store).items():
            shutil.copyfile(source, folder / file)
        setting = recipe_plan.settings[result.cell.task, result.cell.pair]
        for temperature, node in nodes.scores.items():
            _save_examples(setting, node, store, folder / examples_name(temperature))
        publish(store.load(nodes.draft).directory, folder)
        placed.append(replace(result, records=name))
    return replace(results, results=tuple(placed))


def _save_examples(setting: Setting, scores: Node, store: Store, path: Path) -> None:
    """Write a few of the texts that a draft was scored on, if they are not there yet."""
    if not path.exists():
        texts = store.load(scores.inputs["features"].inputs["texts"]).directory
        tokenizer = setting.tokenizer(store.load(setting.target).directory)
        write_examples(texts, tokenizer, path)


def _record_files(nodes: CellNodes, store: Store) -> dict[str, Path]:
    """Return a cell's record files, by the name that each gets beside the results."""
    files = {
        tables_name(temperature): store.load(node).directory / TABLES
        for temperature, node in nodes.scores.items()
    }
    if nodes.draft_grades:
        files["draft-alone-grades.parquet"] = store.load(nodes.draft_grades).directory / GRADES
    files["target-grades.parquet"] = store.load(nodes.target_grades).directory / GRADES
    if nodes.decode_grades and store.has(nodes.decode_grades):  # of speed, what did not fail
        files["decode-grades.parquet"] = store.load(nodes.decode_grades).directory / GRADES
    for number, node in enumerate(nodes.decodes.values()):
        for file in (DECODES, RUNS, ENGINE) if store.has(node) else ():
            files[file_of(number, file)] = store.load(node).directory / file
    if nodes.parts and store.has(nodes.parts):
        files[PARTS] = store.load(nodes.parts).directory / PARTS
    for (who, temperature), node in nodes.samples.items():
        files[samples_name(who, temperature)] = store.load(node).directory / GRADES
    for who, node in nodes.likelihoods.items():
        files[f"{who}-{LIKELIHOODS}"] = store.load(node).directory / LIKELIHOODS
    if nodes.verdicts:
        files[VERDICTS] = store.load(nodes.verdicts).directory / VERDICTS
    return files


def _failure(nodes: Iterable[Node], failures: Mapping[str, Failure]) -> Failure | None:
    return next((failures[node.key] for node in nodes if node.key in failures), None)


def _made(nodes: CellNodes, failures: Collection[str]) -> CellNodes:
    """Return a cell's nodes without those of speed that failed."""

    def left(some: Mapping[SpeedCondition, Node]) -> dict[SpeedCondition, Node]:
        return {under: node for under, node in some.items() if node.key not in failures}

    def one(node: Node | None) -> Node | None:
        return node if node and node.key not in failures else None

    return replace(
        nodes,
        decodes=left(nodes.decodes),
        floors=left(nodes.floors),
        parts=one(nodes.parts),
        decode_grades=one(nodes.decode_grades),
    )


def _unmeasured(
    nodes: CellNodes, failures: Mapping[str, Failure], *, some: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """Return why measurements of speed failed, and why refused, by what was to be measured.

    What engines refuse is no failure where `some` of what was asked is there: of several engines
    and batch sizes not every combination exists.
    """
    tried = {under.label: node for under, node in nodes.decodes.items()}
    tried |= {f"noise floor, {under.terms}": node for under, node in nodes.floors.items()}
    tried |= {"cost model": nodes.parts} if nodes.parts else {}
    failed: dict[str, str] = {}
    refused: dict[str, str] = {}
    for what, node in tried.items():
        if failure := _failure([node], failures):
            (refused if failure.refused and some else failed)[what] = failure.reason
    return failed, refused


def _records(nodes: CellNodes, store: Store) -> Records:
    def directory(node: Node | None) -> Path | None:
        return store.load(node).directory if node else None

    return Records.load(
        draft=store.load(nodes.draft).directory,
        target_grades=store.load(nodes.target_grades).directory,
        scores={t: store.load(node).directory for t, node in nodes.scores.items()},
        draft_grades=directory(nodes.draft_grades),
        decode_grades=directory(nodes.decode_grades),
        likelihoods={who: store.load(node).directory for who, node in nodes.likelihoods.items()},
        samples={which: store.load(node).directory for which, node in nodes.samples.items()},
        verdicts=directory(nodes.verdicts),
        speeds={under: store.load(node).directory for under, node in nodes.decodes.items()},
        floors={under: store.load(node).directory for under, node in nodes.floors.items()},
        parts=directory(nodes.parts),
    )
