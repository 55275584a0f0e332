"""Files of models that someone else wrote, mutated: read, or refused in a sentence."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hangs import no_hang
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mutations import Draw, mutated_bytes, mutated_json
from safetensors.torch import load_file, save_file

from draftmark.errors import UserError
from draftmark.models import shapes
from draftmark.models.config_shapes import FIX
from draftmark.models.context_length import context_length
from draftmark.models.files import end_tokens, num_layers
from draftmark.models.language_model import load_model
from draftmark.models.token_ids import end_token_notes, read_config
from draftmark.models.weights import INDEX, WEIGHTS, check_folder
from draftmark.store.reading import explained

MUTATIONS = int(os.environ.get("DRAFTMARK_MUTATIONS", "10"))
FUZZED = settings(
    max_examples=MUTATIONS,
    database=None,
    derandomize=MUTATIONS < 100,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
NAMES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")
SHARDS = ("a.safetensors", "b.safetensors")


@pytest.fixture
def model(tmp_path: Path, tiny_directory: Path) -> Path:
    """Return a copy of the tiny target that shares its weights."""
    for path in tiny_directory.iterdir():
        if path.suffix == ".json":
            shutil.copy(path, tmp_path)
        else:
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def _read(model: Path) -> None:
    check_folder(model)
    num_layers(model)
    end_tokens(model)
    with explained(model / "config.json", FIX):
        shapes.model_shape("", model)
    context_length(read_config(model / "config.json"))
    list(end_token_notes(model, "a model"))


@pytest.mark.parametrize("name", NAMES)
def test_a_mutated_config_is_read_or_refused_in_a_sentence(model: Path, name: str) -> None:
    data, few = (model / name).read_bytes(), MUTATIONS < 100
    _read(model)

    @settings(FUZZED, max_examples=2 if name == "tokenizer.json" and few else MUTATIONS)  # 55 kB
    @given(st.data())
    def mutate(drawn: Any) -> None:
        change = drawn.draw(st.sampled_from([mutated_json, mutated_json, mutated_bytes]))
        (model / name).write_bytes(change(data, drawn.draw))
        with suppress(UserError), no_hang():
            _read(model)
            load_model(model)

    mutate()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '"hidden_act": "none"'),
        ("config.json", '"dtype": "text"'),
        ("config.json", '"num_attention_heads": 7'),
        ("config.json", '"attention_dropout": {}'),
        ("config.json", '"rope_parameters": {"rope_type": "none"}'),
        ("config.json", '"rope_parameters": {"rope_type": []}'),
        ("config.json", '"rope_parameters": {"rope_theta": [], "rope_type": "default"}'),
        ("generation_config.json", '"pad_token_id": ""'),
        ("tokenizer_config.json", '"tokenizer_class": []'),
        ("tokenizer_config.json", '"extra_special_tokens": [{}]'),
    ],
)
def test_what_the_library_cannot_use_is_a_sentence(model: Path, name: str, text: str) -> None:
    values = {**json.loads((model / name).read_text()), **json.loads(f"{{{text}}}")}
    (model / name).write_text(json.dumps(values))

    check_folder(model)
    with pytest.raises(UserError, match="cannot be loaded by transformers"):
        load_model(model)


@pytest.mark.parametrize("named", [{"num_hidden_layers": 2**31}, {"text_config": {"n_layer": 900}}])
def test_more_layers_than_tensors_are_refused_before_they_are_made(
    model: Path, named: dict[str, Any]
) -> None:
    values = {**json.loads((model / "config.json").read_text()), **named}
    (model / "config.json").write_text(json.dumps(values))

    with no_hang(), pytest.raises(UserError, match="layers, and the files of weights 74 tensors"):
        check_folder(model)


@pytest.fixture
def sharded(model: Path) -> Path:
    """Return the tiny target with two files of weights and their index."""
    weights = load_file(model / WEIGHTS)
    (model / WEIGHTS).unlink()
    names = sorted(weights)
    for number, file in enumerate(SHARDS):
        kept = {name: weights[name] for name in names[number::2]}
        save_file(kept, model / file, metadata={"format": "pt"})
    files = {name: SHARDS[number % 2] for number, name in enumerate(names)}
    (model / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return model


def _mutated_header(data: bytes, draw: Draw) -> bytes:
    """Return a file of weights with a mutated header, and the length that this header has."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = mutated_json(data[8:end], draw)
    return len(header).to_bytes(8, "little") + header + data[end:]


def _mutated_start(data: bytes, draw: Draw) -> bytes:
    """Return a file of weights with mutated bytes in its header, or in the header's length."""
    end = draw(st.sampled_from([8, 8 + int.from_bytes(data[:8], "little")]))
    return mutated_bytes(data[:end], draw) + data[end:]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("a.safetensors", (_mutated_header, _mutated_header, _mutated_start)),
        (INDEX, (mutated_json, mutated_json, mutated_bytes)),
    ],
)
def test_mutated_weights_are_loaded_or_refused_in_a_sentence(
    sharded: Path, name: str, changes: tuple[Callable[[bytes, Draw], bytes], ...]
) -> None:
    data = (sharded / name).read_bytes()
    load_model(sharded)

    @FUZZED
    @given(st.data())
    def mutate(drawn: Any) -> None:
        change = drawn.draw(st.sampled_from(changes))
        (sharded / name).write_bytes(change(data, drawn.draw))
        with suppress(UserError), no_hang():
            _read(sharded)
            load_model(sharded)

    mutate()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.json", '{"num_hidden_layers": "8"}', "num_hidden_layers: .*valid integer"),
        ("config.json", '{"text_config": []}', "text_config: "),
        ("config.json", '{"rope_scaling": 3}', "rope_scaling: "),
        ("generation_config.json", '{"eos_token_id": "2"}', "eos_token_id"),
        ("tokenizer.json", '{"model": {"vocab": {"a": null}}}', "model.vocab"),
        ("tokenizer.json", '{"model": {"vocab": {"a": 2147483648}}}', "model.vocab.*16777216"),
        ("tokenizer_config.json", '{"eos_token": 7}', "eos_token"),
    ],
)
def test_what_is_malformed_is_named(model: Path, name: str, text: str, words: str) -> None:
    (model / name).write_text(text)

    with pytest.raises(UserError, match=rf"{name} cannot be read: {words}.*download the model"):
        check_folder(model)
