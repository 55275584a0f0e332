"""Runs specforge's Domino on exported heads: one training pass, greedy blocks, and what it saves.

A folder in FOLDER has the exported head in `head`, and in the safetensors file `inputs` the token
ids, the target's states, the mask of supervised tokens, the target's embedding and output head, and
the share of the base logits' loss. The script writes anchors, logits, loss and drafted tokens to
`outputs`, and the head as specforge saves it to `saved`. This runs in a process of its own, where
draftmark is not imported.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from specforge.algorithms.common.dflash_family_model import OnlineDominoModel
from specforge.modeling.draft.domino import DominoDraftModel

DECAY_GAMMA = 4.0


def run(folder: Path) -> None:
    """Write what specforge makes of one head."""
    draft = DominoDraftModel.from_pretrained(folder / "head", attn_implementation="eager").eval()
    draft.save_pretrained(folder / "saved")
    given = load_file(folder / "inputs")
    rows, width = given["embedding"].shape
    embedding = torch.nn.Embedding(rows, width, _weight=given.pop("embedding"))
    output = torch.nn.Linear(width, rows, bias=False)
    output.weight.copy_(given.pop("output"))
    model = OnlineDominoModel(
        draft,
        output,
        embedding,
        draft.mask_token_id,
        draft.block_size,
        attention_backend="eager",
        num_anchors=given["input_ids"].shape[1],
        loss_decay_gamma=DECAY_GAMMA,
        shift_label=draft.shift_label,
    )
    kept, base_share = recorded(model), float(given.pop("base_share"))
    total, _, _ = model(**given, lambda_base=base_share)
    target = SimpleNamespace(lm_head=output, model=SimpleNamespace(embed_tokens=embedding))
    blocks_AK = torch.full((len(kept["hidden"]), draft.block_size), draft.mask_token_id)
    blocks_AK[:, 0] = given["input_ids"][0, kept["anchors"]]
    drafted_AK = draft._sample_draft_tokens(target, kept["hidden"], blocks_AK)
    kept |= {"drafted": drafted_AK.contiguous(), "loss": total}
    save_file(kept, folder / "outputs")


def recorded(model: Any) -> dict[str, torch.Tensor]:
    """Return what the pass of a model will keep: its anchors, the layers' states, the logits."""
    kept: dict[str, torch.Tensor] = {}
    blocks, correct = model._forward_draft_blocks, model.draft_model.apply_logits_head

    def keep_blocks(**given: Any) -> Any:
        anchors, _, hidden = result = blocks(**given)
        kept["anchors"] = anchors[0].clone()
        kept["hidden"] = hidden.view(anchors.shape[1], model.block_size, -1).clone()
        return result

    def keep_logits(base_logits: torch.Tensor, **given: Any) -> Any:
        result = correct(base_logits, **given)
        if "logits" not in kept:  # not those of drafting
            kept.update(base=base_logits[0].clone(), logits=result[0].clone())
        return result

    model._forward_draft_blocks, model.draft_model.apply_logits_head = keep_blocks, keep_logits
    return kept


if __name__ == "__main__":
    torch.manual_seed(0)
    with torch.no_grad():
        for inputs in Path(sys.argv[1]).glob("*/inputs"):
            run(inputs.parent)
