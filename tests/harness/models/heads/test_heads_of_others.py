"""Heads that speculators and specforge make and save: their logits, losses, a loop's table."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_cases import scored_text, small_target
from others import FOLDER, needs_others, run_theirs
from safetensors.torch import load_file, save_file

from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_imports import read_head
from draftmark.models.heads.head_rollout import roll_forward
from draftmark.models.hidden_states import LiveStates
from draftmark.models.language_model import LanguageModel
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.divergences import forward_kl
from draftmark.training.head_training import loss_by_depth, trainable_head
from draftmark.types import Sampler, Samplers, Text

pytestmark = pytest.mark.slow  # their packages take seconds to import

TEXT = Text("a", (3, 9, 4, 17, 5), (5, 60, 2, 8, 11, 7, 2, 60))
ONE = Samplers(Sampler(1.0), Sampler(1.0))
LAYERS, DEPTH, FAMILIES = (1, 2, 3), 3, ("llama", "qwen3")
KEPT = [2, 5, 7, 8, 11, 33, 60]
_KEYS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "head_dim"),
    *("num_key_value_heads", "max_position_embeddings"),
)
# specforge 0.2 has fc_norm; its norm_output is another thing than that of vLLM, and is left alone.
FLAGS: dict[str, list[dict[str, bool]]] = {
    "speculators": [
        {},
        {"fc_norm": True, "norm_output": True},
        {"fc_norm": True},
        {"norm_output": True, "norm_before_residual": True},
        {"norm_before_fc": True, "norm_before_residual": True},
    ],
    "specforge": [{}, {"fc_norm": True}],
}


def _cases() -> Iterator[tuple[str, dict[str, Any]]]:
    for library, every in FLAGS.items():
        for family in FAMILIES:
            for flags in every:
                for kept in (None, KEPT):
                    words = [library, family, *flags, *(["cut"] if kept else [])]
                    sizes = small_target(family).model.config.to_dict()
                    layer = {"num_hidden_layers": 1} | {key: sizes[key] for key in _KEYS}
                    # SpecForge's heads are Llama layers, whatever the target.
                    own = "llama" if library == "specforge" else family
                    case = {"library": library, "family": family, "layer_family": own}
                    case |= {"flags": flags, "kept": kept, "layer": layer, "layers": LAYERS}
                    yield "-".join(words), case


CASES = {name: case for name, case in _cases() if (FOLDER / case["library"]).is_dir()}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that other people's code wrote heads and logits into."""
    folder = tmp_path_factory.mktemp("theirs")
    for family in FAMILIES:
        target = small_target(family)
        states = LiveStates(target, LAYERS).states_of(TEXT)
        ids = torch.tensor([*TEXT.prompt_ids, *TEXT.response_ids])[1:-1]
        predicted = torch.arange(len(ids)) - (len(TEXT.prompt_ids) - 2)  # response token by slot
        tensors = {
            "ids": ids,
            "states": states[: len(ids)],
            "last": before_the_norm(target)[1 : len(ids) + 1],
            "norm": target.model.base_model.norm.weight,
            "output": target.model.get_output_embeddings().weight,
            "mask": (predicted >= DEPTH - 1).float(),  # so that no chain starts in the prompt
        }
        tensors = {name: value.detach().clone() for name, value in tensors.items()}
        save_file(tensors, folder / f"{family}.safetensors")
    (folder / "cases.json").write_text(json.dumps(CASES), "utf-8")
    run_theirs(Path(__file__).parents[3] / "support" / "theirs" / "heads.py", folder)
    return folder


@needs_others("speculators", "specforge")
def test_both_libraries_are_there_to_be_compared() -> None:
    assert len(CASES) == 28


