"""recipe -> the graph of stages: rows, models, and what each cell's row will be made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from draftmark import registry
from draftmark.config.model_sections import Pair
from draftmark.config.recipe import Recipe
from draftmark.config.sections import Samples, SpeedCondition
from draftmark.data.few_shot import counts_with_shots, format_prompts
from draftmark.data.rows import NoSource, Rows, describe_left_out, load_splits
from draftmark.errors import UserError
from draftmark.grading.sandbox import Sandbox
from draftmark.models.files import at_hand, num_layers, resolve
from draftmark.pipeline.setting import Setting
from draftmark.pipeline.stages import drafts, grades, measurements, texts
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.speculation.build_method import build_method
from draftmark.store.graph import Node, digest, topological
from draftmark.types import GREEDY, Sampler, Split, Task

SAFE = Sandbox()


@dataclass(frozen=True)
class CellNodes:
    """The results that one cell's row is made of."""

    draft: Node
    target_grades: Node
    scores: Mapping[float, Node]
    draft_grades: Node | None = None  # a method without a model writes nothing alone
    decode_grades: Node | None = None
    likelihoods: Mapping[str, Node] = field(default_factory=dict)  # of the target, of the draft
    samples: Mapping[tuple[str, float], Node] = field(default_factory=dict)  # ... by temperature
    verdicts: Node | None = None
    decodes: Mapping[SpeedCondition, Node] = field(default_factory=dict)  # the headline first
    floors: Mapping[SpeedCondition, Node] = field(default_factory=dict)  # the target against itself
    parts: Node | None = None

    def all(self) -> Iterator[Node]:
        """Yield every node of the cell."""
        yield from self.needed()
        yield from (*self.decodes.values(), *self.floors.values())
        yield from (node for node in (self.decode_grades, self.parts) if node)

    def needed(self) -> Iterator[Node]:
        """Yield the nodes without which the cell has no numbers: not those of speed."""
        yield from (self.draft, self.target_grades, *self.scores.values())
        yield from (*self.likelihoods.values(), *self.samples.values())
        yield from (node for node in (self.draft_grades, self.verdicts) if node)


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


def plan(
    recipe: Recipe,
    progress: Progress,
    *,
    data: Path | None = None,
    sandbox: Sandbox = SAFE,
    complete: bool = True,
) -> Plan:
    """Return the graph of a recipe; raises UserError if rows or models are not to be had.

    `data` is a data directory; `sandbox` is what runs programs that models write. A plan that need
    not be complete fetches no model, and goes on without models and rows that are not here.
    """
    if data and "directory" not in recipe.data.sources:
        progress.say(f"The recipe reads {', '.join(recipe.data.sources)}: --data is not used.")
    models = {pair.name: _models_of(pair, progress, complete) for pair in recipe.pairs}
    settings = {}
    for name in recipe.tasks:
        task: Task = registry.find("tasks", name)
        told = recipe.for_task(name)
        rows = _rows(told, task, data, progress, complete)
        for pair in told.pairs:
            target, init = models[pair.name]
            setting = Setting(told, task, pair, target, rows, sandbox, init)
            if pair.fine_tune:
                setting = replace(setting, target=drafts.fine_tuned(setting))
            settings[name, pair.name] = setting
    cells = {cell: _nodes(settings[cell.task, cell.pair], cell) for cell in recipe.cells()}
    return Plan(recipe, settings, cells)


def _models_of(pair: Pair, progress: Progress, complete: bool) -> tuple[Node, Node | None]:
    """Return the target, and what drafts start as if that is a model by itself."""

    def found(stage: str, reference: str) -> Node:
        directory = resolve(reference, progress) if complete else at_hand(reference)
        if directory is None:
            return texts.absent(stage, reference)
        if stage == "target":
            _check_layers(pair, directory)
        return texts.given(stage, reference, directory, trust_remote_code=pair.trust_remote_code)

    init = found("init", pair.draft.model) if pair.draft.model else None
    return found("target", pair.target), init


