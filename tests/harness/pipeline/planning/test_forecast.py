"""A plan on several GPUs: where stages run, GPU time by stage, the chain that none shortens."""

import re
from pathlib import Path

import pytest

from draftmark.errors import UserError
from draftmark.pipeline.experiment import plan
from draftmark.pipeline.planning import forecast, hardware, plan_table
from draftmark.pipeline.planning.estimates import Cost
from draftmark.pipeline.planning.schedule import critical_path
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.store.graph import Node
from draftmark.store.store import Store

H100 = hardware.machine("h100", 0.3)


def _node(name: str, stage: str = "draft", before: Node | None = None, processes: int = 1) -> Node:
    inputs = {"before": before} if before else {}
    return Node(stage, name, {"name": name}, inputs, (), processes=processes)


def _costs() -> list[tuple[Node, Cost]]:
    """Return a target of an hour, two drafts of two and of one after it, and a grade."""
    target = _node("t", "target")
    long, short = _node("long", before=target), _node("short", before=target)
    grade = _node("g", "grades", long)
    hours = [(target, 1), (long, 2), (short, 1), (grade, 0)]
    return [(node, Cost(gpu_s=3600.0 * each)) for node, each in hours]


def test_gpu_time_by_stage_the_schedule_and_its_bound_by_hand() -> None:
    costs = _costs()
    lines = list(forecast.totals(costs, forecast.schedule(costs, 2), "H100"))

    assert lines == [
        "Time of one H100 by stage: target 60 min, draft 3.0 h, together 4.0 h.",
        "On 2 of them 3.0 h, 67% of their time in use (simulated); no schedule is shorter than "
        "3.0 h.",
        "The longest chain, 3.0 h: target: t (60 min); then draft: long (2.0 h).",
    ]
    _, shared, _ = forecast.totals(costs, forecast.schedule(costs, 1), "H100")
    assert shared.startswith("On 1 of them 4.0 h, 100% of their time in use")


def test_every_stage_has_its_place_and_what_holds_no_model_runs_on_a_processor() -> None:
    costs = _costs()
    labels = {node.key: node.label for node, _ in costs}

    places = forecast.places(forecast.schedule(costs, 2))

    assert {labels[key]: place for key, place in places.items()} == {
        "t": "GPU 0 from < 1 s",
        "long": "GPU 0 from 60 min",
        "short": "GPU 1 from 60 min",
        "g": "processor",
    }


def test_a_training_of_several_processes_is_as_much_shorter_on_as_many_gpus() -> None:
    costs = [(_node("wide", processes=4), Cost(gpu_s=3600.0))]

    made = forecast.schedule(costs, 4)

    assert (made.makespan, made.efficiency) == (900.0, 1.0)
    assert list(forecast.places(made).values()) == ["GPUs 0, 1, 2, 3 from < 1 s"]
    with pytest.raises(UserError, match=r"wide: training.processes = 4, but --gpus 2"):
        forecast.schedule(costs, 2)


def test_nothing_to_do_takes_no_time_and_says_so_by_silence() -> None:
    assert list(forecast.totals([], forecast.schedule([], 8), "H100")) == []


def test_a_plan_on_several_gpus_fits_a_hundred_columns_and_places_every_stage(
    tmp_path: Path,
) -> None:
    text = plan_table.show("quickstart", tmp_path, H100, gpus=4, tasks=["gsm8k"])

    assert max(map(len, text.splitlines())) <= plan_table.WIDTH
    flat = " ".join(text.split())
    assert len(re.findall(r"\[(?:processor|GPU \d from [^\]]+)\]", flat)) == 32
    assert "On 4 of them" in flat
    assert "The longest chain" in flat


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["adaspec_qwen", "csd_gpt2"])
def test_the_papers_recipes_last_within_the_bounds_of_every_schedule(recipe: str) -> None:
    prepared = plan(load_recipe(recipe), Progress(quiet=True), complete=False)
    _, stages = plan_table.table(prepared, Store(Path("nowhere")), H100)
    costs = [(stage.node, stage.cost) for stage in stages if stage.state == "to do"]
    works = forecast.works(costs)
    together = sum(work.gpu_s for work in works.values())
    chain = sum(works[key].seconds for key in critical_path(works))

    one, many = (forecast.schedule(costs, gpus).makespan for gpus in (1, 64))

    assert one == pytest.approx(together)
    assert max(chain, together / 64) <= many <= chain + together / 64
