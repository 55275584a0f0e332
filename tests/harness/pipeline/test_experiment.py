"""What a recipe reads: drafts that are there already need rows to be measured on, and no others."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import draftmark.tasks.samples
from draftmark.config.recipe import Recipe
from draftmark.data.rows import NoSource
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.planning import plan_table
from draftmark.pipeline.planning.estimates import find_gpu
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.store.graph import topological_order
from draftmark.store.store import Store

MODEL = str(Path(draftmark.tasks.samples.__file__).parent / "tiny-target")
AS_IT_IS = {"name": "served", "target": MODEL, "draft": {"model": MODEL}}


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Return a data directory with somebody's own prompts: test rows alone."""
    folder = tmp_path / "alpaca"
    folder.mkdir()
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"{n}"} for n in range(4)]
    with gzip.open(folder / "test.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


def planned(prompts: Path, pair: Mapping[str, Any], *methods: str) -> Plan:
    recipe = {
        "title": "t",
        "tasks": ["alpaca"],
        "pairs": [pair],
        "methods": [{"name": name} for name in methods],
        "data": {"sources": ["directory"], "test_rows": 4},
        "speed": False,
    }
    return plan_experiment(Recipe(**recipe), Progress(quiet=True), data=prompts)


def test_drafts_as_they_are_are_measured_on_test_rows_alone(prompts: Path, tmp_path: Path) -> None:
    prepared = planned(prompts, AS_IT_IS, "untrained", "prompt_lookup")
    (setting,) = prepared.settings.values()
    assert {split: len(rows.examples) for split, rows in setting.rows.items()} == {"test": 4}
    text, _ = plan_table.tabulate_plan(prepared, Store(tmp_path / "store"), find_gpu("h100"))
    assert "alpaca" in text


@pytest.mark.parametrize(
    ("pair", "method"),
    [
        (AS_IT_IS, "kd"),
        ({**AS_IT_IS, "draft": {"pruned": [0, 7], "head": "fitted"}}, "untrained"),
        ({**AS_IT_IS, "fine_tune": {}}, "untrained"),
    ],
)
def test_what_is_made_of_rows_still_asks_for_them(
    prompts: Path, pair: Mapping[str, Any], method: str
) -> None:
    with pytest.raises(NoSource, match="train, validation, test rows of 'alpaca'"):
        planned(prompts, pair, method)


def test_every_stage_of_a_run_is_a_verb_and_its_object_in_one_line() -> None:
    """A terminal shows "train kd (alpaca)", and of a speed run the terms that differ."""
    recipe = load_recipe("quickstart", tasks=["alpaca"]).model_dump(mode="json")
    recipe["speed"] |= {"engine": ["reference", "transformers"], "num_speculative_tokens": [2, 4]}
    recipe["seeds"] = [0, 1]
    plan = plan_experiment(Recipe(**recipe), Progress(quiet=True))
    titles = {node.title for node in topological_order(plan.nodes) if not node.existing_folder}

    assert {
        "train kd, seed 1 (alpaca)",
        "make untrained, seed 0 (alpaca)",
        "encode gold answers, train (alpaca)",
        "write validation answers, T=1 (alpaca)",
        "read hidden states of validation answers, T=1 (alpaca)",
        "score kd, seed 0, T=0 (alpaca)",
        "time prompt_lookup, seed 0, blocks of 4, transformers engine (alpaca)",
        "grade test answers, T=0 (alpaca)",
    } <= titles
    assert max(map(len, titles)) <= 70
    verbs = {"encode", "write", "read", "make", "train", "score", "time", "grade", "fit"}
    assert {title.partition(" ")[0] for title in titles} <= verbs
