"""Greedy responses of every family are those of transformers' `generate`, batched or alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from family_cases import END, FAMILIES, ROWS, TOKENS, save_family
from family_stages import prompts
from transformers import AutoModelForCausalLM

from draftmark.models.generation import Sampling, generate
from draftmark.models.language_model import load_model
from draftmark.types import GREEDY, Prompt

NEW_TOKENS = 30  # beyond the windows, of 8 tokens
ENDS = frozenset(range(0, TOKENS, 12))  # so that texts end at different lengths


def of_transformers(model: Any, prompt: Prompt) -> tuple[int, ...]:
    ids_BT = torch.tensor([prompt.token_ids])
    wrote_BT = model.generate(
        ids_BT,
        attention_mask=torch.ones_like(ids_BT),
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        eos_token_id=sorted(ENDS),
        pad_token_id=END,
        suppress_tokens=list(range(TOKENS, ROWS)),  # no text contains them
    )
    response = wrote_BT[0, ids_BT.shape[1] :].tolist()
    return tuple(response)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_responses_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    directory = save_family(family, tmp_path / "model")
    model, asked = load_model(directory), prompts(8, 3)
    its = AutoModelForCausalLM.from_pretrained(directory)
    expected = [of_transformers(its, prompt) for prompt in asked]
    assert len({len(response) for response in expected}) > 1  # rows leave the batch
    sampling = Sampling(GREEDY, NEW_TOKENS, ENDS, 0)
    for rows in (8, 3, 1):
        texts = generate(model, asked, sampling, rows_per_batch=rows)
        assert [text.response_ids for text in texts] == expected
