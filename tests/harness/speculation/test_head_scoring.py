"""A small head: its tables are those of every depth, its rounds those that its tables predict."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from depth_scores import score_by_depth
from head_cases import on_model, small_head, small_target

from draftmark.engines.reference import _Loop
from draftmark.models.finite import NotFinite
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_rollout import rolled_features
from draftmark.models.hidden_states import LiveStates, TargetLogits
from draftmark.speculation.blocks import block_counts
from draftmark.speculation.head_drafter import Chains, FeatureHeadDrafter
from draftmark.speculation.interfaces import EngineSettings
from draftmark.store.acceptance_tables import with_greedy_draft
from draftmark.types import (
    GREEDY,
    MAX_GAMMA,
    AcceptanceTable,
    Decode,
    Placement,
    Prompt,
    Sampler,
    Samplers,
    Text,
)

NOISE = 0.3
ONE, TOP, LIMIT = Sampler(1.0), Sampler(0.7, top_k=20), 24
WAYS = [Samplers(GREEDY, GREEDY), Samplers(ONE, ONE), Samplers(TOP, GREEDY)]
PROMPTS = [Prompt(str(size), tuple(range(3, 3 + size))) for size in (2, 3, 4, 7, 9, 11)]


def imitating(noise: float) -> tuple[Any, FeatureHead]:
    """A target whose features are nearly its embeddings, and a head that nearly passes those on."""
    target = small_target("llama", tie_word_embeddings=False)
    torch.manual_seed(3)
    with torch.no_grad():
        target.model.lm_head.weight.normal_(std=0.5)
        embedding = target.model.get_input_embeddings().weight
        embedding.copy_(embedding / embedding.square().mean(-1, keepdim=True).sqrt())
        head = small_head(target, "eagle")
        for layer in (*target.model.base_model.layers, head.model.causal.base_model.layers[0]):
            for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                weight.normal_(std=noise / weight.shape[1] ** 0.5)
        width = head.model.fc.weight.shape[0]
        head.model.fc.weight.normal_(std=noise / width**0.5)
        head.model.fc.weight[:, :width] += torch.eye(width)
    return target, head


TARGET, HEAD = imitating(NOISE)


def decode(samplers: Samplers, gamma: int, prompts: Sequence[Prompt] = PROMPTS) -> list[Decode]:
    settings = EngineSettings(samplers, gamma, LIMIT, frozenset(), 0, Placement())
    return list(_Loop(TARGET, FeatureHeadDrafter(HEAD), settings).generate(prompts))


def texts(decoded: Sequence[Decode]) -> list[Text]:
    return [
        Text(item.example_id, prompt.token_ids, item.token_ids, item.finish_reason)
        for item, prompt in zip(decoded, PROMPTS, strict=True)
    ]


def score(given: Sequence[Text], samplers: Samplers, **facts: Any) -> list[AcceptanceTable]:
    """The tables of texts whose length limit is known, in their order."""
    known = TargetLogits(TARGET, on_model(TARGET, given), **facts)
    tables = {
        each.example_id: each for each in FeatureHeadDrafter(HEAD).score(given, known, samplers)
    }
    return [replace(tables[text.example_id], limit=LIMIT) for text in given]


@pytest.mark.parametrize("gamma", [1, 3])
def test_every_count_of_the_loop_is_predicted_exactly(gamma: int) -> None:
    decoded = decode(WAYS[0], gamma)
    counts = block_counts(score(texts(decoded), WAYS[0]), gamma)
    drafted, accepted = (
        [sum(getattr(one, name) for one in item.rounds) for item in decoded]
        for name in ("drafted", "accepted")
    )
    assert [item.target_passes for item in decoded] == counts.passes_B.tolist()
    assert drafted == counts.drafted_B.tolist()
    assert accepted == counts.accepted_B.tolist()
    assert 30 < sum(accepted) < counts.tested_B.sum() - 30  # else this shows little


def test_chains_of_a_text_longer_than_a_block_end_with_the_block() -> None:
    """Of a head that always agrees with its target every chain reaches the longest block."""
    target, head = imitating(0.0)
    settings = EngineSettings(WAYS[0], 3, MAX_GAMMA + 8, frozenset(), 0, Placement())
    [decoded] = _Loop(target, FeatureHeadDrafter(head), settings).generate(PROMPTS[:1])
    text = Text("2", PROMPTS[0].token_ids, decoded.token_ids, decoded.finish_reason)
    known = TargetLogits(target, on_model(target, [text]))
    [table] = FeatureHeadDrafter(head).score([text], known, WAYS[0])
    within_SD = np.add.outer(np.arange(MAX_GAMMA + 8), np.arange(MAX_GAMMA)) < MAX_GAMMA + 8
    assert (table.accept_SD == within_SD).all()


@pytest.mark.parametrize("samplers", WAYS, ids=["0", "1", "0.7, greedy"])
def test_a_table_is_that_of_every_depth(samplers: Samplers) -> None:
    given = texts(decode(samplers, 2))
    given[4] = replace(given[4], response_ids=given[4].response_ids[:1])
    given[5] = replace(given[5], response_ids=(5, 60, 7, 33, 21))  # hardly any of them possible
    known = TargetLogits(TARGET, on_model(TARGET, given))
    states = LiveStates(TARGET, HEAD.model.shape.layers)
    whole = {
        text.example_id: score_by_depth(text, known, samplers, map(HEAD.logits, by_depth))
        for text, by_depth in rolled_features(HEAD, given, states, 32)
    }
    tables = score(given, samplers)
    theirs = [replace(whole[text.example_id], limit=LIMIT) for text in given]
    for gamma, rule in itertools.product((1, 3, 32), ("standard", "block")):
        mine, expected = (block_counts(each, gamma, verification=rule) for each in (tables, theirs))
        for field in ("passes_B", "tested_BG", "reached_BG"):
            np.testing.assert_allclose(getattr(mine, field), getattr(expected, field), atol=1e-5)
    for table, other in zip(tables, theirs, strict=True):
        assert (table.drafted_S == 32).all()
        np.testing.assert_allclose(table.accept_SD[:, 0], other.accept_SD[:, 0], atol=1e-6)
        np.testing.assert_allclose(table.overlap_S, other.overlap_S, atol=1e-6)
        np.testing.assert_array_equal(table.greedy_match_S, other.greedy_match_S)
        followed_SD = table.accept_SD > 0
        close = np.isclose(table.accept_SD, other.accept_SD, atol=1e-5) | ~followed_SD
        assert close.all()
        assert followed_SD.any() or len(table.drafted_S) == 1


def test_beside_a_sampled_head_stands_the_same_head_at_temperature_zero() -> None:
    given = texts(decode(WAYS[1], 2))
    both, alone = score(given, WAYS[1]), score(given, Samplers(ONE, GREEDY))
    for table, expected in zip(both, alone, strict=True):
        greedy = with_greedy_draft(table)
        assert greedy is not None
        assert with_greedy_draft(expected) is None
        for gamma in (1, 8):
            mine, theirs = (block_counts([each], gamma) for each in (greedy, expected))
            np.testing.assert_allclose(mine.reached_BG, theirs.reached_BG, atol=1e-9)
            np.testing.assert_allclose(mine.passes_B, theirs.passes_B, atol=1e-9)
        np.testing.assert_allclose(greedy.overlap_S, expected.overlap_S, atol=1e-6)


def test_a_chain_is_followed_while_it_may_be_accepted_and_the_text_goes_on() -> None:
    """Logits of a head that drafts the text itself, and of one that drafts another token."""
    text = Text("a", (1, 2), (3, 4, 5), "length")
    known = TargetLogits(TARGET, on_model(TARGET, [text]))

    class Certain:
        def __init__(self, ids: Sequence[int]) -> None:
            self.ids = torch.tensor(ids)

        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(self.ids[-len(hidden) :], 64) * 100.0

    states_RH = torch.zeros(3, 2)
    chains = Chains(text, known, Samplers(ONE, GREEDY))
    sizes = []
    for ids in ((3, 4, 5), (4, 9), (5,), (5,)):
        sizes.append(len(chains.followed))
        chains.follow(Certain(ids), states_RH)  # type: ignore[arg-type]  # only its logits are read
    # From the second start on, the second token is another one; past the end there is none.
    assert sizes == [3, 2, 1, 0]
    accept_SD = chains.table().accept_SD
    assert (accept_SD[:, :3] > 0).tolist() == [
        [True, True, True],
        [True, False, False],
        [True, False, False],
    ]
    assert (accept_SD[:, 3:] == 0).all()
    assert (chains.table(5).drafted_S == 5).all()


def test_after_a_prompt_of_one_token_there_is_no_feature_to_start_from() -> None:
    session = FeatureHeadDrafter(HEAD).start((3,), ONE, torch.Generator())
    assert session.propose((3,), 4).token_ids == ()


def test_a_head_that_is_not_finite_has_no_table() -> None:
    text = Text("a", (1, 2), (3, 4, 5), "length")
    target, head = imitating(0.15)
    with torch.no_grad():
        head.model.fc.weight[0, 0] = torch.nan
    known = TargetLogits(target, on_model(target, [text]))
    with pytest.raises(NotFinite, match="the draft's logits"):
        list(FeatureHeadDrafter(head).score([text], known, WAYS[1]))


def test_a_session_drafts_from_the_heads_distribution_and_forgets_what_it_drafted() -> None:
    prompt, token_ids = (3, 4, 5, 6), (3, 4, 5, 6, 9, 8)
    states_TLD = LiveStates(TARGET, HEAD.model.shape.layers).states_of(Text("a", prompt, (9, 8, 1)))
    (by_depth,) = (
        each
        for _, each in rolled_features(
            HEAD, [Text("a", prompt, (9, 8, 1))], LiveStates(TARGET, HEAD.model.shape.layers), 1
        )
    )
    for gamma in (1, 4):
        session = FeatureHeadDrafter(HEAD).start(prompt, ONE, torch.Generator().manual_seed(0))
        assert session.layers == HEAD.model.shape.layers
        session.observe(states_TLD[:3])
        assert session.propose(prompt, 0).token_ids == ()
        for start, end in ((0, 4), (2, 6)):
            if start:
                session.observe(states_TLD[3:5])
            found = session.propose(token_ids[:end], gamma)
            assert len(found.token_ids) == gamma
            assert found.q_GV is not None
            expected_V = HEAD.logits(by_depth[0][start][None]).softmax(-1)[0]
            torch.testing.assert_close(found.q_GV[0].float(), expected_V, atol=1e-5, rtol=1e-3)
