"""Ids are checked against head and tokenizer: end tokens, holes, tokens without a row."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_cases import END, END_WORD, TOKENS, save_family, word_tokenizer
from family_stages import STARTS, acceptances, decoded, family_in, tables, trained
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from draftmark.config.model_sections import DraftInit
from draftmark.engines.transformers import ENGINE as TRANSFORMERS
from draftmark.errors import UserError
from draftmark.models.draft_inits import make_draft
from draftmark.models.generation import Sampling, check_fits, generate
from draftmark.models.hidden_states import hidden_states
from draftmark.models.language_model import LanguageModel, load_model, load_tokenizer, save_model
from draftmark.models.token_ids import (
    end_token_notes,
    end_tokens,
    tokenizer_notes,
    vocabulary_size,
)
from draftmark.types import GREEDY, Prompt, Sampler, Text


@pytest.fixture
def folder(tiny_directory: Path, tmp_path: Path) -> Path:
    """A copy of the tiny target, whose end token is 2 of 1,024."""
    shutil.copytree(tiny_directory, tmp_path / "model")
    return tmp_path / "model"


def _edit(path: Path, **values: Any) -> None:
    stored = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**stored, **values}))


def test_end_tokens_that_agree_are_not_worth_a_word(folder: Path) -> None:
    assert end_tokens(folder) == {2}
    assert list(end_token_notes(folder, "the target")) == []


def test_an_end_token_that_no_text_can_hold_is_left_out_and_said(folder: Path) -> None:
    _edit(folder / "generation_config.json", eos_token_id=[2, 1500])

    assert end_tokens(folder) == {2}
    severity, note = next(end_token_notes(folder, "the target"))
    assert severity == "note"
    assert note.startswith("the target: no text can end in the tokens 1500")


def test_an_end_token_in_a_padding_row_of_the_head_is_left_out(folder: Path) -> None:
    _edit(folder / "config.json", vocab_size=1152, eos_token_id=[2, 1100])
    (folder / "generation_config.json").unlink()

    assert end_tokens(folder) == {2}


@pytest.mark.parametrize("ids", [1500, [1500, -1]])
def test_end_tokens_none_of_which_a_text_can_hold_are_refused(folder: Path, ids: Any) -> None:
    _edit(folder / "generation_config.json", eos_token_id=ids)

    with pytest.raises(UserError, match=r"names the end tokens .*1500.*fix eos_token_id"):
        end_tokens(folder)


def test_end_tokens_that_differ_are_listed_with_those_of_a_server(folder: Path) -> None:
    _edit(folder / "generation_config.json", eos_token_id=[1, 0])
    _edit(folder / "config.json", eos_token_id=0)

    ((severity, note),) = end_token_notes(folder, "the target")
    assert severity == "warning"
    assert "generation_config.json: 0, 1, config.json: 0, the tokenizer: 2" in note
    assert "Here texts end in 0, 1; a server such as vLLM ends them in 0, 1, 2." in note
    assert end_tokens(folder) == {0, 1}


def _tokenizer(**added: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of the words w1 ... w89, with further words at the given ids."""
    made = word_tokenizer(TOKENS)
    stored = json.loads(made.backend_tokenizer.to_str())
    stored["model"]["vocab"] |= added
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(stored)), eos_token=END_WORD
    )


def test_the_vocabulary_ends_at_the_largest_id_not_at_the_number_of_tokens() -> None:
    holed = _tokenizer(last=93)
    assert len(holed) == TOKENS + 1
    assert vocabulary_size(holed, 96) == 94
    assert vocabulary_size(word_tokenizer(TOKENS), 96) == TOKENS


def test_special_tokens_may_lack_a_row_and_ordinary_ones_may_not() -> None:
    more = word_tokenizer(TOKENS)
    more.add_special_tokens({"additional_special_tokens": ["<image>", "<audio>"]})

    assert vocabulary_size(more, TOKENS + 1) == TOKENS + 1
    assert vocabulary_size(more, TOKENS) == TOKENS
    assert list(tokenizer_notes(more, TOKENS + 2, "the model")) == []
    ((_, note),) = tokenizer_notes(more, TOKENS + 1, "the model")
    assert "the model: its head has no row for '<audio>'" in note
    with pytest.raises(UserError, match=r"has 92 tokens, .* only 80 rows"):
        vocabulary_size(more, 80)


