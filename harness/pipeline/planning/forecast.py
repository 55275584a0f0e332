"""What a plan comes to on several GPUs: which stage runs where, how long it all takes, and why."""

from collections.abc import Iterator, Mapping, Sequence

from draftmark.errors import UserError
from draftmark.pipeline.planning.estimates import Cost
from draftmark.pipeline.planning.schedule import Schedule, Work, critical_path, simulate
from draftmark.pipeline.planning.units import duration
from draftmark.store.graph import Node

Costs = Sequence[tuple[Node, Cost]]  # of stages that are to do, inputs first

ASSUMED = (
    "- On several GPUs: a stage that holds a model has as many as training.processes says, and is "
    "as much faster; the others run on processors, and no time is counted for them, nor for "
    "loading models, reading the store or handing out stages."
)


def works(costs: Costs) -> dict[str, Work]:
    """Return the stages as works to be scheduled, by key, inputs first."""
    return {
        node.key: Work(
            cost.gpu_s / node.processes,
            node.processes if cost.gpu_s else 0,
            tuple(upstream.key for upstream in node.inputs.values()),
        )
        for node, cost in costs
    }


def schedule(costs: Costs, gpus: int) -> Schedule:
    """Return when and where stages run; raises UserError if one needs more GPUs than there are."""
    for node, _ in costs:
        if node.processes > gpus:
            raise UserError(
                f"{node.label}: training.processes = {node.processes}, but --gpus {gpus}; name at "
                "least as many."
            )
    return simulate(works(costs), gpus)


def places(made: Schedule) -> dict[str, str]:
    """Return where each stage runs and from when, in words, by key."""
    return {
        key: f"{_named(slot.gpus)} from {duration(slot.start)}" if slot.gpus else "processor"
        for key, slot in made.slots.items()
    }


def _named(gpus: Sequence[int]) -> str:
    return f"GPU{'s' * (len(gpus) > 1)} {', '.join(map(str, sorted(gpus)))}"


def totals(costs: Costs, made: Schedule, gpu: str) -> Iterator[str]:
    """Yield the GPU time by stage, how long all takes, and the chain that no GPU shortens."""
    todo = works(costs)
    if not made.makespan:
        return
    yield f"Time of one {gpu} by stage: {', '.join(_by_stage(costs, todo))}."
    whole = sum(work.gpu_s for work in todo.values())
    path = critical_path(todo)
    chain = sum(todo[key].seconds for key in path)
    yield (
        f"On {made.gpus} of them {duration(made.makespan)}, {made.efficiency:.0%} of their time in "
        f"use (simulated); no schedule is shorter than {duration(max(whole / made.gpus, chain))}."
    )
    labels = {node.key: f"{node.stage}: {node.label}" for node, _ in costs}
    links = [f"{labels[key]} ({duration(todo[key].seconds)})" for key in path if todo[key].seconds]
    yield f"The longest chain, {duration(chain)}: {'; then '.join(links)}."


def _by_stage(costs: Costs, todo: Mapping[str, Work]) -> Iterator[str]:
    found: dict[str, float] = {}
    for node, _ in costs:
        found[node.stage] = found.get(node.stage, 0.0) + todo[node.key].gpu_s
    for stage, seconds in found.items():
        if seconds:
            yield f"{stage} {duration(seconds)}"
    yield f"together {duration(sum(found.values()))}"
