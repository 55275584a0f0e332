"""LoRA: adapters train in place of weights; known answers, resumption to the bit, refusals."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from family_cases import save_family
from small_runs import small_recipe

from draftmark.baselines.adaspec import AdaSPEC
from draftmark.config.lora import Lora
from draftmark.config.model_sections import DraftInit, FineTuning, Pair, Training
from draftmark.contract.fixtures import context, few
from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel, load_model
from draftmark.models.shapes import model_shape
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.planning import stage_costs
from draftmark.pipeline.planning.estimates import Load, find_gpu, training_cost
from draftmark.pipeline.planning.stage_costs import SettingCosts
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.store.graph import Job
from draftmark.store.records import TARGET, TEXTS, write_texts
from draftmark.training import loop, lora
from draftmark.training.batches import Batch
from draftmark.training.divergences import forward_kl
from draftmark.training.fine_tuning import fine_tune
from draftmark.training.gradients import backward_in_chunks
from draftmark.training.loop import train
from draftmark.types import TrainingRun

__all__ = ["context", "few"]  # fixtures

pytest.importorskip("peft", reason="LoRA needs peft")

WIDE = Lora(rank=4, alpha=8.0, modules=("q_proj", "down_proj"))
SETTINGS = Training(passes=1, rows_per_batch=4, learning_rate=1e-2, validations=2, lora=WIDE)


def kl(draft: torch.Tensor, target: torch.Tensor, _: Batch) -> torch.Tensor:
    return forward_kl(draft, target)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def scatter(model: Any) -> None:
    """Give the adapters random weights: untrained ones add nothing."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.1


@pytest.fixture(params=["llama", "gpt2", "gemma2"])
def family(request: Any, tmp_path: Path) -> LanguageModel:
    return load_model(save_family(request.param, tmp_path / request.param))


@pytest.mark.parametrize("modules", [None, "all-linear"])
def test_untrained_adapters_leave_a_model_as_it_was_to_the_bit(
    family: LanguageModel, modules: Any
) -> None:
    ids_BT, before = torch.tensor([[5, 9, 2, 7]]), weights(family.model)
    logits = family.model(ids_BT).logits
    with lora.adapted(family.model, Lora(modules=modules), seed=1):
        assert torch.equal(family.model(ids_BT).logits, logits)
        assert lora.adapter_weights(family.model) > 0

    assert same(weights(family.model), before)
    assert all(weight.requires_grad for weight in family.model.parameters())


def test_merged_adapters_give_the_logits_of_the_adapted_model(family: LanguageModel) -> None:
    ids_BT, plain = torch.tensor([[5, 9, 2, 7]]), None
    with lora.adapted(family.model, Lora(rank=3, modules="all-linear"), seed=1):
        plain = family.model(ids_BT).logits
        scatter(family.model)
        adapted, by_name = family.model(ids_BT).logits, lora.merged_weights(family.model)
    merged = family.model(ids_BT).logits

    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)
    assert (adapted - plain).abs().max() > 0.01
    assert same(by_name, weights(family.model))


def test_the_adapters_weights_are_counted_from_the_config_alone(family: LanguageModel) -> None:
    config = family.model.config.to_dict()
    for settings in (Lora(rank=3), Lora(rank=5, modules="all-linear")):
        with lora.adapted(family.model, settings, seed=0):
            found = lora.adapter_weights(family.model)
        assert lora.count_adapter_weights(config, settings) == found


