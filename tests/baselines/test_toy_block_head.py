"""A new block head is one file: a whole one, trained, saved, scored and decoded losslessly."""

import importlib
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from block_cases import random_prompts, trained_block_head
from head_cases import small_target

from draftmark.engines.measure.lossless import read_target_logits
from draftmark.engines.reference import _Loop
from draftmark.speculation.blocks import block_counts
from draftmark.speculation.interfaces import EngineSettings, SizedMethod
from draftmark.types import GREEDY, Placement, Samplers, Text

FILE = '''
"""A matrix for each slot, from the state before the anchor and the anchor's embedding."""

from dataclasses import dataclass

from draftmark.baselines._block_head import BlockHeadMethod


@dataclass(frozen=True)
class Matrices(BlockHeadMethod):
    block_size: int = 3

    def layers(self, num_layers):
        return (num_layers,)

    def module(self, config, shape):
        import torch

        from draftmark.models.heads.block_head import BlockModule

        class Module(BlockModule):
            def __init__(self):
                super().__init__(config, shape)
                width = config.hidden_size
                self.mix = torch.nn.Linear(2 * width, shape.block_size * width)

            def fuse(self, states_TLD):
                return states_TLD[:, -1]

            def extend(self, context, following_T, features_TD):
                context.append(features_TD)

            def blocks(self, context, ids_A, anchors_A, drawn_AK):
                both = torch.cat([context.at(anchors_A - 1), self.embedding(ids_A)], dim=-1)
                return self.mix(both).view(len(ids_A), shape.block_size, -1)

        return Module()


METHOD = Matrices
'''


def test_one_file_is_a_block_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "matrices.py").write_text(dedent(FILE), encoding="utf-8")
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
