"""Hidden states that vLLM reads: those of a plain pass, up to the rounding of the dtype."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from quantised_cases import INT8, mark
from transformers import GPT2Config, GPT2LMHeadModel
from vllm_cases import needs_vllm

from draftmark.config.recipe import Recipe
from draftmark.engines._vllm import starting, states
from draftmark.engines._vllm.options import reading_options, without_paths
from draftmark.engines._vllm.states import VllmReader
from draftmark.errors import UserError
from draftmark.models.hidden_states import (
    StoredHiddenStates,
    read_states,
    write_hidden_states,
)
from draftmark.models.language_model import LanguageModel, load_model, save_model
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.pipeline.verify import verify_run
from draftmark.progress import Progress
from draftmark.speculation.interfaces import EngineSettings
from draftmark.store.store import Store
from draftmark.types import GREEDY, Placement, Samplers, Text

LAYERS = (8, 2, 0)  # the final state, a layer, the embedding: not in the order of vLLM's answer
BATCH = 3
METHODS: list[dict[str, Any]] = [{"name": "kd"}, {"name": "eagle3", "from_layer": 7, "depth": 1}]


@pytest.fixture
def patched(vllm_python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", vllm_python)


@pytest.fixture(scope="module")
def some_texts(target: LanguageModel) -> list[Text]:
    """More texts than a batch, of other lengths; one fills the context, one has one answer."""
    draw = torch.Generator().manual_seed(0)
    made = []
    for number, (prompt, answer) in enumerate([(5, 9), (1, 3), (30, 1), (target.max_positions, 0)]):
        ids = torch.randint(5, 1000, (prompt + answer,), generator=draw).tolist()
        cut = prompt if answer else prompt - 20
        made.append(Text(f"text {number}", tuple(ids[:cut]), tuple(ids[cut:])))
    return made


def _reader(folder: Path, scratch: Path, dtype: str = "float32") -> VllmReader:
    return VllmReader.of_target(folder, Placement(dtype=dtype), BATCH, scratch)


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest error of a layer, relative to the norm of its states."""
    errors = (found.double() - expected.double()).norm(dim=(0, 2))
    return float((errors / expected.double().norm(dim=(0, 2))).max())


@needs_vllm
@pytest.mark.slow
@pytest.mark.usefixtures("patched")
def test_states_are_those_of_a_plain_pass_at_every_layer_and_position(
    target: LanguageModel, some_texts: list[Text], tiny_directory: Path, tmp_path: Path
) -> None:
    reader = _reader(tiny_directory, tmp_path)
    with Progress(quiet=True).step("reading", 4) as step:
        write = {"dtype": "float32", "step": step, "layers": LAYERS, "positions": "all"}
        (tmp_path / "stored").mkdir()
        folder = tmp_path / "stored"
        write_hidden_states(reader, some_texts, folder, read=VllmReader.read_states, **write)
    stored = StoredHiddenStates.load(folder)

    for text, expected in read_states(target, some_texts, LAYERS, "all"):
        found = stored.states_of(text)
        assert found.shape == expected.shape
        assert _relative(found, expected) < 1e-5
        shifted = expected[:, [0, 0, 2]]  # layer 2 is no other layer
        assert _relative(found, shifted) > 0.1
    assert reader.facts["resolved"]["versions"]["vllm"].startswith("0.")
    assert str(tmp_path) not in str(reader.facts)
    assert [path.name for path in tmp_path.iterdir()] == ["stored"]  # no state is left


@needs_vllm
@pytest.mark.slow
@pytest.mark.usefixtures("patched")
def test_states_in_bfloat16_are_as_near_as_those_of_a_plain_pass(
    target: LanguageModel, some_texts: list[Text], tiny_directory: Path, tmp_path: Path
) -> None:
    reader = _reader(tiny_directory, tmp_path, "bfloat16")
    plain = load_model(tiny_directory, Placement(dtype="bfloat16"))
    read = (-1,), "supervised"
    found = dict(reader.read_states(some_texts, *read))
    rounded = dict(read_states(plain, some_texts, *read))
    for text, exact in read_states(target, some_texts, *read):
        assert found[text].dtype == torch.bfloat16
        limit = 2 * _relative(rounded[text], exact)
        assert 1e-4 < _relative(found[text], exact) < limit


