"""Every stage reads a spread target as a whole one: the same keys, the same bytes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from draftmark.config.recipe import Recipe
from draftmark.pipeline.executor import execute_stages
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.store.store import Store

SPLIT = {"cpu": "4MB"}  # of the tiny target's 6.8 MB: five of eight layers stay on disk
TIMED = ("decodes", "parts")
METHODS: list[dict[str, Any]] = [
    {"name": "kd", "training": {"text": "mixture", "mixture": {"target": 0.5, "draft": 0.5}}},
    {"name": "eagle3", "from_layer": 7, "depth": 1, "training": {"features": "live"}},
]


def planned(placement: Any, **changes: Any) -> Plan:
    document = load_recipe("quickstart").model_dump(mode="json")
    document["data"] |= {"train_rows": 4, "validation_rows": 2, "test_rows": 2}
    document["training"] |= {"passes": 1, "rows_per_batch": 2, "validations": 1}
    document["evaluation"] |= {"max_new_tokens": 4, "temperatures": [1.0]}
    pair = {"name": "tiny", "target": "tiny-target", "draft": {"pruned": [0, 7]}}
    pair |= {"dtype": "bfloat16"}  # another than that of reading
    document |= {"tasks": ["gsm8k"], "speed": False, "methods": METHODS}
    document |= {"pairs": [{**pair, "placement": placement}], **changes}
    return plan_experiment(Recipe(**document), Progress(quiet=True))


def test_every_stage_gives_the_same_under_the_same_key(tmp_path: Path) -> None:
    made: list[dict[str, Path]] = []
    for number, placement in enumerate(("single", SPLIT)):
        plan = planned(placement)
        store = Store(tmp_path / str(number))
        assert execute_stages(plan.nodes, store, Progress(quiet=True)) == {}
        made.append({node.key: store.load(node).directory for node in plan.nodes if node.inputs})
    whole, spread = made
    assert whole.keys() == spread.keys()
    for key, folder in whole.items():
        names = {path.name for path in folder.iterdir()}
        assert names == {path.name for path in spread[key].iterdir()}
        for name in names - {"entry.json", "entry.sha256", "draft.json"}:
            _compare(folder / name, spread[key] / name)


def _compare(own: Path, other: Path) -> None:
    if own.suffix != ".safetensors":
        assert own.read_bytes() == other.read_bytes(), own
        return
    weights = load_file(other)
    for name, value in load_file(own).items():
        assert torch.equal(value, weights[name]), (own, name)


def test_only_times_depend_on_the_placement() -> None:
    speed = {"engine": "reference", "blocks": 2, "prompts_per_block": 1, "cost_model": True}
    whole, auto, split = (planned(each, speed=speed) for each in ("single", "auto", SPLIT))
    same = {node.key for node in whole.nodes} & {node.key for node in split.nodes}
    changed = [node for node in split.nodes if node.key not in same]
    timed = {node.key for node in changed if node.stage in TIMED}
    assert {node.stage for node in changed} == {*TIMED, "grades"}
    assert all(timed & {node.key, *(one.key for one in node.inputs.values())} for node in changed)
    assert {node.stage for node in split.nodes if node.key in same}.isdisjoint(TIMED)
    assert {node.key for node in auto.nodes} != {node.key for node in split.nodes}
    assert "placement" not in whole.recipe.pairs[0].model_dump()


@pytest.mark.slow
def test_engines_that_loop_here_are_timed_with_a_spread_target(tmp_path: Path) -> None:
    speed = {"engine": ["reference", "transformers"], "blocks": 2, "prompts_per_block": 1}
    plan = planned(SPLIT, speed={**speed, "cost_model": True}, methods=[{"name": "kd"}])
    timed = [node for node in plan.nodes if node.stage in TIMED]
    assert len(timed) == 3
    assert execute_stages(timed, Store(tmp_path), Progress(quiet=True)) == {}
