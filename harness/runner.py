"""recipe -> graph of stages -> records -> results. Reads as the experiment."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import fairness, measurements, registry, stages
from harness.comparisons import compare
from harness.config import Pair, Recipe
from harness.data import Rows, load_splits
from harness.environment import manifest
from harness.errors import UserError
from harness.fanout import Failure, execute
from harness.graph import Node, digest, topological
from harness.model_files import num_layers, resolve
from harness.progress import Progress
from harness.provenance import data_facts, texts_behind
from harness.records import DECODES, GRADES, TABLES, tables_name
from harness.stages import Setting
from harness.store import Store, entry_facts
from harness.summary import Records, summarise
from harness.types import Cell, Result, Results, Split, Task


@dataclass(frozen=True)
class CellNodes:
    """The results that one cell's row is made of."""

    draft: Node
    target_grades: Node
    scores: Mapping[float, Node]
    draft_grades: Node
    decodes: Node | None = None
    decode_grades: Node | None = None

    def all(self) -> Iterator[Node]:
        """Yield every node of the cell."""
        yield from (self.draft, self.target_grades, *self.scores.values(), self.draft_grades)
        yield from (node for node in (self.decodes, self.decode_grades) if node)


@dataclass(frozen=True)
class Plan:
    """A recipe with everything decided that its results depend on."""

    recipe: Recipe
    settings: Mapping[tuple[str, str], Setting]  # of (task, pair)
    cells: Mapping[Cell, CellNodes] = field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        """Every node once, inputs before what needs them."""
        return list(topological(node for cell in self.cells.values() for node in cell.all()))

    @property
    def key(self) -> str:
        """A hash that names the results: of every node and of what the report is told."""
        nodes = [node.key for cell in self.cells.values() for node in cell.all()]
        return digest([nodes, self.recipe.model_dump(mode="json")])


def plan(recipe: Recipe, progress: Progress, *, data: Path | None = None) -> Plan:
    """Return the graph of a recipe; raises UserError if rows or models are not to be had."""
    if data and "directory" not in recipe.data.sources:
        progress.say(f"The recipe reads {', '.join(recipe.data.sources)}: --data is not used.")
    targets = {pair.name: _target(pair, progress) for pair in recipe.pairs}
    settings = {}
    for name in recipe.tasks:
        task: Task = registry.find("tasks", name)
        rows = _rows(recipe, task, data, progress)
        for pair in recipe.pairs:
            settings[name, pair.name] = Setting(recipe, task, pair, targets[pair.name], rows)
    cells = {cell: _nodes(settings[cell.task, cell.pair], cell) for cell in recipe.cells()}
    return Plan(recipe, settings, cells)


def _target(pair: Pair, progress: Progress) -> Node:
    directory = resolve(pair.target, progress)
    available = num_layers(directory)
    beyond = [layer for layer in pair.draft.pruned or () if layer >= available]
    if beyond:
        raise UserError(
            f"pair {pair.name!r}: pruned = {list(pair.draft.pruned or ())}, but {pair.target} has "
            f"layers 0 to {available - 1}, not {beyond[0]}."
        )
    return stages.given("target", pair.target, directory, trust_remote_code=pair.trust_remote_code)


def _rows(recipe: Recipe, task: Task, data: Path | None, progress: Progress) -> dict[Split, Rows]:
    counts: dict[Split, int] = {
        "train": recipe.data.train_rows,
        "validation": recipe.data.validation_rows,
        "test": recipe.data.test_rows,
    }
    rows = load_splits(task, counts, sources=recipe.data.sources, directory=data)
    progress.say(
        f"{task.name}: {', '.join(f'{n} {split}' for split, n in counts.items())} rows "
        f"from {rows['test'].source}"
    )
    return rows


def _nodes(setting: Setting, cell: Cell) -> CellNodes:
    recipe = setting.recipe
    entry = recipe.method(cell.method)
    draft = stages.draft(setting, entry, cell.seed)
    decodes = measurements.decodes(setting, entry, draft) if recipe.speed else None
    return CellNodes(
        draft=draft,
        target_grades=measurements.grades(setting, stages.responses(setting, "test", 0.0)),
        scores={
            temperature: measurements.scores(setting, entry, draft, temperature)
            for temperature in recipe.evaluation.temperatures
        },
        draft_grades=measurements.grades(setting, stages.responses(setting, "test", 0.0, draft)),
        decodes=decodes,
        decode_grades=measurements.grades(setting, decodes) if decodes else None,
    )


def run(recipe_plan: Plan, name: str, store: Store, progress: Progress) -> Results:
    """Return the results of every cell; a failed cell is a row with its reason."""
    recipe = recipe_plan.recipe
    failures = execute(recipe_plan.nodes, store, progress, threads=recipe.threads)
    records = {
        cell: _records(nodes, store)
        for cell, nodes in recipe_plan.cells.items()
        if not _failure(nodes, failures)
    }
    results = []
    for cell, nodes in recipe_plan.cells.items():
        failure = _failure(nodes, failures)
        if failure:
            results.append(Result(cell, {}, None, {}, failure=f"{failure.label}: {failure.reason}"))
        else:
            results.append(_result(recipe_plan, cell, records[cell], _provenance(nodes, store)))
    data = data_facts(recipe_plan.settings.values())
    decodes = {cell: mine.decodes for cell, mine in records.items()}
    return Results(
        name=name,
        title=recipe_plan.recipe.title,
        recipe=recipe_plan.recipe.model_dump(mode="json"),
        results=tuple(results),
        comparisons=compare({r.cell: records[r.cell] for r in results if not r.failure}, recipe),
        data=data,
        manifest=manifest(),
        findings=fairness.findings(recipe, results, decodes, data),
    )


def _result(
    recipe_plan: Plan,
    cell: Cell,
    records: Records,
    provenance: dict[str, Any],
) -> Result:
    """Return a cell's numbers; records that they cannot be taken of are a failed row."""
    task = recipe_plan.settings[cell.task, cell.pair].task
    try:
        numbers = summarise(records, recipe_plan.recipe, task)
    except Exception as error:
        reason = f"its numbers cannot be taken: {type(error).__name__}: {error}"
        return Result(cell, {}, records.ledger, provenance, failure=reason)
    return Result(cell, numbers, records.ledger, provenance)


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
        name = f"records/{number:02d}"
        folder = directory / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, source in _record_files(recipe_plan.cells[result.cell], store).items():
            shutil.copyfile(source, folder / file)
        placed.append(replace(result, records=name))
    return replace(results, results=tuple(placed))


def _record_files(nodes: CellNodes, store: Store) -> dict[str, Path]:
    """Return a cell's record files, by the name that each gets beside the results."""
    files = {
        tables_name(temperature): store.load(node).directory / TABLES
        for temperature, node in nodes.scores.items()
    }
    files["draft-alone-grades.parquet"] = store.load(nodes.draft_grades).directory / GRADES
    files["target-grades.parquet"] = store.load(nodes.target_grades).directory / GRADES
    if nodes.decodes and nodes.decode_grades:
        files[DECODES] = store.load(nodes.decodes).directory / DECODES
        files["decode-grades.parquet"] = store.load(nodes.decode_grades).directory / GRADES
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
        draft_grades=store.load(nodes.draft_grades).directory,
        decodes=directory(nodes.decodes),
        decode_grades=directory(nodes.decode_grades),
    )


def unfinished(recipe_plan: Plan, store: Store) -> list[Node]:
    """Return the nodes that a run would have to make."""
    return [node for node in recipe_plan.nodes if not store.has(node)]