@pytest.fixture
def planned() -> Callable[..., Plan]:
    """Return what plans methods on few rows, with states read by draftmark or by vLLM."""

    def made(features: Mapping[str, Any] | None = None, *, heads: bool = True) -> Plan:
        document = load_recipe("quickstart").model_dump(mode="json")
        document["data"] |= {"train_rows": 4, "validation_rows": 2, "test_rows": 2}
        document["training"] |= {"passes": 1, "rows_per_batch": 2, "validations": 1}
        document["evaluation"] = {"temperatures": [1.0], "max_new_tokens": 8}
        document["pairs"][0] |= {"dtype": "float32"}
        document |= {
            "tasks": ["gsm8k"],
            "methods": METHODS if heads else METHODS[:1],
            "speed": False,
        }
        document |= {"features": features} if features else {}
        return plan_experiment(Recipe(**document), Progress(quiet=True))

    return made


@needs_vllm
@pytest.mark.slow
@pytest.mark.usefixtures("patched")
def test_a_run_whose_states_vllm_reads_has_the_numbers_of_a_plain_one(
    planned: Callable[..., Plan], tmp_path: Path
) -> None:
    quiet, rows = Progress(quiet=True), []
    for number, features in enumerate((None, {"engine": "vllm"})):
        plan = planned(features, heads=False)  # vLLM starts for each set of texts
        results = run_experiment(plan, "states", Store(tmp_path / str(number)), quiet)
        assert [row.failure for row in results.results] == [None]
        rows.append(results.results)
    checks = verify_run(plan, Store(tmp_path / "1"), quiet, 2)
    assert all(check["passed"] for check in checks), checks
    assert sum("read by vLLM: states are the target's" in check["name"] for check in checks) == 3
    for own, other in zip(*rows, strict=True):
        assert own.numbers.keys() == other.numbers.keys()
        for name, number in own.numbers.items():
            assert other.numbers[name].value == pytest.approx(number.value, abs=2e-3), name


def test_only_states_that_vllm_reads_have_its_version_in_their_keys(
    planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, keys = planned(), []
    assert "features" not in own.recipe.model_dump()
    for version in ("0.32.0", "0.33.0"):
        monkeypatch.setattr(starting, "installed_version", lambda version=version: version)
        plan = planned({"engine": "vllm", "dtype": "bfloat16"})
        read = [node for node in plan.nodes if node.stage == "features"]
        assert {node.settings["engine"]["version"] for node in read} == {version}
        assert all(node.label.endswith("read by vLLM") for node in read)
        keys.append({node.key for node in read})
        texts = {node.inputs["texts"].key for node in read}
        assert texts <= {node.key for node in own.nodes}
    assert len(keys[0]) == len(keys[1]) > 3
    assert not keys[0] & (keys[1] | {node.key for node in own.nodes})


def test_the_cache_has_room_for_states_in_the_blocks_of_keys_and_values(
    tiny_directory: Path, tmp_path: Path
) -> None:
    settings = EngineSettings(Samplers(GREEDY, GREEDY), 0, 1, frozenset(), 0, Placement())
    made = reading_options(tiny_directory, settings, 100, (0, 8), tmp_path)
    keys_and_values, states = 8 * 2 * 2 * 32 * 4, 2 * 128 * 4  # bytes of a token
    room = (100 + 2 * 128) * (keys_and_values + 2 * 8 * states)
    assert made["kv_cache_memory_bytes"] == room
    assert str(tmp_path) not in str(without_paths(made))


def test_a_family_with_another_last_norm_is_refused(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "check_installed", lambda what: None)
    config = GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=len(tokenizer))
    model = LanguageModel(GPT2LMHeadModel(config), len(tokenizer))
    save_model(model, tokenizer, tmp_path)
    with pytest.raises(UserError, match="the last norm of 'gpt2' models is not known"):
        _reader(tmp_path, tmp_path)


def test_quantised_targets_and_machines_without_vllm_are_refused(
    tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if starting.installed_version() is None:
        with pytest.raises(UserError, match=r"features\.engine = 'vllm' needs vLLM, 0\.32"):
            _reader(tiny_directory, tmp_path)
    monkeypatch.setattr(states, "check_installed", lambda what: None)
    (tmp_path / "config.json").write_bytes((tiny_directory / "config.json").read_bytes())
    mark(tmp_path, INT8)
    with pytest.raises(UserError, match=r"leave features\.engine out for a quantised target"):
        _reader(tmp_path, tmp_path)


def test_a_text_beyond_the_context_is_refused_before_vllm_starts(
    tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "check_installed", lambda what: None)
    reader = replace(_reader(tiny_directory, tmp_path), directory=Path("nowhere"))
    long = Text("long", (5,) * 1020, (5,) * 5)
    write = {"dtype": "float32", "read": VllmReader.read_states}
    with (
        Progress(quiet=True).step("reading", 1) as step,
        pytest.raises(UserError, match="long: 1025 tokens do not fit the context of 1024"),
    ):
        write_hidden_states(reader, [long], tmp_path, step=step, **write)
