"""Where a step's texts come from: who writes, which rows, and what a loss is told of them."""

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from draftmark.errors import UserError
from draftmark.models.generation import Sampling
from draftmark.models.hidden_states import (
    StoredHiddenStates,
    hidden_states,
    write_hidden_states,
)
from draftmark.models.language_model import LanguageModel
from draftmark.progress import Progress
from draftmark.training.batches import (
    Batch,
    FixedTexts,
    LiveTexts,
    OnPolicyTexts,
    TrainingBatch,
    TrainingTexts,
)
from draftmark.types import GREEDY, Prompt, Sampler, Text

SHARES = {"dataset": 0.2, "target": 0.3, "draft": 0.5}


def _fixed(rows: int, writer: int = 0) -> FixedTexts:
    return FixedTexts([Text(str(row), (1,), (writer,) * (row % 5 + 1)) for row in range(rows)])


def test_a_loss_is_told_of_each_token_what_it_is_and_where_it_stands() -> None:
    texts = [Text("a", (7,), (3, 4, 5)), Text("b", (8, 9), (6, 2))]

    batch = Batch.from_texts(texts, 4, 0.4, torch.device("cpu"))

    assert batch.labels_N.tolist() == [3, 4, 5, 6, 2]
    assert batch.positions_N.tolist() == [0, 1, 2, 0, 1]
    assert [batch.example_ids[row] for row in batch.rows_N.tolist()] == ["a", "a", "a", "b", "b"]
    part = batch.part(slice(2, 4))
    assert part.labels_N.tolist() == [5, 6]
    assert part.positions_N.tolist() == [2, 0]
    assert part.rows_N.tolist() == [0, 1]
    assert (part.step, part.done) == (4, 0.4)