def test_only_a_text_that_holds_a_token_without_a_row_is_refused(
    tmp_path: Path,
) -> None:
    folder = save_family("llama", tmp_path / "model", vocab_size=TOKENS)
    more = word_tokenizer(TOKENS)
    more.add_special_tokens({"additional_special_tokens": ["<image>"]})
    more.save_pretrained(folder)
    loaded = load_model(folder)

    assert loaded.vocab_size == TOKENS
    check_fits(loaded, [Prompt("row 1", (1, 2, TOKENS - 1))], 4)
    with pytest.raises(UserError, match=rf"row 2 holds the token {TOKENS}, .* leave the row out"):
        check_fits(loaded, [Prompt("row 1", (1,)), Prompt("row 2", (1, TOKENS))], 4)
    with pytest.raises(UserError, match=f"row 3 holds the token {TOKENS}"):
        list(_states(loaded, (1, TOKENS)))


def _states(loaded: LanguageModel, prompt: tuple[int, ...]) -> Any:
    return hidden_states(loaded, [Text("row 3", prompt, (1, END))])


def test_a_draft_without_the_row_of_a_special_token_is_trained_scored_and_decoded(
    tmp_path: Path,
) -> None:
    """Gemma 3's larger models have the row of the image token, its smallest has not."""
    more = word_tokenizer(TOKENS)
    more.add_special_tokens({"additional_special_tokens": ["<image>"]})
    save_family("phi", tmp_path / "target", vocab_size=TOKENS + 1)
    save_family("phi", tmp_path / "draft", vocab_size=TOKENS)
    for name in ("target", "draft"):
        more.save_pretrained(tmp_path / name)
    never = load_model(tmp_path / "target")
    with torch.no_grad():
        never.model.get_output_embeddings().bias[TOKENS] = -1e4  # it writes no such token
    save_model(never, more, tmp_path / "target")
    family = family_in(tmp_path / "target")
    assert family.target.vocab_size == TOKENS + 1

    draft = trained(family, STARTS["given"], tmp_path, given=tmp_path / "draft")
    assert acceptances(draft)[-1] > acceptances(draft)[0]
    for sampler in (GREEDY, Sampler(1.0)):
        for table in tables(family, load_model(draft), sampler, tmp_path):
            assert np.all((table.accept_SD >= 0) & (table.accept_SD <= 1))
    alone = [item.token_ids for item in decoded(family, None)]
    for engine in ({}, {"engine": TRANSFORMERS}):
        assert [item.token_ids for item in decoded(family, draft, **engine)] == alone
    sampled = decoded(family, draft, sampler=Sampler(1.0))
    assert all(item.token_ids for item in sampled)


def test_texts_end_in_an_end_token_behind_a_hole(
    write: Callable[..., Any], prompts: list[Prompt], folder: Path, tmp_path: Path
) -> None:
    """The end token moves from 2 to 1090; nothing else of the model changes."""
    loaded = load_model(folder)
    with torch.no_grad():
        weight = loaded.model.get_input_embeddings().weight.clone()
        loaded.model.resize_token_embeddings(1152, mean_resizing=False)
        rows = loaded.model.get_input_embeddings().weight
        rows[1024:], rows[1090], rows[2] = 0, weight[2], 0
    loaded.model.generation_config.eos_token_id = 1090
    loaded.model.config.eos_token_id = 1090
    stored = json.loads((folder / "tokenizer.json").read_text())
    end = stored["added_tokens"][2]["content"]
    stored["added_tokens"][2]["id"] = stored["model"]["vocab"][end] = 1090
    holed = tmp_path / "holed"
    save_model(loaded, load_tokenizer(folder), holed)
    (holed / "tokenizer.json").write_text(json.dumps(stored))
    moved = [
        Prompt(one.example_id, tuple(1090 if token == 2 else token for token in one.token_ids))
        for one in prompts[:4]
    ]
    assert end_tokens(holed) == {1090}
    sampling = Sampling(GREEDY, 160, end_tokens(holed), seed=0)
    found = generate(load_model(holed), moved, sampling, rows_per_batch=4)
    expected = write(prompts[:4], 0.0)
    assert [text.finish_reason for text in found] == [text.finish_reason for text in expected]
    assert [
        tuple(2 if token == 1090 else token for token in text.response_ids) for text in found
    ] == [text.response_ids for text in expected]


def test_a_random_draft_still_needs_a_row_for_every_token_of_its_target(tmp_path: Path) -> None:
    target = load_model(save_family("llama", tmp_path / "target"))
    with pytest.raises(UserError, match="only 80 rows"):
        make_draft(DraftInit(random={"vocab_size": 80}), target, seed=0)
