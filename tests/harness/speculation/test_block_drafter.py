"""Block heads in the reference engine: lossless, counted as scoring predicts; known answers."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from block_cases import (
    BLOCK_METHODS,
    random_prompts,
    silence_layers,
    toy_target,
    trained_block_head,
)
from head_cases import small_target

from draftmark.engines.measure.lossless import check_counts, check_distribution, read_target_logits
from draftmark.engines.reference import _Loop
from draftmark.engines.vllm import _export
from draftmark.errors import Unsupported
from draftmark.models.generation import Sampling, generate
from draftmark.models.heads.block_head import BlockHead
from draftmark.models.language_model import LanguageModel
from draftmark.progress import Progress
from draftmark.speculation.block_drafter import BlockDrafter
from draftmark.speculation.blocks import block_counts
from draftmark.speculation.interfaces import EngineSettings
from draftmark.store.acceptance_tables import with_greedy_draft
from draftmark.types import (
    GREEDY,
    AcceptanceTable,
    Decode,
    Placement,
    Prompt,
    Sampler,
    Samplers,
    Text,
    Verification,
)

ONE = Sampler(1.0)
RULES: tuple[Verification, ...] = ("standard", "block")
LIMIT = 10


@pytest.fixture(scope="module")
def toy() -> LanguageModel:
    return toy_target()


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return random_prompts(64)


@pytest.fixture(scope="module")
def texts(toy: LanguageModel, prompts: list[Prompt]) -> list[Text]:
    """What the target writes to the 64 prompts at temperature 0."""
    return written(toy, prompts, 0.0)


@pytest.fixture(scope="module")
def train(
    toy: LanguageModel, texts: list[Text], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], BlockHead]:
    @cache
    def trained(name: str) -> BlockHead:
        folder = tmp_path_factory.mktemp("head")
        return trained_block_head(BLOCK_METHODS[name], toy, texts[:16], folder)

    return trained


def written(target: LanguageModel, prompts: list[Prompt], temperature: float) -> list[Text]:
    sampling = Sampling(Sampler(temperature), LIMIT, frozenset(), 0)
    with Progress(quiet=True).step("", len(prompts)) as step:
        return generate(target, prompts, sampling, rows_per_batch=64, step=step)


def decode(
    target: LanguageModel,
    prompts: list[Prompt],
    drafter: BlockDrafter,
    how: Samplers,
    gamma: int,
    rule: Verification = "standard",
) -> list[Decode]:
    settings = EngineSettings(how, gamma, LIMIT, frozenset(), 0, Placement(), verification=rule)
    return list(_Loop(target, drafter, settings).generate(prompts))


def texts_of(decoded: list[Decode], prompts: list[Prompt]) -> list[Text]:
    return [
        Text(item.example_id, prompt.token_ids, item.token_ids, item.finish_reason)
        for item, prompt in zip(decoded, prompts, strict=True)
    ]


def score(
    target: LanguageModel, drafter: BlockDrafter, texts: list[Text], how: Samplers
) -> list[AcceptanceTable]:
    known = read_target_logits(target, texts)
    return [replace(table, limit=LIMIT) for table in drafter.score(texts, known, how)]


GAMMAS = (1, 3, 5, 8)
QUARTERS = [slice(start, None, 4) for start in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCK_METHODS)
def test_at_temperature_zero_it_is_lossless_and_every_count_is_predicted_exactly(
    toy: LanguageModel,
    train: Callable[[str], BlockHead],
    prompts: list[Prompt],
    texts: list[Text],
    name: str,
) -> None:
    """On each of 64 prompts, at each block length, also beyond the block of the head."""
    how, head = Samplers(GREEDY, GREEDY), train(name)
    tables = score(toy, BlockDrafter(head), texts, how)
    cases: list[tuple[int, Verification]] = [(5, "block"), *((g, "standard") for g in GAMMAS)]
    for gamma, rule in cases:
        decoded = decode(toy, prompts, BlockDrafter(head), how, gamma, rule)
        assert [item.token_ids for item in decoded] == [each.response_ids for each in texts]
        counts = block_counts(tables, gamma, verification=rule)
        assert [item.target_passes for item in decoded] == counts.passes_B.tolist()
        for of_rounds, predicted_B in (
            ("drafted", counts.drafted_B),
            ("accepted", counts.accepted_B),
        ):
            counted = [sum(getattr(each, of_rounds) for each in item.rounds) for item in decoded]
            assert counted == predicted_B.tolist()
        assert 10 < counts.accepted_B.sum() < counts.tested_B.sum() - 10
    assert max(each.drafted for item in decoded for each in item.rounds) == min(8, head.block_size)


@pytest.mark.parametrize("name", BLOCK_METHODS)
@pytest.mark.parametrize(
    ("how", "rule"),
    [
        (Samplers(ONE, ONE), "standard"),
        (Samplers(ONE, ONE), "block"),
        (Samplers(Sampler(0.7, top_k=20), GREEDY), "standard"),
    ],
    ids=["1", "1, block", "0.7, greedy"],
)
def test_above_zero_tokens_have_the_targets_law_and_counts_are_within_the_interval(
    toy: LanguageModel,
    train: Callable[[str], BlockHead],
    prompts: list[Prompt],
    name: str,
    how: Samplers,
    rule: Verification,
) -> None:
    head, some = train(name), prompts[:24]
    decoded = decode(toy, some, BlockDrafter(head), how, 4, rule)
    texts = texts_of(decoded, some)
    known = read_target_logits(toy, texts)
    tokens = check_distribution(texts, known, how.target)
    assert tokens.passed, tokens.evidence
    counts = check_counts(decoded, texts, BlockDrafter(head), known, how, 4, verification=rule)
    assert counts.passed, counts.evidence


@pytest.mark.parametrize("name", BLOCK_METHODS)
def test_the_greedy_draft_beside_a_sampled_head_is_the_head_at_temperature_zero(
    toy: LanguageModel, train: Callable[[str], BlockHead], prompts: list[Prompt], name: str
) -> None:
    texts = written(toy, prompts[:8], 1.0)
    drafter = BlockDrafter(train(name))
    both, alone = (score(toy, drafter, texts, Samplers(ONE, draft)) for draft in (ONE, GREEDY))
    for table, expected in zip(both, alone, strict=True):
        greedy = with_greedy_draft(table)
        assert greedy is not None
        mine, theirs = (block_counts([it], 8).reached_BG for it in (greedy, expected))
        np.testing.assert_allclose(mine, theirs, atol=1e-9)


def unigram_head(name: str, target: LanguageModel) -> BlockHead:
    """Return a head whose every slot has the state that the target has at every token."""
    with torch.no_grad():
        embedding = target.model.get_input_embeddings().weight
        embedding.copy_(embedding[:1].expand_as(embedding))
    silence_layers(target.model)
    method = BLOCK_METHODS[name]
    head: BlockHead = method.head(target, [], 0)
    silence_layers(head.model)
    with torch.no_grad():
        if name == "p_eagle":
            width = head.hidden_size
            head.model.eagle.fc.weight.zero_()
            head.model.eagle.fc.weight[:, :width] = torch.eye(width)
            head.model.mask_hidden[:width] = embedding[0]
        if name == "dspark":
            head.model.markov_w2.weight.zero_()
        if name == "domino":
            head.model.embed_proj[2].weight.zero_()
    return head


def bigrams(target: LanguageModel) -> torch.Tensor:
    """Return the logits [T, V] after each token of a target that reads no token before."""
    silence_layers(target.model)
    with torch.no_grad():
        return target.logits(target.hidden(torch.arange(target.vocab_size)[None])[0])


def markov_head(target: LanguageModel) -> BlockHead:
    """Return DSpark's head with the target's bigrams as its Markov head and nothing else."""
    size, logits_TV = target.vocab_size, bigrams(target)
    head: BlockHead = replace(BLOCK_METHODS["dspark"], rank=size).head(target, [], 0)
    with torch.no_grad():
        head.model.norm.weight.zero_()
        head.model.markov_w1.weight.copy_(torch.eye(size))
        head.model.markov_w2.weight.copy_(logits_TV.T)
    return head


def gru_head(target: LanguageModel) -> BlockHead:
    """Return Domino's head whose GRU state names the last token, with the target's bigrams."""
    size = target.vocab_size
    with torch.no_grad():
        embedding_VD = target.model.get_input_embeddings().weight
        embedding_VD.zero_()
        embedding_VD[:, :size] = torch.eye(size)
        embedding_VD[:, size] = 1.0  # what closes the update gate
        target.model.get_output_embeddings().weight.mul_(20)
        logits_TV = bigrams(target)
        method = replace(BLOCK_METHODS["domino"], rank=size, gru_size=size, uncorrected=0)
        head: BlockHead = method.head(target, [], 0)
        head.model.norm.weight.zero_()
        gru, (inner, _, outer) = head.model.prefix_gru, head.model.embed_proj
        for weight in (gru.weight_ih_l0, gru.weight_hh_l0, inner.weight):
            weight.zero_()
        gru.weight_ih_l0[size : 2 * size, size] = -50.0  # the state is the candidate alone
        gru.weight_ih_l0[2 * size :, :size] = 20 * torch.eye(size)  # tanh(20) is 1
        inner.weight[:, target.hidden_size :] = 20 * torch.eye(size)  # SiLU(20) is 20
        outer.weight.copy_(logits_TV.T / 20)
    return head


def head_that_is_the_target(name: str) -> tuple[LanguageModel, BlockHead]:
    """Return a target and its head; targets of "markov" and "gru" read the last token, or none."""
    if name == "gru":
        target = small_target("qwen2", hidden_size=128)
        return target, gru_head(target)
    target = small_target("qwen2")  # an untied head
    return target, markov_head(target) if name == "markov" else unigram_head(name, target)


@pytest.mark.parametrize("how", [Samplers(GREEDY, GREEDY), Samplers(ONE, ONE)], ids=["0", "1"])
@pytest.mark.parametrize("name", [*BLOCK_METHODS, "markov", "gru"])
def test_a_head_that_is_the_target_itself_has_everything_accepted(
    name: str, how: Samplers, prompts: list[Prompt]
) -> None:
    """Of a target whose tokens do not depend on its text, and of one that reads the last token."""
    target, head = head_that_is_the_target(name)
    decoded = decode(target, prompts[:8], BlockDrafter(head), how, 4)
    rounds = [each for item in decoded for each in item.rounds]
    assert sum(each.drafted for each in rounds) > 40
    assert all(each.accepted == each.drafted for each in rounds)
    for table in score(target, BlockDrafter(head), texts_of(decoded, prompts[:8]), how):
        length, slots = len(table.drafted_S), head.block_size
        inside_SD = np.add.outer(np.arange(length), np.arange(slots)) < length
        np.testing.assert_allclose(table.accept_SD[:, :slots][inside_SD], 1.0, atol=1e-4)
        assert not table.accept_SD[:, slots:].any()
        assert (table.drafted_S == slots).all()


def parity_head(head: BlockHead) -> BlockHead:
    """Return DSpark's head that is confident after an even token, and not after an odd one."""
    changed, width = copy.deepcopy(head), head.hidden_size
    with torch.no_grad():
        changed.model.markov_w1.weight[:, 0] = 2.0 - 4.0 * (torch.arange(64) % 2)
        changed.model.confidence.weight.zero_()
        changed.model.confidence.weight[:, width] = 2.0
        changed.model.confidence.bias.zero_()
    return changed


