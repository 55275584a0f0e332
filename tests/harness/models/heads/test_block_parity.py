"""Block heads against PyPI's speculators on the same random weights: passes, masks, losses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from block_cases import BLOCK_METHODS, random_head
from head_cases import small_target
from others import needs_others, run_theirs
from safetensors.torch import load_file, save_file

from draftmark.baselines._token_losses import label_loss
from draftmark.baselines.dspark import confidence_loss
from draftmark.models.heads.block_exports import export_block_head
from draftmark.models.heads.block_head import BlockHead
from draftmark.models.heads.block_imports import check_any_head, read_any_head
from draftmark.models.heads.block_reading import read_blocks
from draftmark.models.language_model import LanguageModel
from draftmark.training.batches import Batch
from draftmark.training.block_training import by_token, loss_by_slot, was_drawn
from draftmark.training.divergences import forward_kl, tvd
from draftmark.types import Text

SCRIPT = Path(__file__).parents[3] / "support" / "speculators_blocks.py"
PROMPT, LENGTH = 6, 26
IDS = torch.randint(0, 63, (1, LENGTH), generator=torch.Generator().manual_seed(0))
pytestmark = needs_others("speculators")
Loss = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]


def likeliest(draft_NV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return speculators' `ce`: the label is the target's likeliest token."""
    return label_loss(draft_NV, target_NV, replace(batch, labels_N=target_NV.argmax(-1)))


def kl(draft_NV: torch.Tensor, target_NV: torch.Tensor, _: Batch) -> torch.Tensor:
    return forward_kl(draft_NV, target_NV)


CASES: dict[tuple[str, str], Loss] = {
    ("p_eagle", "kl_div"): kl,
    ("dflash", "kl_div"): kl,
    ("dflash", "ce"): likeliest,
    ("dspark", '{"ce": 0.1, "tv": 0.9}'): lambda draft, target, batch: (
        0.1 * likeliest(draft, target, batch) + 0.9 * tvd(draft, target)
    ),
}


@torch.no_grad()
def states_of(target: LanguageModel, ids_BT: torch.Tensor, layers: Any) -> Any:
    """Return the states [T, L, D] of layers, the last layer's [T, D], and the final states."""
    body, last = target.model.base_model, []
    handle = body.norm.register_forward_pre_hook(lambda _, given: last.append(given[0][0]))
    read = body(input_ids=ids_BT, output_hidden_states=True)
    handle.remove()
    states_TLD = torch.stack([read.hidden_states[layer][0] for layer in layers], dim=1)
    return states_TLD, last[0], read.last_hidden_state[0]


