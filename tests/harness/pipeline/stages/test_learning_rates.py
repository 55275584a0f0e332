"""Learning rates: a draft trained with each, and the best on validation chosen."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from draftmark.analysis.validation_history import kept_point
from draftmark.config.model_sections import Training
from draftmark.config.recipe import Recipe
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.planning.estimates import find_gpu
from draftmark.pipeline.planning.plan_table import planned_stages
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.reports._shared.content import section_markdown
from draftmark.reports._shared.search import learning_rates_section
from draftmark.results import Results
from draftmark.store.store import Store

QUIET = Progress(quiet=True)
RATES = (1e-7, 3e-3, 1e-2)


def plan_of(seeds: tuple[int, ...] = (0,), **training: Any) -> Plan:
    recipe = Recipe(
        title="t",
        seeds=seeds,
        tasks=("gsm8k",),
        pairs=({"name": "p", "target": "tiny-target", "draft": {"pruned": (0, 7)}},),  # type: ignore[arg-type]
        methods=({"name": "kd"}, {"name": "prompt_lookup"}),  # type: ignore[arg-type]
        data={"sources": ("samples",), "train_rows": 8, "validation_rows": 2, "test_rows": 2},  # type: ignore[arg-type]
        evaluation={"max_new_tokens": 12, "temperatures": (0.0,)},  # type: ignore[arg-type]
        training={"rows_per_batch": 4, "passes": 2, **training},  # type: ignore[arg-type]
        speed=False,  # type: ignore[arg-type]
    )
    return plan_experiment(recipe, QUIET)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store, Results]:
    plan, store = plan_of(learning_rates=RATES), Store(tmp_path_factory.mktemp("store"))
    return plan, store, run_experiment(plan, "t", store, QUIET)


def facts_of(folder: Path) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = json.loads((folder / "draft.json").read_bytes())
    return facts


def test_the_draft_is_the_trial_that_is_best_on_validation(
    run: tuple[Plan, Store, Results],
) -> None:
    plan, store, _ = run
    chosen = next(plan.draft(cell) for cell in plan.cells if cell.method == "kd")
    folder = store.load(chosen).directory
    trials = {
        rate: store.load(chosen.inputs[f"learning rate {rate:g}"]).directory for rate in RATES
    }
    values = {
        rate: kept_point(facts_of(trial)["history"])["validation_acceptance"]
        for rate, trial in trials.items()
    }
    best = max(values, key=lambda rate: values[rate])
    assert best != RATES[0]  # hardly any training
    weights = "model.safetensors"
    assert (folder / weights).read_bytes() == (trials[best] / weights).read_bytes()
    made = facts_of(folder)
    assert made["learning_rate"] == best
    assert made["ledger"] == facts_of(trials[best])["ledger"]
    assert {each["learning_rate"]: each["value"] for each in made["search"]} == values


def test_a_trial_is_the_training_with_that_learning_rate(run: tuple[Plan, Store, Results]) -> None:
    plan, store, _ = run
    chosen = next(plan.draft(cell) for cell in plan.cells if cell.method == "kd")
    alone = plan_of(learning_rate=RATES[1])
    node = next(alone.draft(cell) for cell in alone.cells if cell.method == "kd")
    assert node.key == chosen.inputs[f"learning rate {RATES[1]:g}"].key
    assert store.has(node)


def test_results_name_the_rate_and_count_what_the_search_cost(
    run: tuple[Plan, Store, Results],
) -> None:
    _, _, results = run
    row = next(row for row in results.results if row.cell.method == "kd")
    trials = row.provenance["search"]
    assert [each["learning_rate"] for each in trials] == list(RATES)
    (section,) = learning_rates_section(results.results)
    text = section_markdown(section)
    assert f"{sum(each['ledger']['flops'] for each in trials):.2e}" in text
    assert f"{row.provenance['learning_rate']:g}" in text
    assert row.provenance["draft_texts"]  # what the trials trained on


def drafts_flops(plan: Plan, store: Path) -> float:
    stages = planned_stages(plan, Store(store), find_gpu("h100"))
    found = [each for group in stages.values() for each in group]
    return sum(each.cost.flops for each in found if each.node.stage == "draft")


def test_a_plan_prices_every_trial_and_a_choice_at_nothing(tmp_path: Path) -> None:
    one = drafts_flops(plan_of(), tmp_path)
    assert drafts_flops(plan_of(learning_rates=RATES), tmp_path) == 3 * one > 0
    # The rate is searched with the first seed; another seed is one training more.
    assert drafts_flops(plan_of((7, 3), learning_rates=RATES), tmp_path) == 4 * one


def test_later_seeds_train_at_the_rate_of_the_first(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of((7, 3), learning_rates=RATES)
    results = run_experiment(plan, "t", store, QUIET)
    nodes = {cell.seed: plan.draft(cell) for cell in plan.cells if cell.method == "kd"}
    folders = {seed: store.load(node).directory for seed, node in nodes.items()}
    rate = facts_of(folders[7])["learning_rate"]
    assert facts_of(folders[3])["learning_rate"] == rate != RATES[0]
    alone = plan_of((3,), learning_rate=rate)
    run_experiment(alone, "t", store, QUIET)
    same = store.load(next(alone.draft(cell) for cell in alone.cells if cell.method == "kd"))
    weights = "model.safetensors"
    assert (folders[3] / weights).read_bytes() == (same.directory / weights).read_bytes()
    rows = {row.cell.seed: row for row in results.results if row.cell.method == "kd"}
    assert rows[3].provenance["learning_rate"] == rate
    assert "search" not in rows[3].provenance
    assert rows[3].provenance["draft_texts"] == rows[7].provenance["draft_texts"]


def test_a_rate_is_named_once() -> None:
    with pytest.raises(ValidationError, match="twice"):
        Training(learning_rates=(1e-3, 1e-3))


def test_a_training_without_the_keys_reads_as_before() -> None:
    assert not {"patience", "learning_rates"} & Training().key_settings().keys()