@pytest.fixture(scope="module")
def cutting(train: Callable[[str], BlockHead]) -> BlockDrafter:
    """Return DSpark's drafter whose blocks end before the token after the first odd one."""
    return BlockDrafter(parity_head(train("dspark")), threshold=0.5)


def evens(tokens: list[int], most: int) -> int:
    """Return the number of even tokens before the first odd one, at most `most`."""
    return next((count for count, token in enumerate(tokens[:most]) if token % 2), most)


def test_blocks_that_end_by_confidence_have_exact_counts_at_temperature_zero(
    toy: LanguageModel,
    cutting: BlockDrafter,
    prompts: list[Prompt],
    texts: list[Text],
) -> None:
    how = Samplers(GREEDY, GREEDY)
    tables = score(toy, cutting, texts, how)
    for text, table in zip(texts, tables, strict=True):
        so_far = [*text.prompt_ids, *text.response_ids]
        for s, drafted in enumerate(table.drafted_S):
            expected = evens(so_far[len(text.prompt_ids) + s - 1 :], 7)
            inside = len(text.response_ids) - s
            assert min(drafted, inside) == min(expected, inside)
    for gamma, part, rule in zip(GAMMAS, QUARTERS, RULES * 2, strict=True):
        decoded = decode(toy, prompts[part], cutting, how, gamma, rule)
        assert [item.token_ids for item in decoded] == [each.response_ids for each in texts[part]]
        counts = block_counts(tables[part], gamma, verification=rule)
        assert [item.target_passes for item in decoded] == counts.passes_B.tolist()
        for of_rounds, predicted_B in (
            ("drafted", counts.drafted_B),
            ("accepted", counts.accepted_B),
        ):
            counted = [sum(getattr(each, of_rounds) for each in item.rounds) for item in decoded]
            assert counted == predicted_B.tolist()
    drafted = {each.drafted for item in decoded for each in item.rounds}
    assert {0, 1, 2} <= drafted  # cut blocks, and empty ones


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("draft", [ONE, GREEDY], ids=["sampled", "greedy"])
def test_blocks_that_end_by_confidence_are_lossless_and_counted_as_predicted_above_zero(
    rule: Verification,
    draft: Sampler,
    toy: LanguageModel,
    cutting: BlockDrafter,
    prompts: list[Prompt],
) -> None:
    how, some = Samplers(ONE, draft), prompts[:24]
    decoded = decode(toy, some, cutting, how, 4, rule)
    texts = texts_of(decoded, some)
    known = read_target_logits(toy, texts)
    tokens = check_distribution(texts, known, how.target)
    assert tokens.passed, tokens.evidence
    checked = check_counts(decoded, texts, cutting, known, how, 4, verification=rule)
    assert checked.passed, checked.evidence
    counts = block_counts(score(toy, cutting, texts, how), 4, verification=rule)
    for of_rounds, predicted_B in (("drafted", counts.drafted_B), ("accepted", counts.accepted_B)):
        counted_B = [sum(getattr(each, of_rounds) for each in item.rounds) for item in decoded]
        difference_B = np.array(counted_B) - predicted_B
        error = difference_B.std(ddof=1) / len(difference_B) ** 0.5
        assert abs(difference_B.mean()) <= 4 * error + 1e-9
        assert np.sum(counted_B) > 0


