"""The block head of docs/adding-a-method.md, one file: trained, saved, scored, decoded."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from block_cases import random_prompts, trained_block_head
from head_cases import small_target
from places import ROOT

from draftmark.engines.measure.lossless import read_target_logits
from draftmark.engines.reference import _Loop
from draftmark.speculation.blocks import block_counts
from draftmark.speculation.interfaces import EngineSettings, SizedMethod
from draftmark.types import GREEDY, Placement, Samplers, Text

PAGE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
SOURCE = re.search(r'\n("""A matrix for each slot.*?\nMETHOD = \w+\n)', PAGE, re.DOTALL)


def test_one_file_is_a_block_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SOURCE
    (tmp_path / "matrices.py").write_text(SOURCE[1], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    method: Any = importlib.import_module("matrices").METHOD(block_size=2)
    assert isinstance(method, SizedMethod)
    target, prompts = small_target("qwen2"), random_prompts(8)
    how = Samplers(GREEDY, GREEDY)
    settings = EngineSettings(how, 4, 8, frozenset(), 0, Placement())
    alone = list(_Loop(target, None, settings).generate(prompts))
    texts = [
        Text(item.example_id, prompt.token_ids, item.token_ids)
        for item, prompt in zip(alone, prompts, strict=True)
    ]
    head = trained_block_head(method, target, texts, tmp_path)
    head.model.save_pretrained(tmp_path)
    drafter = method.drafter(tmp_path, Placement())
    decoded = list(_Loop(target, drafter, settings).generate(prompts))
    assert [each.token_ids for each in decoded] == [each.token_ids for each in alone]
    tables = list(drafter.score(texts, read_target_logits(target, texts), how))
    assert [each.target_passes for each in decoded] == block_counts(tables, 4).passes_B.tolist()
    assert torch.tensor([len(each.rounds) for each in decoded]).float().mean() < 8
