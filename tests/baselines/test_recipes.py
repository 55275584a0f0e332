"""The papers' recipes: their published settings, and plans of them without models."""

import re
from pathlib import Path

import pytest

from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.planning import plan_table
from draftmark.pipeline.planning.estimates import find_gpu, training_cost
from draftmark.pipeline.planning.stage_costs import SettingCosts
from draftmark.pipeline.recipe_files import load_recipe, recipe_names, suite_members
from draftmark.progress import Progress
from draftmark.speculation.methods import build_method
from draftmark.types import TrainingRun

PAIRS = ("pythia", "codegen")
# Epochs of target, reference and draft, and the learning rate: README of the published code at
# 381904c, "Hyperparameter".
BEST = {
    ("pythia", "gsm8k"): (6, 15, 30, 3e-4),
    ("pythia", "alpaca"): (1, 15, 30, 3e-4),
    ("pythia", "mbpp"): (1, 30, 6, 1e-5),
    ("pythia", "cnn_dm"): (1, 10, 10, 1e-4),
    ("pythia", "xsum"): (1, 10, 10, 3e-4),
    ("codegen", "gsm8k"): (3, 30, 30, 3e-4),
    ("codegen", "alpaca"): (1, 20, 15, 3e-4),
    ("codegen", "mbpp"): (1, 10, 6, 1e-4),
    ("codegen", "cnn_dm"): (1, 10, 10, 1e-4),
    ("codegen", "xsum"): (1, 10, 10, 1e-4),
}


@pytest.mark.parametrize("column", ["3epochs", "best"])
@pytest.mark.parametrize(("pair", "task"), BEST)
def test_adaspecs_recipes_have_the_published_hyperparameters(
    pair: str, task: str, column: str
) -> None:
    target, reference, draft, rate = BEST[pair, task]
    if column == "3epochs":
        target = reference = draft = 3
    recipe = load_recipe(f"adaspec_{pair}_{column}").for_task(task)
    kd, adaspec = (recipe.training_of(recipe.method(name)) for name in ("kd", "adaspec"))
    made = build_method(recipe.method("adaspec"))
    rows = 8 if task == "mbpp" else 16

    fine_tune = recipe.pairs[0].fine_tune
    assert fine_tune is not None
    assert (fine_tune.passes, fine_tune.learning_rate) == (target, 1e-5)
    assert kd.learning_rate == adaspec.learning_rate == rate
    assert (kd.passes, kd.rows_per_batch) == (reference, rows)
    assert (made.reference_passes, made.reference_rows_per_batch) == (reference, rows)
    # The table counts the draft's epochs and batch by kept tokens.
    assert made.keep == 0.4
    assert adaspec.passes * made.keep == pytest.approx(draft)
    assert adaspec.rows_per_batch * made.keep == pytest.approx(rows)


def test_the_ablations_arms_of_equal_passes_have_equal_schedules() -> None:
    recipe = load_recipe("adaspec_ablation")
    trainings = {entry.title: recipe.training_of(entry) for entry in recipe.methods}
    schedules = [trainings[f"{name}, published schedule"] for name in ("kd", "adaspec")]

    assert schedules[0] == schedules[1]
    assert len(recipe.seeds) >= 3
    keeps = [build_method(entry).keep for entry in recipe.methods if ", k = 0" in entry.title]
    assert keeps == [0.2, 0.4, 0.6, 0.8]


def test_the_ablations_arms_of_equal_compute_have_equal_flops() -> None:
    prepared = plan_experiment(load_recipe("adaspec_ablation"), Progress(quiet=True))
    (setting,) = prepared.settings.values()
    costs = SettingCosts.from_setting(setting, find_gpu("h100"))
    flops = {}
    for entry in setting.recipe.methods:
        training = setting.recipe.training_of(entry)
        run = TrainingRun(training.passes, training.rows_per_batch)
        flops[entry.title] = sum(
            training_cost(
                costs.draft,
                costs.gold["train"],
                each,
                costs.gpu,
                dtype="bfloat16",
                target_head=costs.target.head,
            ).flops
            for each in build_method(entry).training_runs(run)
        )

    assert flops["adaspec, kd's compute"] == pytest.approx(flops["kd"], rel=0.02)
    assert flops["kd, adaspec's compute"] == pytest.approx(flops["adaspec, k = 0.4"], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_planned_without_models_and_rows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAFTMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DRAFTMARK_DATA", raising=False)

    text = plan_table.render_plan(name, tmp_path / "store", find_gpu("h100"))

    totals = re.findall(r"\d+ stages, \d+ to do: ", text)
    assert len(totals) == len(suite_members(name)) + (len(suite_members(name)) > 1)
    assert max(map(len, text.splitlines())) <= plan_table.WIDTH
    assert list(tmp_path.iterdir()) == []