@pytest.mark.parametrize("name", CASES)
def test_a_head_gives_its_own_codes_logits_and_the_table_of_a_slow_loop(
    name: str, theirs: Path
) -> None:
    case = CASES[name]
    target = small_target(case["family"])
    head = read_head(theirs / name, target, name)
    logits_KTV = load_file(theirs / name / "logits.safetensors")["logits"]
    first, rows = len(TEXT.prompt_ids) - 2, len(TEXT.response_ids)
    ids = torch.tensor(case["kept"] or list(range(64)))
    with torch.no_grad():
        states = LiveStates(target, head.model.shape.layers).states_of(TEXT)
        for depth, hidden_BRD in enumerate(roll_forward(head, [TEXT], [head.fuse(states)], DEPTH)):
            valid = rows - depth
            mine_RV = head.logits(hidden_BRD[0, :valid])
            theirs_RV = logits_KTV[depth, first : first + valid]
            torch.testing.assert_close(mine_RV[:, ids], theirs_RV, atol=1e-5, rtol=1e-5)
            assert torch.isinf(mine_RV).sum() == valid * (64 - len(ids))
    if case["library"] == "speculators" and not case["kept"]:
        assert_same_losses(head, target, theirs / name)
    accept_SD = _slow_table(logits_KTV.double(), ids, target)
    mine_SD = scored_text(head, target, TEXT, ONE).accept_SD[:, :DEPTH]
    np.testing.assert_allclose(mine_SD, accept_SD, atol=1e-5)
    assert accept_SD.max() > 0.1


@torch.no_grad()
def before_the_norm(target: LanguageModel) -> torch.Tensor:
    """Return the target's last states [T, D] of the text, before its last norm."""
    kept: list[torch.Tensor] = []
    body = target.model.base_model
    handle = body.norm.register_forward_pre_hook(lambda _, given: kept.append(given[0][0]))
    target.hidden(torch.tensor([[*TEXT.prompt_ids, *TEXT.response_ids]]))
    handle.remove()
    return kept[0]


@torch.no_grad()
def assert_same_losses(head: FeatureHead, target: LanguageModel, folder: Path) -> None:
    """Assert that the loss of every depth, as training takes it, is that of speculators: KL."""
    states = LiveStates(target, head.model.shape.layers).states_of(TEXT)
    given = TrainingBatch([TEXT], torch.empty(0), layers=[states])
    read_NKD = trainable_head(head, DEPTH, 0.0, 0).read(given, 0)
    ids_BT = torch.tensor([[*TEXT.prompt_ids, *TEXT.response_ids]])
    target_ND = target.hidden(ids_BT)[0, len(TEXT.prompt_ids) - 1 : -1]
    batch = Batch.from_texts([TEXT], 0, 0.0, torch.device("cpu"))
    batch = replace(batch, states=(read_NKD, target_ND))
    losses = loss_by_depth(lambda draft, own, _: forward_kl(draft, own))
    losses_NK = losses(head.logits(read_NKD), target.logits(target_ND), batch)
    expected_K = load_file(folder / "logits.safetensors")["loss"]
    torch.testing.assert_close(losses_NK[DEPTH - 1 :].mean(0), expected_K, atol=1e-5, rtol=1e-5)


def _slow_table(logits_KTV: torch.Tensor, ids: torch.Tensor, target: Any) -> np.ndarray[Any, Any]:
    """Return min(1, q(y) / p(y)) at every start and depth, one token after the other."""
    y, before = TEXT.response_ids, list(TEXT.prompt_ids)
    accept = np.zeros((len(y), DEPTH))
    for start in range(len(y)):
        for depth in range(min(DEPTH, len(y) - start)):
            read = torch.tensor([before + list(y[: start + depth])])
            with torch.no_grad():
                p_V = target.model(input_ids=read).logits[0, -1].double().softmax(-1)
            q_V = torch.zeros(64, dtype=torch.float64)
            q_V[ids] = logits_KTV[depth, len(before) - 2 + start].softmax(-1)
            token = y[start + depth]
            accept[start, depth] = min(1.0, float(q_V[token] / p_V[token]))
    return accept
