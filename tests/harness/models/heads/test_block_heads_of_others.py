"""Block heads in other programs: SpecForge's Domino, the loop of `dflash`, vLLM's loader."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from block_cases import BLOCK_METHODS, random_head, random_prompts, toy_target, trained_block_head
from head_cases import small_target
from others import needs_others, run_theirs
from safetensors.torch import load_file, save_file

from draftmark.engines._vllm.options import environment_variables, speculation_options
from draftmark.engines.reference import _Loop
from draftmark.environment import install_hint
from draftmark.models.heads.block_exports import BlockLayout, export_block_head
from draftmark.models.heads.block_imports import read_block_head
from draftmark.models.heads.block_reading import read_blocks
from draftmark.models.hidden_states import LiveStates
from draftmark.models.language_model import LanguageModel
from draftmark.speculation.block_drafter import BlockDrafter, draw_in_turn
from draftmark.speculation.interfaces import EngineSettings
from draftmark.training.batches import Batch
from draftmark.training.block_training import by_token, loss_by_slot
from draftmark.types import GREEDY, Placement, Prompt, Samplers, Text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # their packages take seconds to import
PROGRAMS = Path(__file__).parents[3] / "support" / "theirs"
PROMPT, LENGTH, BASE_SHARE = 6, 26, 0.35
IDS = torch.randint(0, 63, (1, LENGTH), generator=torch.Generator().manual_seed(0))
TEXT = Text("a", tuple(IDS[0, :PROMPT].tolist()), tuple(IDS[0, PROMPT:].tolist()))
UNCORRECTED, LIMIT = (0, 1, 3), 24
VLLM_LAYOUTS: list[tuple[str, BlockLayout]] = [
    (name, layout) for name in ("dflash", "dspark") for layout in (name, "speculators")
]
PACKED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def domino(uncorrected: int) -> Any:
    """Return the method, with the decay of the script."""
    return replace(BLOCK_METHODS["domino"], uncorrected=uncorrected, base_share=BASE_SHARE)


@pytest.fixture(scope="module")
def target() -> LanguageModel:
    return small_target("qwen2")  # an untied head


@pytest.fixture(scope="module")
def specforge(target: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of each number of uncorrected slots, with what specforge gives."""
    base = tmp_path_factory.mktemp("domino")
    for uncorrected in UNCORRECTED:
        head = random_head(domino(uncorrected), target)
        folder = base / str(uncorrected)
        export_block_head(head, "domino", folder / "head", target="")
        states_TLD = LiveStates(target, head.model.shape.layers).states_of(TEXT)
        states_TLD = torch.cat([states_TLD, torch.zeros_like(states_TLD[:1])])  # of the last token
        given = {
            "input_ids": IDS,
            "hidden_states": states_TLD.flatten(1)[None],
            "loss_mask": (torch.arange(LENGTH) >= PROMPT - 1)[None].float(),
            "embedding": target.model.get_input_embeddings().weight,
            "output": target.model.get_output_embeddings().weight,
            "base_share": torch.tensor(BASE_SHARE),
        }
        save_file({k: v.detach().clone().contiguous() for k, v in given.items()}, folder / "inputs")
    run_theirs(PROGRAMS / "domino.py", base)
    return base


