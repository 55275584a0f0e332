"""Model shapes: every count against the model that transformers builds, and against real files."""

import json
from pathlib import Path
from typing import Any

import pytest

from draftmark.config.model_sections import DraftInit
from draftmark.errors import UserError
from draftmark.models import shapes
from draftmark.models.draft_inits import make_draft
from draftmark.models.language_model import LanguageModel

# As the papers and model cards print them, to the digits that they give.
PUBLISHED = {
    "pythia-31m": "31M",
    "pythia-1.4b": "1.4B",
    "codegen-350m-mono": "357M",
    "phi-2": "2.8B",
    "qwen2.5-0.5b": "0.49B",
    "qwen2.5-32b": "32.8B",
    "qwen2.5-1.5b": "1.54B",
    "qwen2.5-7b": "7.61B",
    "gpt2": "124M",
    "gpt2-xl": "1.6B",
    "open_llama_3b": "3.4B",
    "open_llama_7b": "6.7B",
    "gemma-2b": "2.5B",
    "gemma-7b": "8.5B",
    "gemma-2-2b": "2.6B",
    "gemma-2-9b": "9.2B",
    "smollm2-135m-instruct": "135M",
    "smollm2-1.7b-instruct": "1.7B",
}


@pytest.mark.parametrize("name", sorted(shapes.shape_table()))
def test_every_shape_is_that_of_the_model_that_transformers_builds(name: str) -> None:
    entry = shapes.shape_table()[name]
    built = shapes._counted({"model_type": entry["model_type"], **entry["config"]})

    assert shapes.model_shape(name, None) == built


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_count_rounds_to_the_published_one(name: str) -> None:
    parameters, published = shapes.model_shape(name, None).parameters, PUBLISHED[name]
    unit = {"M": 1e6, "B": 1e9}[published[-1]]
    decimals = len(published[:-1].partition(".")[2])

    # The cards count codegen's and pythia's in ways that differ in the last digit.
    assert parameters / unit == pytest.approx(float(published[:-1]), abs=0.6 * 10**-decimals)


@pytest.mark.parametrize(
    "reference",
    [
        "EleutherAI/pythia-1.4b@main",
        "pythia-1.4b",
        "/somewhere/Pythia-1.4B",
        "x/PYTHIA-1.4b@" + "a" * 40,
    ],
)
def test_a_model_is_found_by_its_name_alone(reference: str) -> None:
    assert shapes.model_shape(reference, None).parameters == 1_414_647_808


def test_an_unknown_model_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"needs the shape of 'a/b@c', which is unknown; fetch the"):
        shapes.model_shape("a/b@c", None)


def test_a_folder_decides_by_its_own_files(tiny_directory: Path, target: LanguageModel) -> None:
    shape = shapes.model_shape("pythia-1.4b", tiny_directory)

    assert shape.parameters == target.model.num_parameters()
    head = target.model.get_output_embeddings().weight
    assert (shape.vocabulary, shape.hidden, shape.head) == (*head.shape, head.numel())
    layers = target.model.base_model.layers
    assert shape.layers == len(layers)
    assert shape.layer_parameters == sum(p.numel() for p in layers[0].parameters())
    assert shape == shapes._counted(json.loads((tiny_directory / "config.json").read_text()))


@pytest.mark.parametrize(
    "init",
    [
        {"pruned": [0, 7]},
        {"pruned": [3], "head": "shared"},
        {"random": {"num_hidden_layers": 3, "hidden_size": 64, "head_dim": 16}},
    ],
)
def test_a_draft_has_the_weights_that_it_is_made_with(
    tiny_directory: Path, target: LanguageModel, init: dict[str, Any]
) -> None:
    section = DraftInit(**init)
    own = shapes.model_shape("tiny", tiny_directory)
    shape = shapes.draft_shape(section, own, None, shapes.model_config("tiny", tiny_directory))

    made = make_draft(section, target, seed=0).model
    assert shape.parameters == made.num_parameters()
    assert shape.trained == made.num_parameters(only_trainable=True)


@pytest.mark.parametrize("family", ["gpt2", "codegen-350m-mono", "pythia-31m"])
def test_what_a_family_saves_beside_its_weights_is_not_counted(tmp_path: Path, family: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = {**shapes.model_config(family, None)}
    small = {"hidden_size": 32, "n_embd": 32, "num_hidden_layers": 2, "n_layer": 2}
    small |= {"num_attention_heads": 2, "n_head": 2, "intermediate_size": 64, "rotary_dim": 8}
    config |= {key: value for key, value in small.items() if key in config} | {"vocab_size": 80}
    made = AutoConfig.for_model(config.pop("model_type"), **config)
    model = AutoModelForCausalLM.from_config(made)
    model.save_pretrained(tmp_path)

    assert shapes.model_shape(family, tmp_path).parameters == model.num_parameters()
