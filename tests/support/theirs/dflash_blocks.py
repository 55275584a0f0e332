"""Decodes with the DFlash of PyPI's `dflash`: its model, its cache and its loop at temperature 0.

FOLDER has the target in `target`, the exported head in `head` and prompts' ids in `prompts.json`,
with the most tokens to write in `limit`. The script writes to `decoded.json` the tokens of each
prompt and how many tokens each pass of the target gave, and to `first` the logits of the block
after the first prompt. This runs in a process of its own, where draftmark is not imported.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from dflash import model as theirs
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


@torch.no_grad()
def first_block(draft: Any, target: Any, ids: list[int]) -> torch.Tensor:
    """Return the logits [K, V] of the block after a text, in one pass."""
    before = torch.tensor([ids[:-1]])
    read = target(before, output_hidden_states=True).hidden_states
    features = theirs.extract_context_feature(read, draft.target_layer_ids)
    block = torch.full((1, draft.block_size), draft.mask_token_id)
    block[0, 0] = ids[-1]
    places = torch.arange(before.shape[1] + draft.block_size)[None]
    embedded = target.get_input_embeddings()(block)
    states = draft(position_ids=places, noise_embedding=embedded, target_hidden=features)
    logits: torch.Tensor = draft.compute_logits(states[0, 1:], target.lm_head)
    return logits


def main(folder: Path) -> None:
    """Decode every prompt."""
    theirs._cuda_time = time.perf_counter  # it waits for a GPU
    target = AutoModelForCausalLM.from_pretrained(folder / "target").eval()
    draft = theirs.DFlashDraftModel.from_pretrained(folder / "head").eval()
    prompts, limit = (json.loads((folder / name).read_text()) for name in ("prompts.json", "limit"))
    save_file({"logits": first_block(draft, target, prompts[0])}, folder / "first")
    decoded = []
    for ids in prompts:
        made = theirs.dflash_generate(
            draft, target, torch.tensor([ids]), limit, None, return_stats=True
        )
        tokens = made.output_ids[0, len(ids) :].tolist()
        decoded.append({"tokens": tokens, "passes": made.acceptance_lengths})
    (folder / "decoded.json").write_text(json.dumps(decoded))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
