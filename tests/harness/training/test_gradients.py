"""The gradient of a step is that of the weighted mean loss, however its tokens are cut up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from draftmark.config.lora import Lora
from draftmark.config.model_sections import Training
from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel
from draftmark.training import gradients
from draftmark.training.batches import Batch, TrainingBatch
from draftmark.training.context import PreLossPass, TokenLoss, TrainingContext
from draftmark.training.divergences import forward_kl
from draftmark.training.head_training import state_distance
from draftmark.training.process_group import ProcessGroup
from draftmark.types import Text

TOKENS, WIDTH = 40, 16
# Prompts and responses of unlike lengths.
TEXTS = [
    Text(f"t/train/{row}", tuple(range(3, 6 + row)), tuple(range(9, 9 + size)), "stop")
    for row, size in enumerate((5, 2, 7, 1))
]


def model(seed: int) -> LanguageModel:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=TOKENS,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.5,
        tie_word_embeddings=bool(seed),
    )
    return LanguageModel(LlamaForCausalLM(config).eval(), TOKENS)


TARGET, REFERENCE = model(0), model(1)


def loss(draft_NV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
    """A loss that reads everything that a loss is given; its gradient falls with the position."""
    weight_N = 1 / (1.0 + batch.positions_N + batch.rows_N)
    named_N = -draft_NV.log_softmax(-1).gather(-1, batch.labels_N[:, None])[:, 0]
    return weight_N * forward_kl(draft_NV, target_NV) + named_N + state_distance(batch)


def measured(draft_NV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
    return forward_kl(draft_NV, target_NV) + batch.positions_N


def after_measuring(draft_NV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
    return batch.pre_loss_mean * loss(draft_NV, target_NV, batch)


def weigh(values_N: torch.Tensor, batch: Batch) -> torch.Tensor:
    assert len(values_N) == len(batch.labels_N)
    return (values_N > values_N.median()).float() + 0.25


PASSES: Mapping[str, tuple[TokenLoss, PreLossPass | None]] = {
    "no pass before": (loss, None),
    "a mean": (after_measuring, PreLossPass(measured)),
    "weights": (after_measuring, PreLossPass(measured, weigh=weigh)),
    "a reference": (after_measuring, PreLossPass(measured, REFERENCE, weigh)),
}
# Tokens of a chunk, of a piece of one, rows at once, chunks that are kept.
CUTS: Sequence[tuple[int, int, int | None, int]] = (
    (99, 99, None, 2),
    (4, 99, None, 0),
    (4, 3, None, 2),
    (99, 3, 1, 2),
    (4, 3, 3, 1),
    (99, 99, 2, 2),
)


def states(given: LanguageModel) -> torch.Tensor:
    """The states [N, D] of the responses, read one text at a time."""
    found = []
    for text in TEXTS:
        ids_1T = torch.tensor([[*text.prompt_ids, *text.response_ids]])
        first = len(text.prompt_ids) - 1
        found.append(given.hidden(ids_1T)[0, first : first + len(text.response_ids)])
    return torch.cat(found)


def by_hand(
    draft: LanguageModel, token_loss: TokenLoss, before: PreLossPass | None
) -> tuple[float, list[torch.Tensor]]:
    """The weighted mean loss of all tokens at once, and its gradients, by plain PyTorch."""
    batch = Batch.from_texts(TEXTS, 3, 0.5, draft.device)
    with torch.no_grad():
        target_ND = states(TARGET)
        target_NV = TARGET.logits(target_ND)
    draft_ND = states(draft)
    draft_NV = draft.logits(draft_ND)
    batch = replace(batch, states=(draft_ND, target_ND))
    weights_N = torch.ones(len(target_ND))
    if before is not None:
        with torch.no_grad():
            values_N = before.measure(draft_NV, target_NV, batch)
            if before.reference is not None:
                other_NV = before.reference.logits(states(before.reference))
                values_N = values_N - before.measure(other_NV, target_NV, batch)
        batch = replace(batch, pre_loss_mean=float(values_N.mean()))
        weights_N = before.weigh(values_N, batch) if before.weigh else weights_N
    total = (token_loss(draft_NV, target_NV, batch) * weights_N).sum() / weights_N.sum()
    total.backward()  # type: ignore[no-untyped-call]
    return float(total.detach()), slopes(draft)


def slopes(draft: LanguageModel) -> list[torch.Tensor]:
    found = [parameter.grad for parameter in draft.model.parameters()]
    assert all(each is not None and bool(each.any()) for each in found)
    return [each for each in found if each is not None]


def assert_same_slopes(draft: LanguageModel, expected: Sequence[torch.Tensor]) -> None:
    for mine, theirs in zip(slopes(draft), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max()))


def context(draft: LanguageModel, **settings: Any) -> TrainingContext:
    return TrainingContext(draft, TARGET, Training(**settings), "float32", 0, Path())


def training_batch() -> TrainingBatch:
    with torch.no_grad():
        return TrainingBatch(TEXTS, states(TARGET))


@pytest.mark.parametrize("seed", [2, 0], ids=["tied", "head of its own"])
@pytest.mark.parametrize("name", PASSES)
def test_a_steps_gradient_is_that_of_the_weighted_mean_loss(
    monkeypatch: pytest.MonkeyPatch, name: str, seed: int
) -> None:
    token_loss, before = PASSES[name]
    value, expected = by_hand(model(seed), token_loss, before)
    for chunk, piece, rows, kept in CUTS:
        monkeypatch.setattr(gradients, "CHUNK_LOGITS", chunk * TOKENS)
        monkeypatch.setattr(gradients, "PIECE_LOGITS", piece * TOKENS)
        monkeypatch.setattr(gradients, "KEPT_CHUNKS", kept)
        draft = model(seed)
        ready = context(draft, rows_at_once=rows)
        batch = Batch.from_texts(TEXTS, 3, 0.5, draft.device)
        given = gradients.backward_in_chunks(ready, training_batch(), batch, token_loss, before)

        assert given == pytest.approx(value, rel=1e-5)
        assert_same_slopes(draft, expected)


def test_a_loss_that_reads_states_alone_leaves_the_logits_without_a_gradient() -> None:
    def distance(draft_NV: torch.Tensor, target_NV: torch.Tensor, batch: Batch) -> torch.Tensor:
        return state_distance(batch)

    value, expected = by_hand(model(2), distance, None)
    draft = model(2)
    batch = Batch.from_texts(TEXTS, 3, 0.5, draft.device)
    given = gradients.backward_in_chunks(context(draft), training_batch(), batch, distance)
    assert given == pytest.approx(value, rel=1e-5)
    assert_same_slopes(draft, expected)


@pytest.mark.parametrize(("dtype", "chunk"), [("float32", 3), ("bfloat16", 6)])
def test_the_heads_read_once_what_a_pre_loss_pass_keeps(
    monkeypatch: pytest.MonkeyPatch, dtype: str, chunk: int
) -> None:
    monkeypatch.setattr(gradients, "CHUNK_LOGITS", 3 * TOKENS)
    token_loss, before = PASSES["weights"]
    batch = Batch.from_texts(TEXTS, 3, 0.5, TARGET.device)
    found, read, tokens = [], [], len(batch.labels_N)
    for kept in (0, 1, 100):
        monkeypatch.setattr(gradients, "KEPT_CHUNKS", kept)
        ready, counted = replace(context(model(2)), dtype=dtype), []
        head = TARGET.model.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, args, n=counted: n.append(len(args[0])))
        gradients.backward_in_chunks(ready, training_batch(), batch, token_loss, before)
        hook.remove()
        read.append(sum(counted))
        found.append(slopes(ready.draft))
    assert read == [2 * tokens, 2 * tokens - chunk, tokens]
    assert all(map(torch.equal, found[0], found[1]))
    assert all(map(torch.equal, found[0], found[2]))


@pytest.mark.parametrize("name", ["no pass before", "weights"])
def test_shares_of_a_step_add_up_to_its_gradient(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Two processes, one after the other; the measured values of both are known beforehand."""
    token_loss, before = PASSES[name]
    value, expected = by_hand(model(2), token_loss, before)
    draft, total = model(2), 0.0
    whole, batch = training_batch(), Batch.from_texts(TEXTS, 3, 0.5, draft.device)
    values = []
    if before is not None:
        alone = context(model(2))
        values.append(gradients._measure_apart(alone, [(whole, gradients.ALL)], batch, before))
    for rank, rows in enumerate((slice(0, 3), slice(3, 4))):
        team = _Team(rank, 2, values)
        ready = replace(context(draft, rows_at_once=2), team=team)
        first = sum(len(text.response_ids) for text in TEXTS[: rows.start])
        mine = slice(first, first + sum(len(text.response_ids) for text in TEXTS[rows]))
        share = TrainingBatch(TEXTS[rows], whole.hidden_ND[mine])
        total += gradients.backward_in_chunks(ready, share, batch, token_loss, before, mine)

    assert total == pytest.approx(value, rel=1e-5)
    assert_same_slopes(draft, expected)


