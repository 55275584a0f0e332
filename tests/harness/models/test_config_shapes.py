"""Configs of models that someone else wrote, mutated: read, or refused in a sentence."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hangs import no_hang
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mutations import mutated_bytes, mutated_json

from draftmark.errors import UserError
from draftmark.models import shapes
from draftmark.models.config_shapes import FIX
from draftmark.models.context_length import context_length
from draftmark.models.files import end_tokens, num_layers
from draftmark.models.token_ids import end_token_notes, read_config
from draftmark.models.weights import check_folder
from draftmark.store.reading import explained

MUTATIONS = int(os.environ.get("DRAFTMARK_MUTATIONS", "10"))
NAMES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")


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
    data = (model / name).read_bytes()
    _read(model)

    @settings(
        max_examples=2 if name == "tokenizer.json" and MUTATIONS < 100 else MUTATIONS,  # 55 kB
        database=None,
        derandomize=MUTATIONS < 100,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.data())
    def mutate(drawn: Any) -> None:
        change = drawn.draw(st.sampled_from([mutated_json, mutated_json, mutated_bytes]))
        (model / name).write_bytes(change(data, drawn.draw))
        with suppress(UserError), no_hang():
            _read(model)

    mutate()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.json", '{"num_hidden_layers": "8"}', "num_hidden_layers: .*valid integer"),
        ("config.json", '{"text_config": []}', "text_config: "),
        ("config.json", '{"rope_scaling": 3}', "rope_scaling: "),
        ("generation_config.json", '{"eos_token_id": "2"}', "eos_token_id"),
        ("tokenizer.json", '{"model": {"vocab": {"a": null}}}', "model.vocab"),
        ("tokenizer_config.json", '{"eos_token": 7}', "eos_token"),
    ],
)
def test_what_is_malformed_is_named(model: Path, name: str, text: str, words: str) -> None:
    (model / name).write_text(text)

    with pytest.raises(UserError, match=rf"{name} cannot be read: {words}.*download the model"):
        check_folder(model)
