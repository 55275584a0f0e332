"""The plan of a recipe: its rows, its models, and the outputs of every cell as nodes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from draftmark import registry
from draftmark.config.model_sections import DraftInit, Pair
from draftmark.config.recipe import Recipe
from draftmark.data.few_shot import counts_with_shots, format_prompts
from draftmark.data.own_rows import task_with_rows
from draftmark.data.rows import NoSource, Rows, describe_left_out, load_splits
from draftmark.errors import UserError
from draftmark.grading.sandbox import Sandbox
from draftmark.models.dtype import resolve_dtype
from draftmark.models.files import (
    check_model,
    describe_origin,
    local_model,
    num_layers,
    resolve_model,
)
from draftmark.models.quantised import check_untrained
from draftmark.models.weights import check_own_code
from draftmark.pipeline.outputs import Output, outputs_of
from draftmark.pipeline.planning.loads import row_counts
from draftmark.pipeline.setting import Setting
from draftmark.pipeline.stages import drafts, texts
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.store.graph import Node, json_digest, topological_order
from draftmark.types import Split, Task

SAFE = Sandbox()
_NAME_ORIGINAL = "Name the model that it was made from."


@dataclass(frozen=True)
class Plan:
    """A recipe with the outputs of every cell."""

    recipe: Recipe
    settings: Mapping[tuple[str, str], Setting]  # by task and pair
    cells: Mapping[Cell, Mapping[str, Output]]

    @property
    def nodes(self) -> list[Node]:
        """Every node once, inputs before the nodes that need them."""
        return list(topological_order(node for cell in self.cells for node in self.nodes_of(cell)))

    @property
    def key(self) -> str:
        """A hash of all that the results and their reports depend on."""
        nodes = [node.key for cell in self.cells for node in self.nodes_of(cell)]
        return json_digest([nodes, self.recipe.model_dump(mode="json")])

    def nodes_of(self, cell: Cell) -> list[Node]:
        """Return the nodes of a cell's outputs, without their inputs."""
        return [output.node for output in self.cells[cell].values()]

    def setting(self, cell: Cell) -> Setting:
        """Return the setting of a cell, with its method's own draft if it has one."""
        setting = self.settings[cell.task, cell.pair]
        return setting.for_entry(setting.recipe.method(cell.method))

    def draft(self, cell: Cell) -> Node:
        """Return the node of a cell's draft."""
        return self.cells[cell]["draft"].node


def plan_experiment(
    recipe: Recipe,
    progress: Progress,
    *,
    data: Path | None = None,
    sandbox: Sandbox = SAFE,
    complete: bool = True,
) -> Plan:
    """Return the plan of a recipe; raises UserError if rows or models are not available.

    `data` is a data directory; programs that models write run in `sandbox`. With
    `complete` False no model is fetched, and missing models and rows are planned by name.
    """
    recipe = resolve_dtypes(recipe)
    if data and "directory" not in recipe.data.sources:
        progress.say(f"--data is ignored: data.sources are {', '.join(recipe.data.sources)}.")
    models = {pair.name: _models_of(recipe, pair, progress, complete) for pair in recipe.pairs}
    settings = {}
    for name in recipe.tasks:
        task = task_with_rows(registry.find_registered("tasks", name), recipe.rows.get(name))
        on_task = recipe.for_task(name)
        rows = _rows(on_task, task, data, progress, complete)
        for pair in on_task.pairs:
            target, init, inits = models[pair.name]
            setting = Setting(on_task, task, pair, target, rows, sandbox, init, inits)
            if pair.fine_tune:
                setting = replace(setting, target=drafts.fine_tuned_node(setting))
            settings[name, pair.name] = setting
    plan = Plan(recipe, settings, {})
    cells = {cell: outputs_of(plan.setting(cell), cell) for cell in recipe.cells()}
    return replace(plan, cells=cells)


def resolve_dtypes(recipe: Recipe) -> Recipe:
    """Return the recipe with the dtype of this machine where a pair says "auto"."""
    dtypes = [resolve_dtype(pair.dtype) for pair in recipe.pairs]
    pairs = zip(recipe.pairs, dtypes, strict=True)
    resolved = tuple(pair.model_copy(update={"dtype": dtype}) for pair, dtype in pairs)
    return recipe.model_copy(update={"pairs": resolved})


def _models_of(
    recipe: Recipe, pair: Pair, progress: Progress, complete: bool
) -> tuple[Node, Node | None, dict[str, Node]]:
    """Return the target, the model or head of the pair's draft, and those of entries by title."""

    def model_node(stage: str, reference: str, *, head: bool = False) -> Node:
        directory = (
            resolve_model(reference, progress, head=head) if complete else local_model(reference)
        )
        if directory is None:
            return texts.missing_model_node(stage, reference)
        check_model(directory, head=head)
        if pair.trust_remote_code:
            check_own_code(directory)
        if line := describe_origin(reference, directory):
            progress.say(line)
        return texts.existing_model_node(
            stage, reference, directory, trust_remote_code=pair.trust_remote_code, head=head
        )

    def init_node(init: DraftInit) -> Node | None:
        _check_layers(pair, init, target.existing_folder)
        if init.reference is None:
            return None
        node = model_node("init", init.reference, head=init.trained_head is not None)
        check_untrained(node.existing_folder, "a draft would start from it", _NAME_ORIGINAL)
        return node

    target = model_node("target", pair.target)
    if pair.fine_tune:
        check_untrained(target.existing_folder, "fine_tune trains the target", _NAME_ORIGINAL)
    drafts_of = {entry.title: entry.draft for entry in recipe.methods if entry.draft}
    inits = {title: init_node(init) for title, init in drafts_of.items()}
    return target, init_node(pair.draft), {title: node for title, node in inits.items() if node}


def _check_layers(pair: Pair, init: DraftInit, target: Path | None) -> None:
    """Raise UserError if a pruned draft has a layer that the target lacks, or a quantised one."""
    if target is None or init.pruned is None:
        return
    check_untrained(target, "a pruned draft copies its layers", "Name a model as the draft.")
    available = num_layers(target)
    missing = [layer for layer in init.pruned if layer >= available]
    if missing:
        raise UserError(
            f"pair {pair.name!r}: pruned = {list(init.pruned)}, but {pair.target} has "
            f"layers 0 to {available - 1}, not {missing[0]}."
        )


def _rows(
    recipe: Recipe, task: Task, data: Path | None, progress: Progress, complete: bool
) -> dict[Split, Rows]:
    counts = row_counts(recipe)
    with_shots = counts_with_shots(task, recipe.prompting, counts)
    try:
        loaded = load_splits(
            task,
            with_shots,
            sources=recipe.data.sources,
            directory=data,
            progress=progress if complete else None,
        )
    except NoSource as error:
        if complete:
            raise
        progress.say_once(str(error))
        return {
            split: Rows((), "none", missing=f"{task.name}, {n} {split} rows")
            for split, n in counts.items()
        }
    rows = format_prompts(task, recipe.prompting, loaded)
    for reason in rows["test"].passed_over:
        progress.say(f"{task.name}: passed over {reason}")
    progress.say(
        f"{task.name}: {', '.join(f'{n} {split}' for split, n in counts.items())} rows "
        f"from {rows['test'].source}"
    )
    for split, item in rows.items():
        if item.left_out:
            progress.say(
                f"{task.name}, {split}: {describe_left_out(item.left_out)} by the task's rule"
            )
    return rows
