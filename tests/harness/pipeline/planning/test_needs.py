"""What stages ask a cluster for: GPUs where there are any, quiet for what takes times."""

from typing import Any

import pytest

from draftmark.config.recipe import Recipe
from draftmark.errors import UserError
from draftmark.pipeline.cluster.fleet import ray_options
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.planning.needs import BASE_BYTES, Needs, stage_needs
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress

SMALL, LARGE = {"CPU": 4.0, "memory": 8e9}, {"CPU": 16.0, "memory": 32e9}
GPU = {"CPU": 8.0, "memory": 64e9, "GPU": 4.0}


def _needs(**changes: Any) -> dict[tuple[str, str], Needs]:
    """Return the needs of the quickstart's stages on one task, by stage and label."""
    document = load_recipe("quickstart").model_dump(mode="json")
    document["data"] |= {"train_rows": 8, "validation_rows": 4, "test_rows": 5}
    prepared = plan_experiment(
        Recipe(**{**document, "tasks": ["gsm8k"], **changes}), Progress(quiet=True)
    )
    needed = stage_needs(prepared)
    return {(node.stage, node.label): needed[node.key] for node in prepared.nodes}


def test_what_holds_a_model_takes_a_gpu_and_memory_and_grading_takes_none() -> None:
    for (stage, label), needs in _needs().items():
        holds_a_model = stage in ("features", "scores", "likelihoods", "decodes") or (
            "responses" in label or label == "draft kd, seed 0"
        )
        if stage == "grades" or not holds_a_model:
            continue
        assert (needs.gpus, needs.cpus) == (1, 1), label
        assert needs.memory_bytes > BASE_BYTES
    grades = [needs for (stage, _), needs in _needs().items() if stage == "grades"]
    assert {(needs.gpus, needs.memory_bytes) for needs in grades} == {(0, 0)}


def test_only_what_takes_times_is_alone() -> None:
    speed = load_recipe("quickstart").model_dump(mode="json")["speed"]
    for cost_model, timed in ((False, {"decodes"}), (True, {"decodes", "parts"})):
        found = _needs(speed={**speed, "cost_model": cost_model})
        alone = {key: needs for key, needs in found.items() if needs.alone}
        assert {stage for stage, _ in alone} == timed
        assert all(needs.gpus == 1 and needs.memory_bytes > BASE_BYTES for needs in alone.values())


def test_a_training_in_several_processes_takes_as_many_of_each() -> None:
    training = load_recipe("quickstart").training.model_dump(mode="json")
    found = _needs(training={**training, "processes": 2}, threads=3)

    needs = found["draft", "draft kd, seed 0"]
    assert (needs.gpus, needs.cpus) == (2, 6)
    assert found["draft", "draft untrained, seed 0"].cpus == 3


def test_a_stage_asks_for_no_gpu_where_there_is_none() -> None:
    needs = Needs(cpus=2, gpus=2, memory_bytes=10**9)

    assert ray_options(needs, [SMALL, LARGE], "draft") == {"num_cpus": 2, "memory": 10**9}
    told = ray_options(needs, [LARGE, GPU], "draft")
    assert told == {"num_cpus": 2, "memory": 10**9, "num_gpus": 2}


def test_a_stage_asks_for_no_more_than_the_machine_that_may_run_it_has() -> None:
    needs = Needs(cpus=32, gpus=1, memory_bytes=10**12)

    assert ray_options(needs, [SMALL, LARGE], "draft") == {"num_cpus": 16, "memory": 32e9}
    assert ray_options(needs, [LARGE, GPU], "draft") == {
        "num_cpus": 8,
        "memory": 64e9,
        "num_gpus": 1,
    }


def test_a_stage_that_is_to_be_alone_asks_for_all_processors_of_the_largest_machine() -> None:
    assert ray_options(Needs(alone=True), [SMALL, LARGE], "decodes")["num_cpus"] == 16


def test_more_gpus_than_any_machine_has_are_a_mistake_with_its_mend() -> None:
    with pytest.raises(UserError, match=r"draft kd: training.processes = 8, .* 4 GPUs; lower it"):
        ray_options(Needs(gpus=8), [GPU, LARGE], "draft kd")
