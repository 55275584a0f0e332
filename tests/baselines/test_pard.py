"""PARD: its slots against a slow loop, the reference engine, training and what vLLM reads."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from block_cases import random_prompts, toy_target
from head_cases import small_target
from method_cases import built
from transformers.utils import logging as transformers_logging

from draftmark.baselines.pard import METHOD as Pard
from draftmark.baselines.untrained import METHOD as Untrained
from draftmark.config.model_sections import DraftInit, Training
from draftmark.engines._vllm.options import speculation_options
from draftmark.engines.measure.lossless import check_counts, check_distribution, read_target_logits
from draftmark.engines.reference import _Loop
from draftmark.errors import UserError
from draftmark.models.draft_inits import make_draft
from draftmark.models.generation import Sampling, generate
from draftmark.models.language_model import LanguageModel, save_model
from draftmark.models.parallel_reading import read_slots
from draftmark.progress import Progress
from draftmark.speculation.blocks import block_counts
from draftmark.speculation.interfaces import EngineSettings
from draftmark.speculation.parallel_drafter import ParallelDraft, ParallelDrafter
from draftmark.training.batches import FixedTexts, TrainingTexts
from draftmark.training.block_training import draw_slots
from draftmark.training.loop import TrainingContext
from draftmark.training.validation import acceptance_criterion
from draftmark.types import GREEDY, Placement, Sampler, Samplers, Text

ONE, LIMIT, MASK = Sampler(1.0), 10, 63
TEXTS = [Text("a", (5, 9, 3), (7, 1, 2, 8)), Text("b", (4,), (6, 2))]
SETTINGS = Training(passes=8, rows_per_batch=8, learning_rate=2e-2, validations=1)


@torch.no_grad()
def slow_state(model: LanguageModel, text: Text, start: int, slot: int) -> torch.Tensor:
    """Return the state at a slot: the text so far and the masks, read by themselves."""
    ids = [*text.prompt_ids, *text.response_ids[:start], *[MASK] * slot]
    return model.hidden(torch.tensor([ids]))[0, -1]


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt_neox", "phi"])
def test_each_slot_is_that_of_the_text_so_far_and_masks(family: str) -> None:
    model = small_target(family)
    for text in TEXTS:
        length = len(text.response_ids)
        drawn_RK = draw_slots(length, (1.0, 0.7, 0.5), torch.Generator().manual_seed(3))
        with torch.no_grad():
            states_RKD = read_slots(model, text, MASK, drawn_RK)
        for start in range(length):
            for slot in range(3):
                expected_D = slow_state(model, text, start, slot) * drawn_RK[start, slot]
                torch.testing.assert_close(
                    states_RKD[start, slot], expected_D, atol=1e-5, rtol=1e-4
                )


def test_reading_slots_calls_nothing_that_transformers_will_remove(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers logs its deprecations, once in a process, and passes them to no other logger."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    transformers_logging.warning_once.cache_clear()

    read_slots(small_target("llama"), TEXTS[0], MASK, torch.ones(4, 2, dtype=torch.bool))

    assert [line for line in caplog.messages if "deprecated" in line] == []


def test_a_model_with_a_window_is_refused() -> None:
    with pytest.raises(UserError, match="with an attention window cannot draft in parallel"):
        read_slots(small_target("mistral"), TEXTS[0], MASK, torch.ones(4, 2, dtype=torch.bool))


@pytest.fixture(scope="module")
def toy() -> LanguageModel:
    return toy_target()


@pytest.fixture(scope="module")
def made(toy: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a draft trained a little, with its history."""
    prompts = random_prompts(16)
    with Progress(quiet=True).step("", 16) as step:
        sampling = Sampling(GREEDY, LIMIT, frozenset(), 0)
        texts = generate(toy, prompts, sampling, rows_per_batch=16, step=step)
        known = read_target_logits(toy, texts).final_states
        context = TrainingContext(
            draft=make_draft(DraftInit(pruned=(0,)), toy, seed=0),
            target=toy,
            settings=SETTINGS,
            dtype="float32",
            seed=0,
            scratch=tmp_path_factory.mktemp("pard"),
            step=step,
            texts=TrainingTexts({"dataset": FixedTexts(texts, known)}, {"dataset": 1.0}),
            criterion=acceptance_criterion(toy, known),
        )
        return Pard(block_size=6, mask_token=MASK).train(context)


