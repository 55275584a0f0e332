"""The plan of a run as text: the total cost, the stages with their states and costs, assumptions.

A plan needs no model files and no network: models that are not on this machine are planned by name.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from draftmark.data.rows import MISSING
from draftmark.environment import machine_facts as this_machine
from draftmark.errors import UserError
from draftmark.pipeline import experiment
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.planning import estimates
from draftmark.pipeline.planning.budgets import budget_lines
from draftmark.pipeline.planning.crossover import crossover_lines
from draftmark.pipeline.planning.estimates import Cost, Gpu, format_seconds
from draftmark.pipeline.planning.jobs import plan_jobs
from draftmark.pipeline.planning.remedies import find_remedy
from draftmark.pipeline.planning.schedule import (
    ASSUMED,
    StageCosts,
    forecast_lines,
    stage_placements,
)
from draftmark.pipeline.planning.stage_costs import SettingCosts
from draftmark.pipeline.recipe_files import load_recipe, suite_members
from draftmark.pipeline.setting import ROWS_PER_BATCH
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.store.entries import ENTRY, stored_facts
from draftmark.store.graph import Node, topological_order
from draftmark.store.reading import Seconds, read_json
from draftmark.store.records import DRAFT, TARGET
from draftmark.store.store import Store
from draftmark.text import counted, format_bytes
from draftmark.training.flops import CHUNK_LOGITS

WIDTH = 80
_HEADER = ("stage", "key", "state", "FLOPs", "memory", "disk", "GPU", "here")
_LINE = "{:11} {:8} {:7} {:>7} {:>7} {:>7} {:>7} {:>9}"
_INDENT = " " * 12  # of the lines below a stage, which name it


class _Hardware(BaseModel):
    processor: str | None


class _Manifest(BaseModel):
    hardware: _Hardware


class _Made(BaseModel):
    """What an entry says of the machine that made it."""

    manifest: _Manifest


class _Cost(BaseModel):
    flops: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    train_s: Seconds


class _Trained(BaseModel):
    """What a trained model says of its cost."""

    ledger: _Cost


@dataclass(frozen=True)
class PlannedStage:
    """A node, its state in the store, and its cost."""

    node: Node
    state: str  # given, absent, cached, damaged, to do
    cost: Cost
    seconds: float | None = None  # measured when a cached stage was made
    fix: str = ""  # what to set if no number of GPUs holds it
    fixed_gpus: int = 0  # that hold it then


def render_plan(
    recipe: str,
    store: Path,
    gpu: Gpu,
    *,
    gpus: int | None = None,
    jobs: int | None = None,
    data: Path | None = None,
    tasks: Sequence[str] | None = None,
) -> str:
    """Return the plan of a recipe as text; for a suite, each recipe's plan and the total.

    By default on as many GPUs as the trainings have processes.
    """
    names, texts, progress = suite_members(recipe), [], Progress()
    every: dict[str, PlannedStage] = {}
    for name in names:
        loaded = load_recipe(name, tasks=tasks)
        plan = experiment.plan_experiment(loaded, progress, data=data, complete=False)
        title = [f"{name}: {loaded.title}", ""] if len(names) > 1 else []
        text, stages = tabulate_plan(plan, Store(store), gpu, gpus, jobs)
        texts.append("\n".join([*title, text]))
        every |= {stage.node.key: stage for stage in stages}
    if len(names) > 1:
        stages = list(every.values())
        totals = _totals(stages, gpu, gpus or _most_processes(stages))
        texts.insert(0, _wrap([f"All of {recipe}, each shared stage counted once:", *totals]))
    return "\n\n\n".join(texts)


def tabulate_plan(
    plan: Plan, store: Store, gpu: Gpu, gpus: int | None = None, jobs: int | None = None
) -> tuple[str, list[PlannedStage]]:
    """Return the plan as text, and its stages.

    The text has the totals, one line per stage under its task and pair, and the assumptions. A
    stage to do has its time on a GPU and, on a machine without one, on this machine. On several
    GPUs each line names the GPU that the stage would run on.
    """
    setting_costs = {
        key: SettingCosts.from_setting(setting, gpu) for key, setting in plan.settings.items()
    }
    by_setting = _stages(plan, setting_costs, store)
    every = [stage for stages in by_setting.values() for stage in stages]
    gpus = gpus or _most_processes(every)
    where = stage_placements(_remaining(every), gpus) if gpus > 1 else {}
    here = plan_jobs(plan, store, jobs) if _remaining(every) else None
    here_s = here.stage_s if here else {}
    lines = [_LINE.format(*_HEADER)]
    for key, stages in by_setting.items():
        lines += ["", ", ".join(key)]
        lines += [_line(stage, here_s, where.get(stage.node.key)) for stage in stages]
    totals = list(_totals(every, gpu, gpus))
    if here:
        totals.insert(0, f"`draftmark run` here: {here.describe()}")
    notes = [*_assumptions(setting_costs, gpu, store), ASSUMED]
    return "\n".join([_wrap(totals), "", *lines, "", _wrap(notes)]), every


def _most_processes(stages: Sequence[PlannedStage]) -> int:
    return max((stage.node.processes for stage in stages), default=1)


def planned_stages(plan: Plan, store: Store, gpu: Gpu) -> dict[tuple[str, str], list[PlannedStage]]:
    """Return every stage of a plan once, under the first task and pair that need it."""
    costs = {key: SettingCosts.from_setting(setting, gpu) for key, setting in plan.settings.items()}
    return _stages(plan, costs, store)


def _stages(
    plan: Plan, setting_costs: Mapping[tuple[str, str], SettingCosts], store: Store
) -> dict[tuple[str, str], list[PlannedStage]]:
    """Return every stage once, under the first task and pair that need it."""
    by_setting: dict[tuple[str, str], list[PlannedStage]] = {key: [] for key in setting_costs}
    seen: set[str] = set()
    missing = store.missing(plan.nodes)
    for cell in plan.cells:
        key = (cell.task, cell.pair)
        for node in topological_order(plan.nodes_of(cell)):
            if node.key not in seen:
                seen.add(node.key)
                cost = setting_costs[key].cost(node, cell)
                stage = _stage(node, store, cost, stored=node.key not in missing)
                by_setting[key].append(_with_fix(stage, setting_costs[key], cell))
    return by_setting


def _with_fix(stage: PlannedStage, costs: SettingCosts, cell: Cell) -> PlannedStage:
    """Return a stage to do with what to set, if it fits no number of GPUs."""
    fits = stage.cost.devices(costs.gpu) is not None
    if fits or stage.state not in ("to do", "damaged"):
        return stage
    fix, gpus = find_remedy(costs, stage.node, cell, costs.gpu)
    return replace(stage, fix=fix, fixed_gpus=gpus)


def _stage(node: Node, store: Store, cost: Cost, *, stored: bool) -> PlannedStage:
    if node.existing_folder:
        return PlannedStage(node, "given", cost)
    if not node.inputs:
        return PlannedStage(node, "absent", cost)
    if not has_final_key(node) or not stored:
        return PlannedStage(node, "to do", cost)
    if facts := stored_facts(store.directory(node)):
        return PlannedStage(node, "cached", cost, facts[1])
    return PlannedStage(node, "damaged", cost)  # a run sets the entry aside and rebuilds it


def has_final_key(node: Node) -> bool:
    """True if a run would give the node the same key: no rows and no model are missing."""
    own = (str(node.settings.get(name, "")) for name in ("rows", "digest"))
    missing = any(value.startswith(MISSING) for value in own)
    return not missing and all(has_final_key(upstream) for upstream in node.inputs.values())


def _line(stage: PlannedStage, here_s: Mapping[str, float], where: str | None) -> str:
    node, cost = stage.node, stage.cost
    numbers = ["-"] * 4
    here = format_seconds(here_s[node.key]) if node.key in here_s else "-"
    if cost != Cost():
        numbers = [
            f"{cost.total_flops:.1e}".replace("e+", "e") if cost.total_flops else "-",
            format_bytes(cost.device_bytes),
            format_bytes(cost.disk_bytes) if cost.disk_bytes else "-",
            format_seconds(cost.gpu_s),
        ]
    key = node.key[:8] if has_final_key(node) else "unknown"
    took = f" (took {stage.seconds:.1f} s)" if stage.seconds is not None else ""
    spread = f" ({cost.gpus} GPUs)" if cost.gpus > 1 else ""
    more = f"{took}{spread}{f' [{where}]' if where else ''}"
    label = textwrap.wrap(
        node.label + more, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT
    )
    return "\n".join([_LINE.format(node.stage, key, stage.state, *numbers, here), *label])


def _assumptions(
    setting_costs: Mapping[tuple[str, str], SettingCosts], gpu: Gpu, store: Store
) -> Iterator[str]:
    """Yield one line for each assumption."""
    tera = {dtype: f"{rate / 1e12:g}" for dtype, rate in gpu.flops.items()}
    yield "Estimates from model shapes and these assumptions; nothing was measured:"
    yield (
        "- FLOPs: 2 per weight and token in a forward pass, 6 in training (Kaplan et al. 2020), 4 "
        "if the weight is frozen, plus attention between tokens over half of each text."
    )
    yield (
        f"- {gpu.name}: {tera['bfloat16']} TFLOP/s in bfloat16, {tera['float32']} in float32, "
        f"{gpu.bandwidth / 1e12:g} TB/s (data sheet). Stages reach {gpu.utilisation:g} of the "
        "FLOP/s (--utilisation). Texts are generated and scored in float32; training runs in the "
        "pair's dtype."
    )
    yield (
        "- Decoding is bound by memory bandwidth: each pass reads all weights for "
        f"{ROWS_PER_BATCH} texts. Texts reach the length limit and no drafted token is accepted: "
        "upper bounds. Kernel launches, which dominate for small models, are not counted."
    )
    yield (
        f"- Memory: {estimates.TRAINED_WEIGHT_BYTES} bytes per trained weight (weight, gradient, "
        f"AdamW), 4 per frozen one, {estimates.ACTIVATION_BYTES} per token, dimension and layer "
        f"of a batch in 16 bits (Korthikanti et al. 2022), {CHUNK_LOGITS:,} logits at once. Disk: "
        "float32 weights "
        "and hidden states, without the checkpoints of an unfinished training."
    )
    yield (
        "- Mean tokens per row (prompt, gold answer): "
        + "; ".join(_token_means(setting_costs))
        + "."
    )
    dtypes = {costs.setting.pair.name: costs.setting.pair.dtype for costs in setting_costs.values()}
    yield f"- Dtype of training: {', '.join(f'{name} {dtype}' for name, dtype in dtypes.items())}."
    recipes = [costs.setting.recipe for costs in setting_costs.values()]
    yield from budget_lines(
        recipe.training_of(entry).budget for recipe in recipes for entry in recipe.methods
    )
    yield "- Responses are as long as gold answers, up to the length limit."
    yield from crossover_lines(setting_costs)
    yield from _measured_rate(store)


def _token_means(setting_costs: Mapping[tuple[str, str], SettingCosts]) -> Iterator[str]:
    several = len({pair for _, pair in setting_costs}) > 1
    for (task, pair), costs in setting_costs.items():
        load = next(iter(costs.gold.values()))  # of the training rows, if there are any
        means = f"{load.prompt_tokens / load.rows:.0f}, {load.response_tokens / load.rows:.0f}"
        how = "counted" if costs.counted else "assumed"
        yield f"{task}{f' for {pair}' if several else ''} {means} ({how})"


def _measured_rate(store: Store) -> Iterator[str]:
    """Yield the FLOP/s of the store's trainings on this machine's processor, if there are any."""
    here = this_machine()
    if here["accelerators"]:
        return
    flops, seconds, count = 0.0, 0.0, 0
    ledgers = [*store.root.glob(f"draft/*/{DRAFT}"), *store.root.glob(f"target/*/{TARGET}")]
    for path in sorted(ledgers):
        with suppress(UserError):  # a damaged entry: a run reports it
            made, cost = read_json(path.parent / ENTRY, _Made), read_json(path, _Trained).ledger
            if made.manifest.hardware.processor == here["processor"]:
                flops, seconds = flops + cost.flops, seconds + cost.train_s
                count += cost.train_s > 0
    if seconds:
        rate = f"{flops / seconds / 1e9:.1f} GFLOP/s"
        yield f"- This machine's processor: {count} trainings in the store reached {rate}."


def _remaining(stages: Sequence[PlannedStage]) -> StageCosts:
    return [(stage.node, stage.cost) for stage in stages if stage.state in ("to do", "damaged")]


def _totals(stages: Sequence[PlannedStage], gpu: Gpu, gpus: int) -> Iterator[str]:
    absent = [stage.node.label for stage in stages if stage.state == "absent"]
    if absent:
        yield f"Not on this machine, planned by name: {', '.join(absent)}."
    costs = _remaining(stages)
    cost = sum((cost for _, cost in costs), Cost())
    largest = max((each.device_bytes for _, each in costs), default=0.0)
    yield (
        f"{counted(len(stages), 'stage')}, {len(costs)} to do: {cost.total_flops:.2e} FLOPs, "
        f"{format_bytes(largest)} of memory at most, {format_bytes(cost.disk_bytes)} on "
        f"disk, {format_seconds(cost.gpu_s)} on one {gpu.name}."
    )
    yield from forecast_lines(costs, gpus, gpu.name)
    yield from _spread_lines(costs, gpus)
    yield from _fix_lines(stages, gpu)


def _spread_lines(costs: StageCosts, gpus: int) -> Iterator[str]:
    """Yield a line on stages whose target takes more GPUs than there are."""
    wide = [(node.stage, cost.gpus) for node, cost in costs if cost.gpus > gpus]
    if wide:
        names = ", ".join(sorted({stage for stage, _ in wide}))
        yield (
            f"The target of {len(wide)} of them ({names}) is spread over up to "
            f"{max(count for _, count in wide)} GPUs. With --gpus {gpus} the other layers wait in "
            "the processor's memory or on disk; the time to bring them for a pass is not counted."
        )


def _fix_lines(stages: Sequence[PlannedStage], gpu: Gpu) -> Iterator[str]:
    """Yield a line for each kind of stages that no number of GPUs holds, with what to set."""
    kinds: dict[str, list[PlannedStage]] = {}
    for stage in stages:
        if stage.fix:
            kinds.setdefault(stage.fix, []).append(stage)
    for fix, alike in kinds.items():
        names = ", ".join(sorted({stage.node.stage for stage in alike}))
        most = format_bytes(max(stage.cost.device_bytes for stage in alike))
        gpus = max(stage.fixed_gpus for stage in alike)
        yield (
            f"{len(alike)} of them ({names}): up to {most}, too much for one {gpu.name}; "
            f"{fix}{f' (up to {gpus} GPUs)' if gpus > 1 else ''}."
        )


def _wrap(notes: Sequence[str]) -> str:
    """Return notes as lines of at most WIDTH characters; list items hang, "< 1 s" stays whole."""
    wrapped = (
        textwrap.wrap(note, WIDTH, subsequent_indent="  " * note.startswith("- ")) or [""]
        for note in (note.replace("< ", "<\u00a0") for note in notes)
    )
    return "\n".join(line.replace("\u00a0", " ") for lines in wrapped for line in lines)