def test_a_threshold_below_every_confidence_changes_nothing_and_one_above_drafts_nothing(
    toy: LanguageModel, train: Callable[[str], BlockHead], texts: list[Text]
) -> None:
    head, how = parity_head(train("dspark")), Samplers(ONE, ONE)
    uncut, low, high = (
        score(toy, BlockDrafter(head, threshold), texts[:4], how)
        for threshold in (0.0, 1e-4, 0.9999)
    )
    for whole, same, none in zip(uncut, low, high, strict=True):
        np.testing.assert_array_equal(same.accept_SD, whole.accept_SD)
        np.testing.assert_array_equal(same.overlap_S, whole.overlap_S)
        np.testing.assert_array_equal(same.drafted_S[:3], whole.drafted_S[:3])
        assert same.proposed_S is not None
        np.testing.assert_array_equal(same.proposed_S, whole.drafted_S)
        assert not none.drafted_S.any()
        assert not none.overlap_S.any()
        assert block_counts([none], 4).passes_B == len(none.drafted_S)
        assert block_counts([none], 4).drafted_B == 0


def test_a_saved_head_drafts_with_the_threshold_of_its_method(
    train: Callable[[str], BlockHead], tmp_path: Path
) -> None:
    train("dspark").model.save_pretrained(tmp_path)
    method = replace(BLOCK_METHODS["dspark"], confidence_threshold=0.3)
    session = method.drafter(tmp_path, Placement()).start((1, 2), ONE, torch.Generator())
    assert session.threshold == 0.3
    settings = EngineSettings(Samplers(ONE, ONE), 4, LIMIT, frozenset(), 0, Placement())
    with pytest.raises(Unsupported, match=r"by its load \(enable_adaptive_verification\)"):
        _export(method, tmp_path, tmp_path, settings, tmp_path)