@pytest.mark.parametrize(
    ("rows", "sizes"), [(None, [5]), (1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (9, [5])]
)
def test_parts_of_a_batch_have_its_texts_and_their_tokens_in_order(
    rows: int | None, sizes: list[int]
) -> None:
    texts = _fixed(5).texts
    hidden_ND = torch.arange(sum(len(text.response_ids) for text in texts))[:, None]
    batch = TrainingBatch(texts, hidden_ND, layers=[torch.tensor(n) for n in range(5)])
    parts = [part for part, _ in batch.parts(rows)]
    assert [len(part.texts) for part in parts] == sizes
    assert [len(part.layers) for part in parts] == sizes
    assert [*chain.from_iterable(part.texts for part in parts)] == texts
    for part, tokens in batch.parts(rows):
        assert len(part.hidden_ND) == sum(len(text.response_ids) for text in part.texts)
        assert torch.equal(part.hidden_ND, hidden_ND[tokens])
    assert torch.equal(torch.cat([part.hidden_ND for part in parts]), hidden_ND)


@pytest.mark.parametrize("rows", [None, 1, 3])
def test_a_batch_without_texts_is_one_part(rows: int | None) -> None:
    [(part, tokens)] = TrainingBatch([], torch.zeros(0, 4)).parts(rows)
    assert (len(part.texts), tokens) == (0, slice(0, 0))


def test_the_length_of_a_fixed_text_is_that_of_its_prompt_and_response() -> None:
    assert FixedTexts([Text("a", (7, 8, 9), (3,)), Text("b", (8,), (6, 2))]).lengths == [4, 3]


def test_steps_are_shared_among_writers_as_told() -> None:
    texts = TrainingTexts({}, SHARES, seed=3)

    counts = Counter(texts.writer(step) for step in range(4000))

    for writer, share in SHARES.items():
        assert counts[writer] / 4000 == pytest.approx(share, abs=0.03)
    again = TrainingTexts({}, SHARES, seed=3)
    assert [texts.writer(n) for n in range(50)] == [again.writer(n) for n in range(50)]
    other = TrainingTexts({}, SHARES, seed=4)
    assert [texts.writer(n) for n in range(50)] != [other.writer(n) for n in range(50)]


def test_whoever_writes_every_row_comes_once_in_a_pass() -> None:
    sources = {"dataset": _fixed(22, writer=0), "target": _fixed(22, writer=1)}
    texts = TrainingTexts(sources, {"dataset": 0.5, "target": 0.5})

    batches = [texts.training_batch(step, 4) for step in range(6)]

    rows = chain.from_iterable(training_batch.texts for training_batch in batches)
    assert sorted(int(text.example_id) for text in rows) == list(range(22))
    writers = [
        {text.response_ids[0] for text in training_batch.texts} for training_batch in batches
    ]
    assert all(len(found) == 1 for found in writers)
    assert set.union(*writers) == {0, 1}


@pytest.fixture
def on_policy(draft: LanguageModel, target: LanguageModel, prompts: list[Prompt]) -> OnPolicyTexts:
    return OnPolicyTexts(draft, target, prompts[:6], Sampling(Sampler(1.0), 9, frozenset({2}), 0))


def test_the_target_reads_what_the_draft_has_just_written(
    on_policy: OnPolicyTexts, target: LanguageModel
) -> None:
    training_batch = on_policy.training_batch([4, 1, 3], 0)

    assert [text.example_id for text in training_batch.texts] == [
        on_policy.prompts[row].example_id for row in (4, 1, 3)
    ]
    alone = [next(hidden_states(target, [text]))[1] for text in training_batch.texts]
    torch.testing.assert_close(training_batch.hidden_ND, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_each_step_draws_otherwise_and_the_same_step_the_same(on_policy: OnPolicyTexts) -> None:
    first, again, later = (on_policy.training_batch([0, 1], step).texts for step in (0, 0, 1))

    assert first == again
    assert first != later


def test_a_prompt_that_leaves_the_draft_no_room_is_found_before_any_training(
    draft: LanguageModel, target: LanguageModel, prompts: list[Prompt]
) -> None:
    with pytest.raises(UserError, match="do not fit the model's context"):
        OnPolicyTexts(draft, target, prompts, Sampling(GREEDY, 100_000, frozenset({2}), 0))


def test_texts_without_cached_states_have_none(tokenizer: Any) -> None:
    training_batch = _fixed(4).training_batch([1, 2], 0)

    assert training_batch.hidden_ND.shape == (2 + 3, 0)


@pytest.mark.parametrize("layers", [(), (2, 5)])
def test_live_states_are_the_stored_ones_to_the_bit_where_the_target_reads_the_same_batch(
    target: LanguageModel, greedy_texts: list[Text], tmp_path: Path, layers: Any
) -> None:
    texts = greedy_texts[:8]
    for name in ("final", "layers"):
        (tmp_path / name).mkdir()
    with Progress(quiet=True).step("", 1) as step:
        how: Any = {"dtype": "bfloat16", "step": step}
        write_hidden_states(target, texts, tmp_path / "final", **how)
        if layers:
            every = {"layers": layers, "positions": "all"}
            write_hidden_states(target, texts, tmp_path / "layers", **how, **every)
    final = StoredHiddenStates.load(tmp_path / "final")
    states = StoredHiddenStates.load(tmp_path / "layers") if layers else None
    stored, live = FixedTexts(texts, final, states), LiveTexts(texts, target, layers)
    rows = list(range(len(texts)))[::-1]

    whole, again = (source.training_batch(rows, 0) for source in (stored, live))
    assert torch.equal(again.hidden_ND, whole.hidden_ND)
    assert len(again.layers) == (len(texts) if layers else 0)
    assert all(map(torch.equal, again.layers, whole.layers))
    part, alone = (source.training_batch(rows[:2], 0) for source in (stored, live))
    torch.testing.assert_close(alone.hidden_ND, part.hidden_ND, atol=2e-2, rtol=2e-2)
    assert (again.live, again.target_read, whole.target_read) == (False, True, False)
    assert live.lengths == stored.lengths


def test_a_text_that_the_target_cannot_read_live_is_found_before_any_training(
    target: LanguageModel,
) -> None:
    with pytest.raises(UserError, match="one row holds the token 1000000"):
        LiveTexts([Text("one row", (1,), (10**6,))], target)


@pytest.mark.parametrize("rows", [[0], []])
def test_every_process_of_a_step_knows_that_the_target_reads_it(
    target: LanguageModel, greedy_texts: list[Text], rows: list[int]
) -> None:
    texts = TrainingTexts({"dataset": LiveTexts(greedy_texts, target)}, {"dataset": 1.0})

    assert texts.live
    assert texts.training_batch(0, 2, lambda order: [order[row] for row in rows]).target_read


def test_texts_of_no_writer_are_none() -> None:
    assert len(TrainingTexts()) == 0


@pytest.mark.parametrize("writer", ["dataset", "draft"])
def test_a_process_without_a_row_of_a_step_gets_an_empty_batch(writer: Any) -> None:
    texts = TrainingTexts({writer: _fixed(4)}, {writer: 1.0})
    batch = texts.training_batch(0, 2, lambda rows: [])
    assert (batch.texts, batch.hidden_ND.shape) == ((), (0, 0))
    assert batch.live is (writer == "draft")


def test_texts_are_live_if_one_of_their_writers_is(on_policy: OnPolicyTexts) -> None:
    assert TrainingTexts({"dataset": _fixed(3), "draft": on_policy}).live
    assert not TrainingTexts({"dataset": _fixed(3), "target": _fixed(3, 1)}).live