@dataclass(frozen=True)
class _Team(ProcessGroup):
    """One process of two, whose other one measured its tokens before."""

    values: Sequence[torch.Tensor] = ()

    def gather_tokens(self, mine_N: torch.Tensor) -> torch.Tensor:
        (values_N,) = self.values
        first = 0 if self.rank == 0 else len(values_N) - len(mine_N)
        torch.testing.assert_close(mine_N, values_N[first : first + len(mine_N)])
        return values_N


@pytest.mark.parametrize(("rows_at_once", "count"), [(None, 1), (1, 2), (2, 1)])
def test_every_process_of_a_sharded_step_has_as_many_parts(
    rows_at_once: int | None, count: int
) -> None:
    """Of three rows, one process has two and the other one; without a row, a part is empty."""
    settings = {"rows_at_once": rows_at_once, "processes": 2, "sharded": True}
    for rows in (2, 1, 0):
        tokens = sum(len(text.response_ids) for text in TEXTS[:rows])
        share = TrainingBatch(TEXTS[:rows], torch.zeros(tokens, WIDTH))
        ready = replace(context(model(2), **settings), team=ProcessGroup(0, 2))
        parts = gradients._parts(ready, share, rows=3)

        assert len(parts) == count
        assert [text for part, _ in parts for text in part.texts] == TEXTS[:rows]
        ends = [(at.start, at.stop) for _, at in parts]
        assert all(end == start for (_, end), (start, _) in pairwise(ends))
        assert ends[-1][1] == tokens
        for part, at in parts:
            assert len(part.hidden_ND) == at.stop - at.start
            states_ND = gradients._hidden(ready, ready.draft, part, 0)
            assert states_ND.shape == (at.stop - at.start, WIDTH)
            assert states_ND.requires_grad  # an empty part puts its layers together as well
    alone = context(model(2), rows_at_once=1)
    assert len(gradients._parts(alone, TrainingBatch(TEXTS[:1], torch.zeros(5, WIDTH)), 3)) == 1


