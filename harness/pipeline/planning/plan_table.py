"""What a run would do, before it does it: every stage, which are cached, and what the rest costs.

No model file and no network are needed: what is not here is planned by its name.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from draftmark.data.rows import MISSING
from draftmark.pipeline import experiment
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.planning import assumptions, forecast
from draftmark.pipeline.planning.estimates import Cost, total
from draftmark.pipeline.planning.hardware import Machine
from draftmark.pipeline.planning.schedule import Schedule
from draftmark.pipeline.planning.stage_costs import Site
from draftmark.pipeline.planning.units import duration, size
from draftmark.pipeline.recipe_files import load_recipe, members
from draftmark.progress import Progress
from draftmark.store.entries import ENTRY
from draftmark.store.graph import Node, topological
from draftmark.store.store import Store

WIDTH = 100
_HEADER = ("stage", "key", "state", "FLOPs", "memory", "disk", "GPU", "what")
_LINE = "{:11} {:8} {:7} {:>7} {:>7} {:>7} {:>7}  {}"
_INDENT = len(_LINE.format(*[""] * len(_HEADER)))


@dataclass(frozen=True)
class Stage:
    """A node with where it stands and what making it costs."""

    node: Node
    state: str  # given, absent, cached, damaged, to do
    cost: Cost
    seconds: float | None = None  # that making it took, if it is cached


def show(
    recipe: str,
    store: Path,
    machine: Machine,
    *,
    gpus: int = 1,
    data: Path | None = None,
    tasks: Sequence[str] | None = None,
) -> str:
    """Return the plan of a recipe, or of each recipe of a suite and of all together, as text."""
    kept, names, texts = Store(store), members(recipe), []
    every: dict[str, Stage] = {}
    for name in names:
        loaded = load_recipe(name, tasks=tasks)
        plan = experiment.plan(loaded, Progress(), data=data, complete=False)
        title = [f"{name}: {loaded.title}", ""] if len(names) > 1 else []
        text, stages = table(plan, kept, machine, gpus)
        texts.append("\n".join([*title, text]))
        every |= {stage.node.key: stage for stage in stages}
    if len(names) > 1:
        made = _schedule(list(every.values()), gpus)
        totals = _totals(list(every.values()), machine, made)
        notes = [f"All of {recipe}, shared stages once:", *totals]
        texts.append("\n".join(line for note in notes for line in _wrapped(note)))
    return "\n\n\n".join(texts)


def table(plan: Plan, store: Store, machine: Machine, gpus: int = 1) -> tuple[str, list[Stage]]:
    """Return a line for each stage under its task and pair, the totals, and what they rest on.

    With the stages themselves. Of several GPUs each line says which one the stage would run on.
    """
    sites = {key: Site.of(setting, machine) for key, setting in plan.settings.items()}
    found = _stages(plan, sites, store)
    every = [stage for stages in found.values() for stage in stages]
    made = _schedule(every, gpus)
    where = forecast.places(made) if gpus > 1 else {}
    lines = [_LINE.format(*_HEADER)]
    for key, stages in found.items():
        lines += ["", ", ".join(key)]
        lines += [_line(stage, where.get(stage.node.key)) for stage in stages]
    notes = [*assumptions.of(sites, machine, store), forecast.ASSUMED, ""]
    notes += _totals(every, machine, made)
    return "\n".join([*lines, "", *(line for note in notes for line in _wrapped(note))]), every


def _stages(
    plan: Plan, sites: Mapping[tuple[str, str], Site], store: Store
) -> dict[tuple[str, str], list[Stage]]:
    """Return every stage once, under the first task and pair that need it."""
    found: dict[tuple[str, str], list[Stage]] = {key: [] for key in sites}
    seen: set[str] = set()
    missing = store.missing(plan.nodes)
    for cell, nodes in plan.cells.items():
        key = (cell.task, cell.pair)
        for node in topological(nodes.all()):
            if node.key not in seen:
                seen.add(node.key)
                cost = sites[key].cost(node, cell)
                found[key].append(_stage(node, store, cost, made=node.key not in missing))
    return found


def _stage(node: Node, store: Store, cost: Cost, *, made: bool) -> Stage:
    if node.existing_folder:
        return Stage(node, "given", cost)
    if not node.inputs:
        return Stage(node, "absent", cost)
    if not known(node) or not made:
        return Stage(node, "to do", cost)
    try:
        entry = json.loads((store.directory(node) / ENTRY).read_text("utf-8"))
        return Stage(node, "cached", cost, float(entry["seconds"]))
    except (ValueError, KeyError, TypeError):
        return Stage(node, "damaged", cost)  # a run sets it aside and makes it again


def known(node: Node) -> bool:
    """Say whether a node's key is the one that a run would have: nothing it rests on is missing."""
    own = (str(node.settings.get(name, "")) for name in ("rows", "digest"))
    missing = any(value.startswith(MISSING) for value in own)
    return not missing and all(known(upstream) for upstream in node.inputs.values())


def _line(stage: Stage, where: str | None) -> str:
    node, cost = stage.node, stage.cost
    numbers = ["-"] * 4
    if cost != Cost():
        numbers = [
            f"{cost.all_flops:.1e}".replace("e+", "e") if cost.all_flops else "-",
            size(cost.peak_bytes),
            size(cost.disk_bytes) if cost.disk_bytes else "-",
            duration(cost.gpu_s),
        ]
    key = node.key[:8] if known(node) else "unknown"
    took = f" (took {stage.seconds:.1f} s)" if stage.seconds is not None else ""
    label = textwrap.wrap(node.label + took + (f" [{where}]" if where else ""), WIDTH - _INDENT)
    first = _LINE.format(node.stage, key, stage.state, *numbers, label[0])
    return "\n".join([first, *(" " * _INDENT + rest for rest in label[1:])])


def _waiting(stages: Sequence[Stage]) -> list[Stage]:
    return [stage for stage in stages if stage.state in ("to do", "damaged")]


def _schedule(stages: Sequence[Stage], gpus: int) -> Schedule:
    return forecast.schedule([(stage.node, stage.cost) for stage in _waiting(stages)], gpus)


def _totals(stages: Sequence[Stage], machine: Machine, made: Schedule) -> Iterator[str]:
    absent = [stage.node.label for stage in stages if stage.state == "absent"]
    waiting = _waiting(stages)
    if absent:
        yield f"Not here, and planned by name: {', '.join(absent)}."
    cost = total([stage.cost for stage in waiting])
    yield (
        f"{len(stages)} stages, {len(waiting)} to do: {cost.all_flops:.2e} FLOPs, "
        f"{size(cost.peak_bytes)} of memory at most, {size(cost.disk_bytes)} on disk, "
        f"{duration(cost.gpu_s)} on one {machine.gpu.name}."
    )
    costs = [(stage.node, stage.cost) for stage in waiting]
    yield from forecast.totals(costs, made, machine.gpu.name)
    beyond = [s.node for s in waiting if s.cost.peak_bytes > machine.gpu.memory_bytes]
    if beyond:
        kinds = ", ".join(sorted({node.stage for node in beyond}))
        yield (
            f"{len(beyond)} of them ({kinds}) need more memory than one {machine.gpu.name} has, "
            "and draftmark runs a stage on one: they would fail there."
        )


def _wrapped(note: str) -> list[str]:
    indent = "  " if note.startswith("- ") else ""
    return textwrap.wrap(note, WIDTH, subsequent_indent=indent) or [""]