def inputs(name: str, states_TLD: torch.Tensor, last_TD: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the arguments of speculators' training pass; every start that it may take is drawn."""
    ids_BT, states_BTX, last_BTD = IDS, states_TLD.flatten(1)[None], last_TD[None]
    mask_BT = (torch.arange(LENGTH) >= PROMPT)[None].float()
    if name == "p_eagle":  # slot i reads feature i and token i + 1, and predicts token i + 2
        ids_BT, states_BTX, last_BTD = ids_BT[:, 1:], states_BTX[:, :-1], last_BTD[:, 1:]
        mask_BT = (torch.arange(LENGTH - 1) >= PROMPT - 2)[None].float()
        mask_BT[:, -1] = 0
    slots = 8 if name == "dflash" else 7
    given = {
        "input_ids": ids_BT,
        "hidden_states": states_BTX,
        "verifier_last_hidden_states": last_BTD,
        "loss_mask": mask_BT,
        "num_depths": torch.tensor(6),
        "max_anchors": mask_BT[:, :-slots].sum().long(),
    }
    return {key: value.contiguous() for key, value in given.items()}


@pytest.fixture(scope="module")
def target() -> LanguageModel:
    return small_target("llama")


@pytest.fixture(scope="module")
def theirs(
    target: LanguageModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Path]:
    """Return the folder of each case, with the exported head and what speculators gives."""
    base = tmp_path_factory.mktemp("parity")
    target.model.save_pretrained(base / "target")
    folders = {}
    for number, (name, loss) in enumerate(CASES):
        folder = folders[name, loss] = base / str(number)
        head = random_head(BLOCK_METHODS[name], target)
        export_block_head(head, "speculators", folder / "head", target=str(base / "target"))
        states_TLD, last_TD, _ = states_of(target, IDS, head.model.shape.layers)
        save_file(inputs(name, states_TLD, last_TD), folder / "inputs")
        (folder / "loss").write_text(loss, encoding="utf-8")
    run_theirs(SCRIPT, base)
    return folders


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "loss"), CASES)
def test_a_pass_its_mask_and_its_loss_are_those_of_speculators(
    name: str, loss: str, target: LanguageModel, theirs: dict[tuple[str, str], Path]
) -> None:
    """Of the head as a recipe reads it from what speculators saved."""
    folder = theirs[name, loss]
    out = load_file(folder / "outputs")
    check_any_head(folder / "saved", "saved", target.model.config, target.vocab_size)
    head = read_any_head(folder / "saved", target, "saved")
    assert isinstance(head, BlockHead)
    states_TLD, _, final_TD = states_of(target, IDS, head.model.shape.layers)
    ids, size = tuple(IDS[0].tolist()), head.block_size
    text = Text("a", ids[:PROMPT], ids[PROMPT:])
    starts, slots, read = pairs(name, out, size)
    drawn_RK = torch.zeros(LENGTH - PROMPT, size, dtype=torch.bool)
    drawn_RK[starts[read], slots[read]] = True
    with torch.no_grad():
        states_RKX = read_blocks(head, text, states_TLD[:-1], drawn_RK)
        target_ND, states_NKX = final_TD[PROMPT - 1 : -1], by_token(states_RKX)
        target_NV, logits_NKV = target.logits(target_ND), head.logits(states_NKX)
    mine = head.logits(states_RKX)[starts[read], slots[read]]
    torch.testing.assert_close(mine, out["logits"][0][read], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(target_NV[(starts + slots)[read]], out["targets"][0][read])

    batch = Batch.from_texts([text], 0, 0.0, torch.device("cpu"))
    batch = replace(batch, states=(states_NKX, target_ND))
    losses_NK = loss_by_slot(CASES[name, loss])(logits_NKV, target_NV, batch)
    if name == "dspark":
        confidence_NK = head.model.confidence_logits(states_NKX)
        own = [
            confidence_loss(confidence_NK[:, k], logits_NKV[:, k], target_NV) for k in range(size)
        ]
        losses_NK = losses_NK + torch.stack(own, 1) * was_drawn(states_NKX)
        torch.testing.assert_close(
            confidence_NK[(starts + slots)[read], slots[read]], out["confidence"][0][read]
        )
    weights_K = BLOCK_METHODS[name].decay ** torch.arange(size)
    total = float((losses_NK * weights_K).sum().detach())
    assert total / int(read.sum()) == pytest.approx(float(out["loss"]), rel=1e-5)


def pairs(name: str, out: Any, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return speculators' order of (starts, slots), and True where one gives a loss."""
    if name == "p_eagle":
        starts, slots = out["anchors"] + 2 - PROMPT, out["depths"]
        tokens = starts + slots
        return (
            starts.clamp(min=0),
            slots,
            (tokens >= 0) & (starts >= 0) & (tokens < LENGTH - PROMPT),
        )
    anchors, first = out["anchors"], 1 if name == "dflash" else 0
    starts = (anchors + 1 - PROMPT)[:, None].expand(-1, size + first).flatten()
    slots = (torch.arange(size + first) - first).expand(len(anchors), -1).flatten()
    return starts, slots.clamp(min=0), slots >= 0