def test_an_adapter_of_full_rank_can_hold_any_weight(tmp_path: Path) -> None:
    """With A = 1 and B = (W' - W) / scale, the model is the one with W'."""
    first = load_model(save_family("llama", tmp_path / "a"))
    other = load_model(save_family("llama", tmp_path / "b"))
    layer = "model.layers.1.mlp.gate_proj"
    wanted = other.model.get_submodule(layer)
    wanted.weight.data = torch.randn(
        wanted.weight.shape, generator=torch.Generator().manual_seed(3)
    )
    with lora.adapted(first.model, Lora(rank=32, alpha=16.0, modules=("gate_proj",)), seed=0):
        adapter = first.model.get_submodule(layer)
        adapter.lora_A["default"].weight.data = torch.eye(32)
        difference = wanted.weight.data - adapter.base_layer.weight.data
        adapter.lora_B["default"].weight.data = difference / 0.5

    ids_BT = torch.tensor([[5, 9, 2, 7]])
    torch.testing.assert_close(
        first.model(ids_BT).logits, other.model(ids_BT).logits, rtol=1e-4, atol=1e-4
    )


def test_the_gradients_are_those_of_the_product_by_hand(context: Any) -> None:
    """dL/dB = s G^T X A^T and dL/dA = s B^T G^T X, with G the gradient at the layer's output."""
    given = context(settings=SETTINGS)
    model, seen = given.draft.model, {}

    def keep(_: Any, inputs: Any, output: torch.Tensor) -> None:
        seen["x"] = inputs[0].detach()
        output.register_hook(lambda gradient: seen.update(g=gradient))

    with lora.adapted(model, WIDE, seed=0):
        scatter(model)
        layer = model.model.layers[1].mlp.down_proj
        layer.register_forward_hook(keep)
        texts = given.texts.training_batch(0, 4)
        batch = Batch.from_texts(texts.texts, 0, 0.0, given.draft.device)
        backward_in_chunks(given, texts, batch, kl)
        a_RD, b_ER = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        x_TD, g_TE = seen["x"].flatten(0, -2), seen["g"].flatten(0, -2)
        scale = WIDE.alpha / WIDE.rank
        torch.testing.assert_close(b_ER.grad, scale * g_TE.T @ x_TD @ a_RD.T)
        torch.testing.assert_close(a_RD.grad, scale * b_ER.T @ g_TE.T @ x_TD)
        assert all(p.grad is None for name, p in model.named_parameters() if ".lora_" not in name)


def test_training_changes_the_named_modules_alone_and_raises_acceptance(context: Any) -> None:
    given = context(settings=SETTINGS.model_copy(update={"passes": 4}))
    before = weights(given.draft.model)
    made = train(given, kl)
    after = weights(made.model.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}

    assert changed == {
        f"model.layers.{layer}.{name}.weight"
        for layer in (0, 1)
        for name in ("self_attn.q_proj", "mlp.down_proj")
    }
    history = [point["validation_acceptance"] for point in made.history]
    assert max(history) > history[0] + 0.02
    assert made.trained_parameters == 2 * 4 * ((128 + 128) + (384 + 128))
    assert all(weight.requires_grad for weight in made.model.model.parameters())


def test_the_ledger_charges_no_gradient_of_frozen_weights(context: Any) -> None:
    """Frozen weights cost 4 FLOPs a token, 2 less than trained ones; adapters cost 6."""
    full, small = (
        train(context(settings=SETTINGS.model_copy(update={"lora": each})), kl).ledger
        for each in (None, WIDE)
    )
    given = context()
    model, batches = given.draft.model, [given.texts.training_batch(s, 4) for s in range(3)]
    texts = [text for each in batches for text in each.texts]
    read = sum(len(text.prompt_ids) + len(text.response_ids) - 1 for text in texts)
    supervised = sum(len(text.response_ids) for text in texts)
    head = model.lm_head.weight.numel()
    body = model.num_parameters() - head  # one tied weight
    adapters = 2 * 4 * ((128 + 128) + (384 + 128))

    assert full.flops - small.flops == 2 * (body * read + head * supervised) - 6 * adapters * read
    assert full.supervised_tokens == small.supervised_tokens == supervised


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_an_interrupted_training_ends_with_the_same_bits(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_INTERVAL_S", 0.0)
    settings = SETTINGS.model_copy(update={"lora": WIDE.model_copy(update={"dropout": share})})
    straight = train(context(settings=settings), kl)
    scratch = tmp_path / "resumed"

    def killed(draft: torch.Tensor, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        if batch.step == 2:
            raise KeyboardInterrupt
        return forward_kl(draft, target)

    with pytest.raises(KeyboardInterrupt):
        train(context(settings=settings, scratch=scratch), killed)
    assert [path.name for path in scratch.glob("step-*")] == ["step-00000002"]
    small = sum(path.stat().st_size for path in scratch.rglob("weights.safetensors"))
    resumed = train(context(settings=settings, scratch=scratch), kl)

    assert same(weights(straight.model.model), weights(resumed.model.model))
    assert straight.history == resumed.history
    assert small < 0.1 * sum(w.nbytes for w in weights(straight.model.model).values())


def test_dropout_is_drawn_by_the_seed_and_only_in_the_block(context: Any) -> None:
    model, ids_BT = context().draft.model, torch.tensor([[5, 9, 2, 7]])
    settings = Lora(dropout=0.5)
    with lora.adapted(model, settings, seed=0):
        scatter(model)
        whole = model(ids_BT).logits
        drawn = []
        for seed in (1, 1, 2):
            with lora.dropout(model, settings, seed):
                drawn.append(model(ids_BT).logits)
        assert torch.equal(model(ids_BT).logits, whole)

    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], whole)


