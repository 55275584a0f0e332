"""A run whose target and drafts train in parts, by two processes, is the run of one process."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from draftmark.config.recipe import Recipe
from draftmark.models.files import own_models
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.store.records import DRAFT, TARGET
from draftmark.store.store import Store

IN_PARTS = {"processes": 2, "sharded": True, "rows_at_once": 1}
FINE_TUNE: dict[str, Any] = {"passes": 1, "rows_per_batch": 3, "learning_rate": 3e-4}
WEIGHTS = "model.safetensors"


def _planned(**parts: Any) -> Plan:
    """Return the plan of a target tuned on rows that are new to it; `parts` of every training."""
    document = load_recipe("quickstart").model_dump(mode="json")
    document["data"] |= {"train_rows": 6, "validation_rows": 2, "test_rows": 3}
    training = {"passes": 1, "rows_per_batch": 3, "validations": 1}
    document["training"] |= training | parts
    document["evaluation"] |= {"max_new_tokens": 12, "temperatures": [0.0, 1.0]}
    pair = {"name": "tiny", "target": "tiny-target", "draft": {"pruned": [0, 7]}}
    tuned = {**FINE_TUNE, "validations": 1, **parts}
    pair |= {"dtype": "float32", "fine_tune": tuned}
    document |= {"tasks": ["dolly"], "speed": False, "methods": [{"name": "kd"}], "pairs": [pair]}
    return plan_experiment(Recipe(**document), Progress(quiet=True))


def _run(folder: Path, **parts: Any) -> tuple[Plan, Store, Results]:
    plan, store = _planned(**parts), Store(folder)
    return plan, store, run_experiment(plan, "parts", store, Progress(quiet=True))


def _far(found: Path, expected: Path, start: Path) -> float:
    """Return how far a training ended from another, relative to how far that one went."""
    mine, other, before = (load_file(path / WEIGHTS) for path in (found, expected, start))
    assert mine.keys() == other.keys()
    went = {name: other[name].double() - before[name].double() for name in other.keys() & before}
    apart = {name: mine[name].double() - other[name].double() for name in went}
    norms = (torch.cat([each.flatten() for each in step.values()]).norm() for step in (apart, went))
    return float(next(norms) / next(norms))


@pytest.mark.slow
def test_a_fine_tuned_target_and_its_drafts_are_those_of_one_process(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    plan, whole, expected = _run(tmp_path / "whole")
    shared, parts, found = _run(tmp_path / "parts", **IN_PARTS)

    assert [node.key for node in plan.nodes] == [node.key for node in shared.nodes]
    (tuned,) = {
        node.key: node for node in plan.nodes if node.stage == "target" and node.inputs
    }.values()
    places = whole.load(tuned).directory, parts.load(tuned).directory
    assert _far(*reversed(places), own_models()["tiny-target"]) < 0.02
    assert _steps(places[1] / TARGET) == _steps(places[0] / TARGET) == 2
    for row, other in zip(expected.results, found.results, strict=True):
        assert (row.failure, other.failure) == (None, None)
        assert row.numbers.keys() == other.numbers.keys()
        for name, number in row.numbers.items():
            assert other.numbers[name].value == pytest.approx(number.value, abs=2e-3), name
    for cell in plan.cells:
        facts = [_facts(store.load(plan.draft(cell)).directory / DRAFT) for store in (whole, parts)]
        assert [each["processes"] for each in facts] == [1, 2]
        assert facts[0]["ledger"]["flops"] == facts[1]["ledger"]["flops"] > 0


def _facts(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _steps(path: Path) -> int:
    return int(_facts(path)["ledger"]["steps"])
