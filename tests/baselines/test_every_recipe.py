"""Every recipe of draftmark runs from end to end, its models replaced by small random ones.

The models are of the same architecture, each split has two rows, each training takes one step (see
`small_recipes`). The reference engine takes the place of vLLM, whose server takes more than 10 s to
start, and which tests of that engine start. Recipes are found by their files, so new ones run too.
"""

import json
import math
import sys
from typing import Any

import pytest
import torch
from made_once import shared_folder
from small_models import TOKENS, small_config
from small_recipes import small_recipes
from transformers import AutoConfig, AutoModelForCausalLM

from draftmark.analysis.quantities import quantity_key
from draftmark.config.model_sections import Lora
from draftmark.config.recipe import Recipe
from draftmark.models.files import own_models
from draftmark.models.shapes import model_shape
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.recipe_files import load_recipe, recipe_names, suite_members
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.registry import find_registered
from draftmark.results import Results
from draftmark.speculation.methods import build_method
from draftmark.store.records import DRAFT, TARGET
from draftmark.store.store import Store
from draftmark.types import TrainingRun

NAMES = [name for name in recipe_names() if suite_members(name) == (name,)]
MODELS = sorted(
    {
        reference
        for name in NAMES
        for pair in load_recipe(name).pairs
        for reference in (pair.target, pair.draft.model)
        if reference and reference not in own_models()
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_from_end_to_end(
    name: str,
    python: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", python)  # processes of a training import little
    folder = shared_folder(tmp_path_factory)  # recipes share models, texts and targets
    quiet, store = Progress(quiet=True), Store(folder / "store")
    for recipe in small_recipes(name, folder):
        plan = plan_experiment(recipe, quiet)

        results = run_experiment(plan, name, store, quiet)

        _check_every_stage_ran(plan, results, store)
        _check_numbers(plan.recipe, results)
        _check_trainings(plan, store)


@pytest.mark.parametrize("reference", MODELS)
def test_a_small_model_has_the_architecture_of_the_named_one(reference: str) -> None:
    named, tokens = model_shape(reference, None), 1024
    config = small_config(reference, tokens, 2)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)

    assert model.num_parameters() <= named.parameters / 100
    groups = config.num_attention_heads / getattr(config, "num_key_value_heads", named.heads)
    assert groups == pytest.approx(named.heads / named.key_value_heads) or groups < 1
    assert config.tie_word_embeddings == named.tied
    padded = named.vocabulary > TOKENS.get(config.model_type, named.vocabulary)
    assert (config.vocab_size > tokens) == padded


def _check_every_stage_ran(plan: Plan, results: Results, store: Store) -> None:
    """Check that no stage failed, and that the store has what each one makes.

    An engine may refuse a condition that another engine measures.
    """
    for row in results.results:
        assert (row.failure, row.speed_failures) == (None, {}), row.cell
    assert [row.cell for row in results.results] == list(plan.cells)
    refused = {name for row in results.results for name in row.speed_refusals}
    missing = [node for node in plan.nodes if not (node.existing_folder or store.has(node))]
    assert bool(missing) == bool(refused), [node.label for node in missing]


def _check_numbers(recipe: Recipe, results: Results) -> None:
    gamma = recipe.evaluation.num_speculative_tokens
    for row in results.results:
        assert all(math.isfinite(number.value) for number in row.numbers.values()), row.cell
        for temperature in recipe.evaluation.temperatures:
            key = quantity_key("block_efficiency", temperature, gamma)
            assert 1 <= row.numbers[key].value <= gamma + 1
        assert ("speedup" in row.numbers) == (recipe.speed is not None)
        if find_registered("tasks", row.cell.task).grade:
            assert "quality_target" in row.numbers


def _check_trainings(plan: Plan, store: Store) -> None:
    """Check the steps of every training, and the number of weights that LoRA trains."""
    for setting in plan.settings.values():
        if tuning := setting.pair.fine_tune:
            facts = json.loads((store.directory(setting.target) / TARGET).read_text("utf-8"))
            assert facts["ledger"]["steps"] == 1
            _check_adapters(facts, tuning.lora, setting.pair.target)
    for cell in plan.cells:
        entry, setting = plan.recipe.method(cell.method), plan.setting(cell)
        method, training = build_method(entry), setting.recipe.training_of(entry)
        facts = json.loads((store.directory(plan.draft(cell)) / DRAFT).read_text("utf-8"))
        run = TrainingRun(training.passes, training.rows_per_batch)
        runs = method.training_runs(run) if method.trains else ()
        assert facts["ledger"]["steps"] == len(tuple(runs)), cell
        if method.trains and training.lora:
            _check_adapters(facts, training.lora, str(setting.pair.draft.model))


def _check_adapters(facts: Any, lora: Lora | None, folder: str) -> None:
    """Check that adapters alone trained, of both sides of every adapted matrix."""
    if lora is None:
        return
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as by_family

    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    names = lora.modules or by_family[config.model_type]
    adapted = [m for name, m in model.named_modules() if name.rpartition(".")[2] in names]
    sides = sum(sum(module.weight.shape) for module in adapted)
    assert facts["trained_parameters"] == lora.rank * sides > 0