def test_a_process_without_rows_reads_nothing_unless_layers_are_shared() -> None:
    ready = replace(context(model(2)), team=ProcessGroup(1, 2))
    empty = TrainingBatch((), torch.zeros(0, WIDTH))

    states_ND = gradients._hidden(ready, ready.draft, empty, 0)
    assert states_ND.shape == (0, WIDTH)
    assert not states_ND.requires_grad


def test_parts_and_steps_drop_other_inputs_of_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(gradients, "dropout", lambda _, lora, seed: _note(drawn, lora, seed))
    ready = context(model(2), rows_at_once=1, lora=Lora(rank=1, dropout=0.5))
    for team in (ProcessGroup(0, 1), ProcessGroup(1, 2)):
        for step in (0, 1):
            for number in (0, 1, 2):
                part = next(iter(training_batch().parts(1)))[0]
                gradients._hidden_with_gradient(replace(ready, team=team), part, step, number)
    assert len({seed for _, seed in drawn}) == len(drawn) == 12
    assert {lora for lora, _ in drawn} == {ready.settings.lora}


class Rolled(LanguageModel):
    """A draft that reads the target's states, as heads in training do."""

    depth = 2.0

    def read(self, training_batch: TrainingBatch, step: int) -> torch.Tensor:
        return torch.zeros(len(training_batch.hidden_ND), 2, WIDTH)