@pytest.fixture(scope="module")
def drafter(made: Any) -> ParallelDrafter:
    return ParallelDrafter(ParallelDraft(made.model.model, made.model.vocab_size, MASK, 6))


def decode(toy: LanguageModel, drafter: Any, prompts: Any, how: Samplers, gamma: int) -> Any:
    settings = EngineSettings(how, gamma, LIMIT, frozenset(), 0, Placement())
    decoded = list(_Loop(toy, drafter, settings).generate(prompts))
    texts = [
        Text(item.example_id, prompt.token_ids, item.token_ids, item.finish_reason)
        for item, prompt in zip(decoded, prompts, strict=True)
    ]
    return decoded, texts


@pytest.mark.parametrize("gamma", [1, 3, 8])
def test_at_temperature_zero_every_count_is_predicted_exactly(
    toy: LanguageModel, drafter: ParallelDrafter, gamma: int
) -> None:
    prompts, how = random_prompts(24), Samplers(GREEDY, GREEDY)
    decoded, texts = decode(toy, drafter, prompts, how, gamma)
    alone, _ = decode(toy, None, prompts, how, gamma)
    assert [item.token_ids for item in decoded] == [item.token_ids for item in alone]
    known = read_target_logits(toy, texts)
    tables = [replace(table, limit=LIMIT) for table in drafter.score(texts, known, how)]
    counts = block_counts(tables, gamma)
    assert [item.target_passes for item in decoded] == counts.passes_B.tolist()
    for name, predicted_B in (("drafted", counts.drafted_B), ("accepted", counts.accepted_B)):
        counted = [sum(getattr(each, name) for each in item.rounds) for item in decoded]
        assert counted == predicted_B.tolist()
    assert 5 < counts.accepted_B.sum() < counts.tested_B.sum() - 5
    assert max(each.drafted for item in decoded for each in item.rounds) == min(gamma, 6)


def test_above_zero_tokens_have_the_targets_distribution_and_counts_are_within_the_interval(
    toy: LanguageModel, drafter: ParallelDrafter
) -> None:
    how = Samplers(ONE, ONE)
    decoded, texts = decode(toy, drafter, random_prompts(24), how, 4)
    known = read_target_logits(toy, texts)
    assert (tokens := check_distribution(texts, known, ONE)).passed, tokens.evidence
    counts = check_counts(decoded, texts, drafter, known, how, 4)
    assert counts.passed, counts.evidence


def test_a_saved_draft_has_its_mask_token_and_is_the_same(
    context: Any, tokenizer: Any, tmp_path: Path
) -> None:
    method = built("pard", block_size=3)
    settings = Training(passes=4 / 12, rows_per_batch=4, learning_rate=1e-3, validations=1)
    made = method.train(context(settings=settings))
    save_model(made.model, tokenizer, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["pard_token"] == 1023
    draft = method.drafter(tmp_path, Placement()).draft
    assert (draft.mask_token, draft.block_size) == (1023, 3)
    all_RK = torch.ones(4, 3, dtype=torch.bool)
    read = [read_slots(each, TEXTS[0], 1023, all_RK) for each in (draft, made.model)]
    torch.testing.assert_close(*read)


def test_a_draft_that_was_not_trained_in_parallel_is_refused(
    context: Any, tokenizer: Any, tmp_path: Path
) -> None:
    save_model(context().draft, tokenizer, tmp_path)
    with pytest.raises(UserError, match="has no pard_token"):
        Pard().drafter(tmp_path, Placement())


def test_a_mask_token_beyond_the_embedding_is_refused(context: Any) -> None:
    with pytest.raises(UserError, match="mask_token = 5000: the draft's embedding has rows 0 to"):
        built("pard", mask_token=5000).train(context())


def test_vllm_drafts_in_parallel(tmp_path: Path) -> None:
    settings = EngineSettings(Samplers(GREEDY, GREEDY), 4, 8, frozenset(), 0, Placement())
    assert speculation_options(Pard(), tmp_path, settings)["parallel_drafting"] is True
    assert "parallel_drafting" not in speculation_options(Untrained(), tmp_path, settings)