@needs_others("specforge")
@pytest.mark.parametrize("uncorrected", UNCORRECTED)
def test_a_pass_a_loss_and_a_greedy_block_are_those_of_specforge(
    uncorrected: int, target: LanguageModel, specforge: Path
) -> None:
    """Of the head as it is read from what specforge saved."""
    method, folder = domino(uncorrected), specforge / str(uncorrected)
    out = load_file(folder / "outputs")
    head = read_block_head(folder / "saved", target)
    assert out["anchors"].tolist() == list(range(PROMPT - 1, LENGTH - 1))
    states_TLD = LiveStates(target, head.model.shape.layers).states_of(TEXT)
    inside_RK = torch.arange(LENGTH - PROMPT)[:, None] + torch.arange(7) < LENGTH - PROMPT
    with torch.no_grad():
        states_RKX = read_blocks(head, TEXT, states_TLD, inside_RK)
        states_NKX = by_token(states_RKX)
        target_NV = target.logits(states_of_last(target))
        logits_RKV, bias_RKV = head.logits(states_RKX), head.model.bias(states_RKX[..., 32:])
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(logits_RKV[inside_RK], out["logits"][inside_RK], **close)
    base_RKV = (logits_RKV - bias_RKV)[inside_RK]
    torch.testing.assert_close(base_RKV, out["base"][inside_RK], **close)
    assert (bias_RKV[:, :uncorrected] == 0).all()
    assert bias_RKV[:, uncorrected:][inside_RK[:, uncorrected:]].abs().mean() > 0.1

    batch = Batch.from_texts([TEXT], 0, 0.0, torch.device("cpu"))
    batch = replace(batch, states=(states_NKX, torch.zeros(LENGTH - PROMPT, 1)))
    logits_NKV = head.logits(states_NKX).requires_grad_()
    losses_NK = loss_by_slot(method.slot_loss(head))(logits_NKV, target_NV, batch)
    weights_K = method.decay ** torch.arange(7)
    total = float((losses_NK * weights_K).sum().detach() / (inside_RK * weights_K).sum())
    assert total == pytest.approx(float(out["loss"]), rel=1e-5)

    slots = draw_in_turn(
        head, out["hidden"], IDS[0, out["anchors"]], GREEDY, torch.Generator(), threshold=0.0
    )
    drawn_AK = torch.stack([slot.tokens_A for slot in slots], dim=1)
    assert torch.equal(drawn_AK[:, :-1], out["drafted"])


def states_of_last(target: LanguageModel) -> torch.Tensor:
    """Return the target's final states [N, D] before each token of the response."""
    return target.hidden(IDS[:, :-1])[0, PROMPT - 1 :]


@needs_others("dflash")
def test_the_loop_of_dflash_has_the_rounds_of_the_reference_engine(tmp_path: Path) -> None:
    """Its model, its cache and its acceptance, with a head that was trained here."""
    target, prompts = toy_target(), random_prompts(16, seed=1)
    how = EngineSettings(Samplers(GREEDY, GREEDY), 7, LIMIT - 1, frozenset(), 0, Placement())
    alone = list(_Loop(target, None, how).generate(prompts))
    texts = [
        Text(item.example_id, prompt.token_ids, item.token_ids)
        for item, prompt in zip(alone, prompts, strict=True)
    ]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    head = trained_block_head(BLOCK_METHODS["dflash"], target, texts, scratch)
    export_block_head(head, "dflash", tmp_path / "head", target="")
    target.model.save_pretrained(tmp_path / "target")
    ids = [list(prompt.token_ids) for prompt in prompts]
    (tmp_path / "prompts.json").write_text(json.dumps(ids), "utf-8")
    (tmp_path / "limit").write_text(str(LIMIT), "utf-8")
    run_theirs(PROGRAMS / "dflash_blocks.py", tmp_path)

    start = Text("a", prompts[0].token_ids, (0,))
    states_TLD = LiveStates(target, head.model.shape.layers).states_of(start)
    with torch.no_grad():
        one_RK = torch.ones(1, head.block_size, dtype=torch.bool)
        logits_KV = head.logits(read_blocks(head, start, states_TLD, one_RK)[0])
    first = load_file(tmp_path / "first")["logits"]
    torch.testing.assert_close(logits_KV, first, atol=1e-5, rtol=1e-5)

    theirs = json.loads((tmp_path / "decoded.json").read_text("utf-8"))
    after_first = [  # its prefill gives the first token, and its first block starts after that
        Prompt(prompt.example_id, (*prompt.token_ids, each["tokens"][0]))
        for prompt, each in zip(prompts, theirs, strict=True)
    ]
    mine = list(_Loop(target, BlockDrafter(head), how).generate(after_first))
    counted = []
    for item, each in zip(mine, theirs, strict=True):
        assert list(item.token_ids) == each["tokens"][1:]
        emitted = whole_blocks([one.accepted + 1 for one in item.rounds])
        assert emitted == whole_blocks(each["passes"])
        counted += emitted
    assert {1, 2, 8} <= set(counted)