@pytest.mark.parametrize("kind", [LanguageModel, Rolled])
@pytest.mark.parametrize("wanted", [False, True])
def test_layers_are_computed_again_where_that_is_asked_for_and_never_a_heads(
    monkeypatch: pytest.MonkeyPatch, kind: Any, wanted: bool
) -> None:
    asked: list[Any] = []
    packed_calls: list[Any] = []
    monkeypatch.setattr(
        gradients, "recomputed_layers", lambda _, wanted: _note(asked, None, wanted)
    )
    read = gradients.read_batch
    monkeypatch.setattr(
        gradients,
        "read_batch",
        lambda *given, packed: (_note(packed_calls, None, packed), read(*given))[1],
    )
    draft = kind(model(2).model, TOKENS)
    ready = replace(context(draft, gradient_checkpointing=wanted), packed=True)
    gradients._hidden_with_gradient(ready, training_batch(), 0, 0)
    assert asked == [(None, wanted and kind is LanguageModel)]
    assert packed_calls == [(None, not wanted)]  # packed attention would not be found again


def _note(drawn: list[Any], lora: Any, seed: int) -> Any:
    drawn.append((lora, seed))
    return torch.enable_grad()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_models_compute_in_the_pairs_dtype_and_chunks_have_as_many_bytes_in_any(
    monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    ready = replace(context(model(2)), dtype=dtype)
    with gradients.autocast(ready):
        assert str(torch.ones(2, 2).mm(torch.ones(2, 2)).dtype) == f"torch.{dtype}"
    monkeypatch.setattr(gradients, "CHUNK_LOGITS", 6 * TOKENS)
    tokens = 6 if dtype == "float32" else 12
    chunks = list(gradients._chunks(ready, torch.zeros(13, WIDTH)))
    assert [(each.start, each.stop) for each in chunks][:2] == [(0, tokens), (tokens, 2 * tokens)]
    # A head reads a token at several depths, whose logits are as many times as large.
    chunks = list(gradients._chunks(ready, torch.zeros(13, 3, WIDTH)))
    assert chunks[0] == slice(0, tokens // 3)
    monkeypatch.setattr(gradients, "CHUNK_LOGITS", 1)
    assert len(list(gradients._chunks(ready, torch.zeros(13, WIDTH)))) == 13


def test_a_training_without_a_target_has_target_logits_of_no_tokens() -> None:
    ready = replace(context(model(2)), target=None)
    assert gradients._target_logits(ready, torch.zeros(3, WIDTH)).shape == (3, 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda loss_N: loss_N.mean(), r"of 5 tokens is \(\), not one number .* shape \(5,\)"),
        (lambda loss_N: loss_N[:, None], r"\(5, 1\)"),
        (lambda loss_N: 1.5, "is float"),
        (lambda loss_N: loss_N.detach(), "has no gradient"),
    ],
)
def test_a_loss_that_is_no_number_with_a_gradient_for_each_token_is_refused(
    given: Any, words: str
) -> None:
    loss_N = torch.ones(5, requires_grad=True) * 2
    assert gradients.check_loss(loss_N, loss_N.shape) is loss_N
    with pytest.raises(UserError, match=words):
        gradients.check_loss(given(loss_N), loss_N.shape)