def _check_layers(pair: Pair, directory: Path) -> None:
    available = num_layers(directory)
    beyond = [layer for layer in pair.draft.pruned or () if layer >= available]
    if beyond:
        raise UserError(
            f"pair {pair.name!r}: pruned = {list(pair.draft.pruned or ())}, but {pair.target} has "
            f"layers 0 to {available - 1}, not {beyond[0]}."
        )


def _rows(
    recipe: Recipe, task: Task, data: Path | None, progress: Progress, complete: bool
) -> dict[Split, Rows]:
    counts = row_counts(recipe)
    wanted = counts_with_shots(task, recipe.prompting, counts)
    try:
        loaded = load_splits(task, wanted, sources=recipe.data.sources, directory=data)
    except NoSource as error:
        if complete:
            raise
        progress.say(str(error))
        return {
            split: Rows((), "none", missing=f"{task.name}, {n} {split} rows")
            for split, n in counts.items()
        }
    rows = format_prompts(task, recipe.prompting, loaded)
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


def row_counts(recipe: Recipe) -> dict[Split, int]:
    """Return the number of rows that each split needs; test rows alone if nothing is trained."""
    counts: dict[Split, int] = {"test": recipe.data.test_rows}
    from_rows = any(pair.fine_tune or pair.draft.head == "fitted" for pair in recipe.pairs)
    if not from_rows and not any(build_method(entry).trains for entry in recipe.methods):
        return counts
    return {"train": recipe.data.train_rows, "validation": recipe.data.validation_rows, **counts}


def _nodes(setting: Setting, cell: Cell) -> CellNodes:
    recipe = setting.recipe
    entry = recipe.method(cell.method)
    draft = drafts.draft(setting, entry, cell.seed)
    # A method without a model writes nothing alone.
    alone = draft if build_method(entry).kind == "language_model" else None
    judge = recipe.evaluation.judge
    speed = recipe.speed
    decodes = {
        under: measurements.decodes(setting, under, entry, draft)
        for under in (speed.conditions() if speed else ())
    }
    graded = [node for under, node in decodes.items() if under.length == "natural"][:1]
    return CellNodes(
        draft=draft,
        target_grades=_alone_grades(setting, GREEDY, None),
        scores={
            temperature: measurements.scores(setting, entry, draft, recipe.samplers(temperature))
            for temperature in recipe.evaluation.temperatures
        },
        draft_grades=_alone_grades(setting, GREEDY, alone) if alone else None,
        decodes=decodes,
        decode_grades=grades.grades(setting, graded[0]) if graded else None,
        likelihoods={who: grades.likelihoods(setting, model) for who, model in _models(alone)},
        samples=_samples(setting, alone),
        verdicts=grades.verdicts(setting, judge, alone) if judge and alone else None,
        floors=_floors(setting),
        parts=measurements.part_times(setting, entry, draft)
        if speed and speed.cost_model
        else None,
    )


def _floors(setting: Setting) -> dict[SpeedCondition, Node]:
    """Return the target timed against itself, once for the terms that a draft does not change."""
    speed = setting.recipe.speed
    floors: dict[str, tuple[SpeedCondition, Node]] = {}
    for under in speed.conditions() if speed and speed.noise_floor else ():
        if under.terms not in floors:
            floors[under.terms] = under, measurements.decodes(setting, under, None, None)
    return dict(floors.values())


def _models(alone: Node | None) -> Iterator[tuple[str, Node | None]]:
    """Yield who can write alone, with its node; the target's is the setting's own."""
    yield "target", None
    if alone:
        yield "draft", alone


def _alone_grades(
    setting: Setting, sampler: Sampler, of: Node | None, samples: Samples | None = None
) -> Node:
    return grades.grades(setting, texts.responses(setting, "test", sampler, of, samples))


def _samples(setting: Setting, alone: Node | None) -> dict[tuple[str, float], Node]:
    """Return the grades of several responses to a prompt, by who wrote them and how warm."""
    recipe, samples = setting.recipe, setting.recipe.evaluation.samples
    return {
        (who, temperature): _alone_grades(
            setting, recipe.samplers(temperature).target, model, samples
        )
        for who, model in _models(alone)
        for temperature in (samples.temperatures if samples else ())
    }