def test_a_reference_that_follows_an_adapted_draft_has_its_weights(context: Any) -> None:
    method = AdaSPEC(reference="past", reference_refresh=1, keep=0.5)
    made = method.train(context(settings=SETTINGS))

    assert made.ledger.reference_forward_tokens > 0
    assert made.trained_parameters == 2 * 4 * ((128 + 128) + (384 + 128))


def test_a_reference_trains_by_lora_too(context: Any) -> None:
    given = context(settings=SETTINGS)
    before = weights(given.draft.model)
    made = AdaSPEC(keep=0.5).train(given)

    assert made.ledger.steps == 6
    assert before.keys() == weights(made.model.model).keys()


def test_a_target_fine_tuned_by_lora_is_an_ordinary_model(
    few: Any, tiny_directory: Path, tmp_path: Path, target: LanguageModel
) -> None:
    inputs = {"target": tiny_directory}
    for split in ("train", "validation"):
        inputs[split] = tmp_path / split
        inputs[split].mkdir()
        write_texts(inputs[split] / TEXTS, list(few[split].texts))
    pair = Pair(name="p", target="tiny-target", draft=DraftInit(pruned=(0,)), dtype="float32")
    recipe = FineTuning(passes=1, rows_per_batch=4, learning_rate=1e-3, validations=1, lora=Lora())
    job = Job(inputs, tmp_path / "out", tmp_path / "scratch", Progress(quiet=True))
    job.out.mkdir()
    fine_tune(pair, recipe, frozenset({2}), 0, job)

    made = weights(load_model(job.out).model)
    first = weights(target.model)
    changed = {name for name in first if not torch.equal(first[name], made[name])}
    assert {name.rpartition("self_attn.")[2] for name in changed} == {
        "q_proj.weight",
        "v_proj.weight",
    }
    facts = json.loads((job.out / TARGET).read_text("utf-8"))
    assert facts["trained_parameters"] == 8 * 8 * ((128 + 128) + (128 + 64))
    assert not list(job.out.glob("adapter*"))


@pytest.mark.parametrize("off", [False, {"rank": 0}, {"rank": 0, "alpha": 3.0}])
def test_rank_zero_is_full_training_under_the_same_key(off: Any) -> None:
    section = Training.model_validate({"passes": 2.0, "lora": off})

    assert section.key_settings() == Training(passes=2.0).key_settings()
    assert section.model_dump() == Training(passes=2.0).model_dump()
    assert "lora" not in section.key_settings()
    assert Training(lora=Lora()).key_settings()["lora"] == {
        "rank": 8,
        "alpha": 8.0,
        "dropout": 0.0,
        "modules": None,
    }


