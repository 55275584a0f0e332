"""Tests that the tiny target trains on unseen rows, loads safely, and has room for answers."""

from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from draftmark.tasks.samples import generate
from draftmark.tasks.samples.build_target import (
    FOLDER,
    TASKS,
    Batch,
    Recipe,
    make_batches,
    make_model,
    make_schedules,
    make_training_examples,
    pad_rows,
    train_model,
)
from draftmark.tasks.samples.tiny_tokenizer import CONTEXT, Encoded, encode_examples
from draftmark.types import Example


@cache
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


def examples(task: str, split: str) -> list[Example]:
    return [TASKS[task].to_example("row", row) for row in generate.read_split(task, split)]


@pytest.mark.parametrize("task", TASKS)
def test_target_is_trained_as_the_task_asks_on_rows_of_its_own(task: str) -> None:
    recipe = Recipe(rows={task: 9})
    (trained,) = make_training_examples(recipe).values()
    unseen = generate.generate_unseen_rows(task, num=9, seed=recipe.seed)
    assert [(item.messages, item.reference) for item in trained] == [
        (item.messages, item.reference)
        for item in (TASKS[task].to_example("", row) for row in unseen)
    ]


def test_target_is_trained_on_every_task_under_a_seed_of_its_own() -> None:
    assert Recipe().rows.keys() == TASKS.keys() == generate.SOURCES.keys()
    assert Recipe().seed not in {source.seed for source in generate.SOURCES.values()}


@given(lengths=st.lists(st.integers(min_value=2, max_value=40), min_size=1, max_size=30))
def test_batches_hold_every_row_once_and_no_more_than_their_tokens(lengths: list[int]) -> None:
    rows = [Encoded([length] * length, prompt=1) for length in lengths]
    made = make_batches(rows, recipe=Recipe(batch_tokens=60), pad=0)
    assert all(batch.ids.numel() <= 60 for batch in made)
    assert sorted(row[0].item() for batch in made for row in batch.ids) == sorted(lengths)


def test_padding_weighs_nothing_in_training() -> None:
    rows = [Encoded([5, 6, 7], prompt=2), Encoded([5, 6, 7, 8], prompt=1)]
    batch = pad_rows(rows, question_weight=0.5, pad=0)
    assert batch.ids.tolist() == [[5, 6, 7, 0], [5, 6, 7, 8]]
    assert batch.weights.tolist() == [[0.5, 0.5, 1, 0], [0.5, 1, 1, 1]]


def test_training_resumed_from_a_checkpoint_ends_where_an_uninterrupted_one_does(
    tmp_path: Path,
) -> None:
    recipe = Recipe(checkpoint_every=2)
    batches = [pad_rows([Encoded([5, 6, 7 + n], 1)], question_weight=0.1, pad=0) for n in range(4)]

    def train(batches: list[Batch], *, checkpoint: Path | None) -> LlamaForCausalLM:
        model = make_model(tokenizer())
        schedules = make_schedules(model, recipe=recipe, steps=200)
        train_model(
            model, schedules=schedules, batches=batches, recipe=recipe, checkpoint=checkpoint
        )
        return model

    def weights(*, checkpoint: Path | None) -> torch.Tensor:
        torch.manual_seed(0)
        model = train(batches[:3] if checkpoint else batches, checkpoint=checkpoint)
        if checkpoint:  # the third step is lost
            model = train(batches, checkpoint=checkpoint)
        return torch.cat([value.flatten() for value in model.parameters()])

    assert torch.equal(weights(checkpoint=None), weights(checkpoint=tmp_path / "checkpoint.pt"))


@pytest.mark.parametrize("task", TASKS)
def test_prompts_leave_room_for_the_longest_answer_and_gold_answers_are_short(task: str) -> None:
    rows = encode_examples(
        [*examples(task, "train"), *examples(task, "validation"), *examples(task, "test")],
        tokenizer=tokenizer(),
    )
    assert max(row.prompt for row in rows) + TASKS[task].max_new_tokens <= CONTEXT
    assert median(len(row.ids) - row.prompt for row in rows) < 120
    assert max(len(row.ids) - row.prompt for row in rows) <= TASKS[task].max_new_tokens


def test_target_folder_is_small_and_holds_no_pickle() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 8 * 2**20
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja", ".md"}
    assert FOLDER / "model.safetensors" in files


def test_target_ends_on_the_tokenizers_end_token() -> None:
    model = AutoModelForCausalLM.from_pretrained(FOLDER)
    ends = {model.config.eos_token_id, model.generation_config.eos_token_id}
    assert ends == {tokenizer().eos_token_id}
    assert tokenizer().pad_token_id not in ends
    assert model.config.vocab_size == len(tokenizer())


def test_chat_template_round_trips() -> None:
    turns = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    rendered = tokenizer().apply_chat_template(turns, tokenize=False)
    assert rendered == ("<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n")
    assert tokenizer().decode(tokenizer()(rendered)["input_ids"]) == rendered


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_cut_where_generation_begins(task: str) -> None:
    example = examples(task, "test")[0]
    (encoded,) = encode_examples([example], tokenizer=tokenizer())
    prompt = tokenizer().apply_chat_template(
        [*example.messages], add_generation_prompt=True, tokenize=True
    )
    assert encoded.ids[: encoded.prompt] == prompt["input_ids"]
    assert tokenizer().decode(encoded.ids[encoded.prompt :]) == example.reference + "<|im_end|>"


@given(number=st.integers(min_value=0))
def test_tokenizer_splits_digits_singly(number: int) -> None:
    assert tokenizer().tokenize(f"sold {number} in")[-len(str(number)) - 1 : -1] == [*str(number)]


@given(text=st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    assert tokenizer().decode(tokenizer()(text)["input_ids"]) == text
