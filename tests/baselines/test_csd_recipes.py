"""CSD's recipes from end to end: their models replaced by tiny random ones of the same families."""

import json
from pathlib import Path
from typing import Any

import pytest
from family_cases import save_family

from draftmark.analysis.quantities import quantity_key
from draftmark.config.recipe import Recipe
from draftmark.config.validation import validate_section
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe, suite_members
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.store.records import DRAFT, TARGET
from draftmark.store.store import Store

pytest.importorskip("peft", reason="LoRA needs peft")

# Recipe -> the family of each pair.
FAMILIES = {
    "csd_gpt2": ("gpt2",),
    "csd_openllama": ("llama",),
    "csd_gemma": ("gemma",),
    "csd_chat": ("qwen2", "gemma2"),
}
END = 2  # of the tiny target's tokenizer
ROWS = 2
# The adapters of one layer of a draft of width 32, with two groups of heads in FAMILIES.
ADAPTERS = {
    "csd_openllama": 16 * ((32 + 32) + (32 + 32)),
    "csd_chat": 16 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 48)),
}


def _model(family: str, layers: int, tokenizer: Any, folder: Path) -> str:
    size = "n_layer" if family == "gpt2" else "num_hidden_layers"
    room = "n_positions" if family == "gpt2" else "max_position_embeddings"
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), END)
    changes: dict[str, Any] = {size: layers, room: 512, "vocab_size": len(tokenizer), **ends}
    save_family(family, folder, **changes)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _tiny(name: str, tokenizer: Any, folder: Path) -> Recipe:
    """Return a recipe with tiny models, two rows a split, one pass, and CSD's own arms."""
    document = load_recipe(name).model_dump(mode="json")
    counts = dict.fromkeys(("train_rows", "validation_rows", "test_rows"), ROWS)
    document["data"] |= {"sources": ["samples"], **counts}
    if document.get("rows"):
        asked = folder / "asked.txt"
        asked.write_text("What is 1 + 2?\nName a colour.\n", encoding="utf-8")
        files = dict.fromkeys(("train", "validation", "test"), str(asked))
        document["rows"] = {"prompts": {"file": files}}
    for pair, family in zip(document["pairs"], FAMILIES[name], strict=True):
        models = [_model(family, n, tokenizer, folder / f"{family}-{n}") for n in (2, 1)]
        pair |= {"target": models[0], "draft": {"model": models[1]}}
        if pair["fine_tune"]:
            pair["fine_tune"] |= {"passes": 1.0, "validations": 1}
    document["training"] |= {"passes": 1.0, "validations": 1}
    kept = ("csd (S,S)", "csd (S,S), on-policy")
    titles = [entry.title for entry in load_recipe(name).methods]
    arms = zip(titles, document["methods"], strict=True)
    document["methods"] = [entry for title, entry in arms if title in kept]
    document["seeds"], document["threads"] = [0], 1
    document["evaluation"] |= {"temperatures": [1.0], "max_new_tokens": 6}
    document["speed"] |= {"blocks": 2, "prompts_per_block": 1}
    return validate_section(Recipe, document, name)


def test_the_suite_has_every_recipe_that_is_run_here() -> None:
    assert sorted(suite_members("csd_paper")) == sorted(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_recipe_runs_from_end_to_end(name: str, tokenizer: Any, tmp_path: Path) -> None:
    recipe, quiet = _tiny(name, tokenizer, tmp_path), Progress(quiet=True)
    prepared, store = plan_experiment(recipe, quiet), Store(tmp_path / "store")

    found = run_experiment(prepared, name, store, quiet).results

    assert len(found) == len(FAMILIES[name]) * len(recipe.methods)
    name_of_number = quantity_key("block_efficiency", 1.0, 5)
    assert all(cell.numbers[name_of_number].value >= 1 for cell in found)
    trained = [json.loads(path.read_text()) for path in (tmp_path / "store").rglob(DRAFT)]
    made = [facts for facts in trained if facts["ledger"]["steps"]]
    assert len(made) == len(found)
    if name in ADAPTERS:
        assert {facts["trained_parameters"] for facts in made} == {ADAPTERS[name]}
    tuned = [json.loads(path.read_text()) for path in (tmp_path / "store").rglob(TARGET)]
    assert len(tuned) == (name != "csd_chat")