def test_the_defaults_are_pefts() -> None:
    from peft import LoraConfig

    theirs, ours = LoraConfig(), Lora()
    assert (ours.rank, ours.alpha, ours.dropout, ours.modules) == (
        theirs.r,
        theirs.lora_alpha,
        theirs.lora_dropout,
        theirs.target_modules,
    )
    assert theirs.init_lora_weights is True


@pytest.mark.parametrize(
    "name", ["q_pro", "lm_head", "embed_tokens", "mlp", "layers.7.mlp.up_proj"]
)
def test_a_module_that_is_no_linear_layer_of_the_body_is_refused(context: Any, name: str) -> None:
    settings = SETTINGS.model_copy(update={"lora": Lora(modules=("q_proj", name))})
    with pytest.raises(UserError, match=rf"names '{name}', .* name some of down_proj, gate_proj"):
        train(context(settings=settings), kl)


def test_a_family_without_a_default_names_its_layers(tmp_path: Path) -> None:
    model = load_model(save_family("granite", tmp_path / "granite"))
    with (
        pytest.raises(UserError, match=r"no default of lora.modules for 'granite'; name some of "),
        lora.adapted(model.model, Lora(), seed=0),
    ):
        pass


def test_without_peft_one_sentence_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    lora.check_installed(None)
    with pytest.raises(UserError, match=r"peft, which is not installed; run `pip install peft`"):
        lora.check_installed(Lora())


def test_a_new_head_is_refused_before_anything_runs(tmp_path: Path) -> None:
    text = small_recipe((4, 2, 8), ["kd", "eagle"], evaluation="max_new_tokens = 8")
    path, quiet = tmp_path / "r.toml", Progress(quiet=True)
    path.write_text(text.replace("[training]", "[training]\nlora = {}"), encoding="utf-8")
    with pytest.raises(UserError, match=r"'eagle' trains a new head.*lora = false"):
        plan_experiment(load_recipe(str(path)), quiet)
    path.write_text(
        text.replace("[training]", "[training]\nlora = {}").replace(
            '"eagle"', '"eagle"\ntraining = { lora = false }'
        ),
        encoding="utf-8",
    )
    prepared = plan_experiment(load_recipe(str(path)), quiet)
    trainings = {
        node.label: node.settings["training"].get("lora")
        for node in prepared.nodes
        if node.stage == "draft"
    }
    assert trainings == {
        "draft kd, seed 0": {"rank": 8, "alpha": 8.0, "dropout": 0.0, "modules": None},
        "draft eagle, seed 0": None,
    }


def test_a_pruned_draft_is_planned_with_the_adapters_of_its_layers(tmp_path: Path) -> None:
    text = small_recipe((4, 2, 8), ["kd"], evaluation="max_new_tokens = 8")
    path = tmp_path / "r.toml"
    path.write_text(text.replace("[training]", "[training]\nlora = {}"), encoding="utf-8")
    prepared = plan_experiment(load_recipe(str(path)), Progress(quiet=True))
    (setting,) = prepared.settings.values()
    config = stage_costs._draft_config(setting)
    costs = SettingCosts.from_setting(setting, find_gpu("h100"))

    adapted = stage_costs._adapted(costs.draft, Lora(), config)

    assert adapted.adapters == 2 * 8 * ((128 + 128) + (128 + 64))  # of 2 layers


def test_the_plan_counts_what_adapters_cost() -> None:
    shape = model_shape("openlm-research/open_llama_7b", None)
    adapters = 32 * 16 * 2 * (4096 + 4096)  # layers, rank, q_proj and v_proj
    run, load = TrainingRun(1, 8), Load(8, 800, 800)
    full, small = (
        training_cost(each, load, run, find_gpu("h100"), dtype="bfloat16")
        for each in (shape, replace(shape, adapters=adapters))
    )

    assert full.peak_bytes - small.peak_bytes == 12 * shape.parameters - 16 * adapters
    read = load.read_tokens
    saved = 2 * (shape.body * read + shape.head * 800) - 6 * adapters * read
    assert full.flops - small.flops == saved