def whole_blocks(emitted: Sequence[int]) -> list[int]:
    """Return the tokens that rounds emitted, of the rounds far enough from the end of the text.

    The loop of `dflash` reads fewer slots there, which gives other distributions.
    """
    starts = accumulate(emitted, initial=0)
    return [tokens for tokens, start in zip(emitted, starts, strict=False) if start + 9 <= LIMIT]


@pytest.fixture(scope="module")
def wide() -> LanguageModel:
    """Return a target whose attention vLLM's CPU backend has: 32 dimensions a head."""
    return small_target("qwen2", hidden_size=128)


@pytest.fixture(scope="module")
def loaded(wide: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of exported heads, beside what vLLM's loader made of each."""
    base = tmp_path_factory.mktemp("vllm")
    export_for_vllm(wide, base)
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAMS / "vllm_blocks.py"), str(base)],
        env={**os.environ, **environment_variables("cpu", 1)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return base / "heads"


def export_for_vllm(target: LanguageModel, base: Path) -> None:
    """Write a target, and every head in every layout with the arguments that vLLM gets for it."""
    target.model.save_pretrained(base / "target")
    for name, layout in VLLM_LAYOUTS:
        head = random_head(BLOCK_METHODS[name], target)
        folder = base / "heads" / f"{name}-{layout}"
        export_block_head(head, layout, folder, target=str(base / "target"))
        asked = {"num_speculative_tokens": head.block_size}
        if layout != "speculators":  # which names its method itself
            settings = EngineSettings(
                Samplers(GREEDY, GREEDY), head.block_size, LIMIT, frozenset(), 0, Placement()
            )
            asked = speculation_options(BLOCK_METHODS[name], folder, settings)
        folder.with_suffix(".json").write_text(json.dumps(asked), "utf-8")


@pytest.mark.skipif(
    find_spec("vllm") is None, reason=f"vLLM is not installed; {install_hint('vllm')}"
)
@pytest.mark.parametrize(("name", "layout"), VLLM_LAYOUTS)
def test_vllms_loader_has_every_weight_of_an_exported_head_where_its_model_reads_it(
    name: str, layout: str, wide: LanguageModel, loaded: Path
) -> None:
    """What vLLM adds are its own ends and a mask embedding, which the target or no file fills."""
    folder = loaded / f"{name}-{layout}"
    weights = load_file(folder.with_suffix(".safetensors"))
    expected = packed_as_in_vllm(load_file(folder / "model.safetensors"))
    for key, value in expected.items():
        assert torch.equal(weights[key], value), key
    assert weights.keys() - expected.keys() <= {
        "lm_head.weight",
        "model.embed_tokens.weight",
        "model.mask_embedding",
    }
    head = BLOCK_METHODS[name].head(wide, [], 0)
    read = json.loads(folder.with_suffix(".read.json").read_text("utf-8"))
    assert read == {
        "class": {"dflash": "DFlashQwen3ForCausalLM", "dspark": "Qwen3DSparkForCausalLM"}[name],
        "method": name,
        "tokens": head.block_size,
        "layers": list(head.model.shape.layers),
        "mask_token": head.model.shape.mask_token,
        "causal": [False],
    }


def packed_as_in_vllm(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a file by the names of vLLM's model, which packs some into one."""
    packed: dict[str, list[torch.Tensor]] = {}
    for name in sorted(tensors, key=order_when_packed):
        *_, module, _ = name.split(".")
        to = next((whole for whole, parts in PACKED.items() if module in parts), module)
        packed.setdefault("model." + name.replace(module, to), []).append(tensors[name])
    return {name: torch.cat(values) for name, values in packed.items()}


def order_when_packed(name: str) -> int:
    parts = [part for whole in PACKED.values() for part in whole]
    module = name.split(".")[-2] if "." in name else name
    return parts.index(module) if module in parts else -1
