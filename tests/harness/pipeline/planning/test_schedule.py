"""Simulated schedules: bounds for every graph, cases by hand, a thousand cells, the plan's text."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.errors import UserError
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.planning import plan_table
from draftmark.pipeline.planning.estimates import Cost, find_gpu
from draftmark.pipeline.planning.schedule import (
    Schedule,
    StageRun,
    critical_path,
    forecast_lines,
    longest_chain_s,
    schedule_stages,
    simulate_schedule,
    stage_placements,
    stage_runs,
)
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.store.graph import Node
from draftmark.store.store import Store

H100 = find_gpu("h100")


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, StageRun]:
    """Return stages, each with inputs among the earlier ones."""
    runs: dict[str, StageRun] = {}
    for index in range(draw(st.integers(1, 12))):
        inputs = draw(st.sets(st.sampled_from(list(runs)), max_size=3)) if runs else set()
        seconds = draw(st.integers(0, 5))
        runs[str(index)] = StageRun(seconds, draw(st.integers(0, 1)), tuple(sorted(inputs)))
    return runs


def _gpus_in_use(schedule: Schedule, moment: float) -> list[int]:
    running = [slot for slot in schedule.slots.values() if slot.start <= moment < slot.end]
    return [gpu for slot in running for gpu in slot.gpus]


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(1, 4))
def test_a_schedule_keeps_order_shares_no_gpu_and_lasts_within_the_bounds(
    runs: dict[str, StageRun], gpus: int
) -> None:
    schedule = simulate_schedule(runs, gpus)

    assert schedule.slots.keys() == runs.keys()
    for key, slot in schedule.slots.items():
        assert all(schedule.slots[up].end <= slot.start for up in runs[key].inputs)
        assert len(slot.gpus) == runs[key].gpus
        used = _gpus_in_use(schedule, slot.start)
        assert len(set(used)) == len(used)
        assert set(used) <= set(range(gpus))
    chain = sum(runs[key].seconds for key in critical_path(runs))
    shared = sum(work.gpu_s for work in runs.values()) / gpus
    assert max(chain, shared) <= schedule.makespan <= chain + shared
    assert 0 <= schedule.efficiency <= 1


def test_the_longest_chain_starts_first() -> None:
    runs = {"a": StageRun(1), "b": StageRun(1), "c": StageRun(1), "d": StageRun(3, inputs=("c",))}

    assert longest_chain_s(runs) == {"a": 1, "b": 1, "c": 4, "d": 3}
    assert critical_path(runs) == ["c", "d"]
    schedule = simulate_schedule(runs, 2)
    assert (schedule.slots["c"].start, schedule.makespan, schedule.efficiency) == (0, 4, 6 / 8)


def test_a_stage_on_several_gpus_waits_until_all_are_free() -> None:
    runs = {"long": StageRun(2), "wide": StageRun(1, gpus=2), "short": StageRun(0.5)}

    schedule = simulate_schedule(runs, 2)

    assert schedule.slots["wide"].gpus == (0, 1)
    assert schedule.slots["wide"].start == 2
    assert schedule.slots["short"].end == 0.5
    with pytest.raises(ValueError, match="2 GPUs of 1"):
        simulate_schedule(runs, 1)


def test_a_stage_without_a_gpu_waits_for_no_gpu() -> None:
    runs = {"gpu": StageRun(5), "a": StageRun(2, gpus=0), "b": StageRun(2, gpus=0, inputs=("a",))}

    assert simulate_schedule(runs, 1).slots["b"].end == 4


def test_an_input_outside_the_graph_counts_as_finished() -> None:
    assert simulate_schedule({"a": StageRun(1, inputs=("made before",))}, 1).makespan == 1


def _cells(count: int) -> dict[str, StageRun]:
    """Return the stages of the cells: per task and pair 5 methods with 5 seeds each."""
    draw, runs = random.Random(0), dict[str, StageRun]()
    for site in range(count // 25):
        size = draw.uniform(0.5, 2.0)
        runs[f"{site} texts"] = StageRun(600 * size)
        runs[f"{site} features"] = StageRun(120 * size, inputs=(f"{site} texts",))
        for cell in range(25):
            name = f"{site} {cell}"
            draft = StageRun(draw.uniform(600, 1800) * size, inputs=(f"{site} features",))
            runs[f"{name} draft"] = draft
            runs[f"{name} scores"] = StageRun(60 * size, inputs=(f"{name} draft",))
            runs[f"{name} decodes"] = StageRun(300 * size, inputs=(f"{name} draft",))
            runs[f"{name} grades"] = StageRun(0, 0, (f"{name} decodes",))
    return runs


def test_doubling_the_gpus_is_nine_tenths_efficient_on_a_thousand_cells() -> None:
    runs = _cells(1000)
    spans = {gpus: simulate_schedule(runs, gpus).makespan for gpus in (1, 2, 4, 8, 16, 32, 64)}

    for gpus in (1, 2, 4, 8, 16, 32):
        assert spans[gpus] / spans[2 * gpus] >= 2 * 0.9
    assert simulate_schedule(runs, 64).efficiency >= 0.9


def _node(name: str, stage: str = "draft", before: Node | None = None, processes: int = 1) -> Node:
    inputs = {"before": before} if before else {}
    return Node(stage, name, {"name": name}, inputs, (), processes=processes)


def _costs() -> list[tuple[Node, Cost]]:
    """Return a target of one hour, drafts of two hours and one hour, and a grade."""
    target = _node("t", "target")
    long, short = _node("long", before=target), _node("short", before=target)
    grade = _node("g", "grades", long)
    hours = [(target, 1), (long, 2), (short, 1), (grade, 0)]
    return [(node, Cost(gpu_s=3600.0 * each)) for node, each in hours]


def test_forecast_by_hand() -> None:
    costs = _costs()
    lines = list(forecast_lines(costs, 2, "H100"))

    assert lines == [
        "Time on one H100 by stage: target 60 min, draft 3.0 h, total 4.0 h.",
        "With --gpus 2: 3.0 h, 67% of GPU time in use (simulated). No schedule is shorter than "
        "3.0 h.",
        "Longest chain of stages, 3.0 h: target: t (60 min); then draft: long (2.0 h).",
    ]
    _, shared, _ = forecast_lines(costs, 1, "H100")
    assert shared.startswith("With --gpus 1: 4.0 h, 100% of GPU time in use")


def test_every_stage_is_placed_and_one_without_a_model_on_a_processor() -> None:
    costs = _costs()
    labels = {node.key: node.label for node, _ in costs}

    places = stage_placements(costs, 2)

    assert {labels[key]: place for key, place in places.items()} == {
        "t": "GPU 0 from < 1 s",
        "long": "GPU 0 from 60 min",
        "short": "GPU 1 from 60 min",
        "g": "processor",
    }


def test_a_training_of_four_processes_takes_a_quarter_of_the_time_on_four_gpus() -> None:
    costs = [(_node("wide", processes=4), Cost(gpu_s=3600.0))]

    schedule = schedule_stages(costs, 4)

    assert (schedule.makespan, schedule.efficiency) == (900.0, 1.0)
    assert list(stage_placements(costs, 4).values()) == ["GPUs 0, 1, 2, 3 from < 1 s"]
    with pytest.raises(
        UserError, match=r"wide: training.processes = 4 needs as many GPUs, but --gpus is 2"
    ):
        schedule_stages(costs, 2)


def test_the_forecast_of_nothing_is_empty() -> None:
    assert list(forecast_lines([], 8, "H100")) == []


def test_a_plan_on_several_gpus_fits_a_hundred_columns_and_places_every_stage(
    tmp_path: Path,
) -> None:
    text = plan_table.render_plan("quickstart", tmp_path, H100, gpus=4, tasks=["gsm8k"])

    assert max(map(len, text.splitlines())) <= plan_table.WIDTH
    flat = " ".join(text.split())
    assert len(re.findall(r"\[(?:processor|GPU \d from [^\]]+)\]", flat)) == 32
    assert "With --gpus 4: " in flat
    assert "Longest chain of stages" in flat


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["adaspec_qwen", "csd_gpt2"])
def test_the_papers_recipes_stay_within_the_bounds_of_list_scheduling(recipe: str) -> None:
    prepared = plan_experiment(load_recipe(recipe), Progress(quiet=True), complete=False)
    _, stages = plan_table.tabulate_plan(prepared, Store(Path("nowhere")), H100)
    costs = [(stage.node, stage.cost) for stage in stages if stage.state == "to do"]
    runs = stage_runs(costs, 64)
    together = sum(work.gpu_s for work in runs.values())
    chain = sum(runs[key].seconds for key in critical_path(runs))
    widest = max(work.gpus for work in runs.values())

    least, many = (schedule_stages(costs, gpus).makespan for gpus in (widest, 64))

    assert together / widest <= least * (1 + 1e-9) <= chain + together
    # Graham's bound, where a stage of several GPUs waits for at most `widest` - 1 idle ones.
    assert max(chain, together / 64) <= many <= chain + together / (65 - widest)
