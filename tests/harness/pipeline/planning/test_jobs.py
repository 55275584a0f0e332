"""How many stages run at once by default: by cores, memory, time saved and what waits for what."""

from pathlib import Path
from typing import Any

import pytest

from draftmark.config.recipe import Recipe
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.planning import jobs
from draftmark.pipeline.planning.estimates import find_gpu, format_seconds
from draftmark.pipeline.planning.jobs import (
    WORTH_S,
    available_cores,
    available_memory,
    default_jobs,
    most_in_memory,
    on_threads,
    plan_jobs,
    schedule_on,
)
from draftmark.pipeline.planning.needs import Needs
from draftmark.pipeline.planning.plan_table import tabulate_plan
from draftmark.pipeline.planning.schedule import StageRun
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.store.store import Store

QUIET = Progress(quiet=True)


@pytest.fixture
def nowhere(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Return the facts of a machine with 2 cores and no limits; a test may change them."""
    facts: dict[str, Any] = {"cores": 2, "accelerators": []}
    monkeypatch.setattr(jobs, "machine_facts", lambda: facts)
    monkeypatch.setattr(jobs, "_CONTROL_GROUP", tmp_path)
    monkeypatch.setattr(jobs, "available_memory", lambda: 16e9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return facts


def _quickstart(**changes: Any) -> Plan:
    document = load_recipe("quickstart").model_dump(mode="json")
    return plan_experiment(Recipe(**{**document, "tasks": ["gsm8k"], **changes}), QUIET)


def _chain(length: int, seconds: float) -> dict[str, StageRun]:
    return {f"{n}": StageRun(seconds, 1, (f"{n - 1}",) if n else ()) for n in range(length)}


def _apart(count: int, seconds: float) -> dict[str, StageRun]:
    return {f"{n}": StageRun(seconds) for n in range(count)}


def test_stages_that_do_not_wait_for_each_other_bound_the_processes() -> None:
    assert default_jobs(_apart(3, 100.0), 8) == 3
    assert default_jobs(_apart(20, 100.0), 8) == 8
    assert default_jobs(_chain(20, 100.0), 8) == 1
    assert default_jobs({}, 8) == 1


def test_processes_that_save_little_are_not_started() -> None:
    assert default_jobs(_apart(2, WORTH_S - 1), 2) == 1
    assert default_jobs(_apart(2, WORTH_S + 1), 2) == 2


def test_a_stage_that_takes_times_fills_every_process() -> None:
    timed = {"timed": StageRun(5.0, gpus=0)}

    assert schedule_on(_apart(4, 3.0) | timed, 2).makespan == 11.0
    assert schedule_on(_apart(4, 3.0) | timed, 1).makespan == 17.0
    assert schedule_on(timed, 2).busiest == 1
    assert schedule_on(_apart(4, 3.0) | timed, 4).busiest == 4


def test_memory_bounds_the_processes_by_the_smallest_stages() -> None:
    assert most_in_memory([4, 3, 9, 0], 8) == 2
    assert most_in_memory([9], 8) == 1
    assert most_in_memory([0, 0, 0], 8) == 3


def test_a_container_has_the_cores_and_the_memory_that_it_may_use(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(jobs, "machine_facts", lambda: machine)
    monkeypatch.setattr(jobs, "_CONTROL_GROUP", tmp_path)
    machine["cores"] = 64
    assert available_cores() == 64
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_cores() == 64
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert available_cores() == 2
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert available_cores() == 1

    free = available_memory()
    assert free > 10**8
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5000\n")
    assert available_memory() > 10**8
    (tmp_path / "memory.max").write_text("9000\n")
    assert available_memory() == 4000


def test_a_run_takes_as_many_processes_as_cores_over_threads(
    machine: dict[str, Any], nowhere: Store
) -> None:
    assert plan_jobs(_quickstart(), nowhere).jobs == 2
    assert plan_jobs(_quickstart(threads=2), nowhere).jobs == 1
    assert plan_jobs(_quickstart(threads=None), nowhere).jobs == 1  # torch takes every core
    machine["cores"] = 9
    assert plan_jobs(_quickstart(threads=2), nowhere).jobs == 4


def test_threads_of_the_environment_count_where_the_recipe_names_none(
    nowhere: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    assert plan_jobs(_quickstart(threads=None), nowhere).jobs == 2


def test_on_a_gpu_stages_run_in_turn_unless_the_user_says_otherwise(
    machine: dict[str, Any], nowhere: Store
) -> None:
    machine["accelerators"] = ["NVIDIA H200"]
    planned = plan_jobs(_quickstart(), nowhere)

    assert planned.jobs == 1
    assert planned.describe() == f"{planned.stages} stages to do."
    assert plan_jobs(_quickstart(), nowhere, 3).jobs == 3


def test_the_estimate_is_said_with_the_processes_and_with_one(nowhere: Store) -> None:
    planned = plan_jobs(_quickstart(), nowhere)

    assert planned.seconds is not None
    assert planned.serial_s / 2 < planned.seconds < planned.serial_s
    assert planned.describe().startswith(
        f"{planned.stages} stages to do, 2 at once (--jobs): about"
    )
    assert planned.describe().endswith("with --jobs 1, by a rough estimate.")
    alone = plan_jobs(_quickstart(), nowhere, 1)
    assert alone.seconds == planned.serial_s
    assert "at once" not in alone.describe()


def test_each_stage_to_do_has_its_time_here_except_beside_a_gpu(
    machine: dict[str, Any], nowhere: Store
) -> None:
    plan = _quickstart()
    alone = plan_jobs(plan, nowhere, 1)
    assert len(alone.stage_s) == alone.stages
    assert sum(alone.stage_s.values()) == pytest.approx(alone.serial_s)
    text, _ = tabulate_plan(plan, nowhere, find_gpu("h100"))
    key, seconds = max(alone.stage_s.items(), key=lambda item: item[1])
    (line,) = [line for line in text.splitlines() if f" {key[:8]} " in line]
    assert line.endswith(f" {format_seconds(seconds)}")
    machine["accelerators"] = ["NVIDIA H200"]
    assert not plan_jobs(plan, nowhere).stage_s


def test_more_threads_compute_faster() -> None:
    assert on_threads(4).compute_s(1e12, "float32") == on_threads(1).compute_s(1e12, "float32") / 4


def test_a_model_of_unknown_shape_runs_too_and_its_times_are_taken_alone(
    nowhere: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any) -> None:
        raise TypeError

    monkeypatch.setattr("draftmark.models.shapes.model_shape", unknown)
    plan = _quickstart()
    planned = plan_jobs(plan, nowhere)

    assert (planned.jobs, plan_jobs(plan, nowhere, 2).jobs) == (1, 2)
    assert planned.describe() == f"{planned.stages} stages to do."
    alone = {node.stage for node in plan.nodes if planned.needs.get(node.key, Needs()).alone}
    assert alone == {"decodes"}
