"""Heads in the reference engine: lossless, and counted as scoring predicts; known answers."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from depth_scores import score_by_depth
from head_cases import TRAINED, small_target
from made_once import made_once

from draftmark.engines.measure.lossless import check_counts, check_distribution, read_target_logits
from draftmark.engines.reference import _Loop
from draftmark.models.files import end_tokens
from draftmark.models.heads.feature_head import FeatureHead, HeadShape, make_head
from draftmark.models.heads.head_rollout import rolled_features
from draftmark.models.hidden_states import LiveStates, TargetLogits
from draftmark.models.language_model import LanguageModel
from draftmark.speculation.blocks import block_counts
from draftmark.speculation.head_drafter import FeatureHeadDrafter
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
LIMIT = 24


@pytest.fixture(scope="module")
def texts(
    write: Callable[..., list[Text]],
    prompts: list[Prompt],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Text]:
    """What the target writes to the 64 prompts at temperature 0, its first tokens."""
    return made_once(
        tmp_path_factory, "short texts", lambda: write(prompts, 0.0, max_new_tokens=LIMIT)
    )


@pytest.fixture
def decode(target: LanguageModel, tiny_directory: Path) -> Callable[..., list[Decode]]:
    """Return a function that decodes prompts with a head."""

    def run(
        prompts: list[Prompt],
        head: FeatureHead,
        how: Samplers,
        gamma: int,
        rule: Verification = "standard",
    ) -> list[Decode]:
        settings = EngineSettings(how, gamma, LIMIT, end_tokens(tiny_directory), 0, Placement())
        settings = replace(settings, verification=rule)
        return list(_Loop(target, FeatureHeadDrafter(head), settings).generate(prompts))

    return run


def texts_of(decoded: list[Decode], prompts: list[Prompt]) -> list[Text]:
    return [
        Text(item.example_id, prompt.token_ids, item.token_ids, item.finish_reason)
        for item, prompt in zip(decoded, prompts, strict=True)
    ]


def score(head: FeatureHead, laws: TargetLogits, how: Samplers) -> list[AcceptanceTable]:
    """Return the tables of the texts of some laws, in their order."""
    texts = laws.final_states.texts
    tables = {table.example_id: table for table in FeatureHeadDrafter(head).score(texts, laws, how)}
    return [tables[text.example_id] for text in texts]


def test_the_greedy_draft_beside_a_sampled_head_is_the_head_at_temperature_zero(
    trained_heads: Callable[[str], FeatureHead],
    target: LanguageModel,
    write: Callable[..., list[Text]],
    prompts: list[Prompt],
) -> None:
    """At every depth of every block, on text that the target sampled."""
    texts = write(prompts[:6], 1.0, max_new_tokens=LIMIT)
    laws = read_target_logits(target, texts)
    both = score(trained_heads("eagle"), laws, Samplers(ONE, ONE))
    alone = score(trained_heads("eagle"), laws, Samplers(ONE, GREEDY))
    for table, expected in zip(both, alone, strict=True):
        greedy = with_greedy_draft(table)
        assert greedy is not None
        assert with_greedy_draft(expected) is None
        for counts in ("tested_BG", "reached_BG", "drafted_B", "passes_B"):
            mine, theirs = (getattr(block_counts([it], 8), counts) for it in (greedy, expected))
            np.testing.assert_allclose(mine, theirs, atol=1e-9)
        np.testing.assert_allclose(greedy.overlap_S, expected.overlap_S, atol=1e-6)
    assert sum(with_greedy_draft(table).accept_SD.sum() for table in both) > 0  # type: ignore[union-attr]


def limited(head: FeatureHead, laws: TargetLogits, how: Samplers) -> list[AcceptanceTable]:
    """Return the tables of texts whose length limit is known."""
    return [replace(table, limit=LIMIT) for table in score(head, laws, how)]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "gamma"),
    [(name, gamma) for name in ("eagle", "eagle3") for gamma in (1, 3, 5)] + [("eagle3, cut", 3)],
)
def test_at_temperature_zero_it_is_lossless_and_every_count_is_predicted_exactly(
    decode: Any,
    trained_heads: Callable[[str], FeatureHead],
    target: LanguageModel,
    prompts: list[Prompt],
    texts: list[Text],
    name: str,
    gamma: int,
) -> None:
    """On each of 12 prompts, not only in sum."""
    prompts, texts = prompts[:12], texts[:12]
    how = Samplers(GREEDY, GREEDY)
    decoded = decode(prompts, trained_heads(name), how, gamma)
    assert [item.token_ids for item in decoded] == [text.response_ids for text in texts]
    counts = block_counts(
        limited(trained_heads(name), read_target_logits(target, texts), how), gamma
    )
    assert [item.target_passes for item in decoded] == counts.passes_B.tolist()
    for of_rounds, predicted_B in (
        ("drafted", counts.drafted_B),
        ("accepted", counts.accepted_B),
    ):
        counted = [sum(getattr(round_, of_rounds) for round_ in item.rounds) for item in decoded]
        assert counted == predicted_B.tolist()
    # Tokens are accepted and tokens are rejected: else this shows little.
    assert 30 < counts.accepted_B.sum() < counts.tested_B.sum() - 30


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "how", "rule"),  # two heads for each way to sample, two ways for each head
    [
        ("eagle", Samplers(ONE, ONE), "standard"),
        ("eagle3", Samplers(ONE, ONE), "standard"),
        ("eagle", Samplers(ONE, ONE), "block"),
        ("eagle3, cut", Samplers(ONE, ONE), "block"),
        ("eagle3", Samplers(Sampler(0.7, top_k=20), GREEDY), "standard"),
        ("eagle3, cut", Samplers(Sampler(0.7, top_k=20), GREEDY), "standard"),
    ],
)
def test_above_zero_tokens_have_the_targets_law_and_counts_are_within_the_interval(
    decode: Any,
    trained_heads: Callable[[str], FeatureHead],
    target: LanguageModel,
    prompts: list[Prompt],
    name: str,
    how: Samplers,
    rule: Verification,
) -> None:
    some = prompts[:24]
    written = texts_of(decoded := decode(some, trained_heads(name), how, 4, rule), some)
    laws = read_target_logits(target, written)
    law = check_distribution(written, laws, how.target)
    assert law.passed, law.evidence
    drafter = FeatureHeadDrafter(trained_heads(name))
    counts = check_counts(decoded, written, drafter, laws, how, 4, verification=rule)
    assert counts.passed, counts.evidence


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(
    "how",
    [Samplers(GREEDY, GREEDY), Samplers(ONE, ONE), Samplers(Sampler(0.7, top_k=20), GREEDY)],
    ids=["0", "1", "0.7, greedy"],
)
def test_chains_that_are_not_followed_to_their_ends_count_as_those_that_are(
    trained_heads: Callable[[str], FeatureHead],
    target: LanguageModel,
    write: Any,
    prompts: list[Prompt],
    name: str,
    how: Samplers,
) -> None:
    head, texts = trained_heads(name), write(prompts[:6], how.target, max_new_tokens=40)
    laws = read_target_logits(target, texts)
    whole = {
        text.example_id: score_by_depth(text, laws, how, map(head.logits, by_depth))
        for text, by_depth in rolled_features(
            head, texts, LiveStates(target, head.model.shape.layers), 32
        )
    }
    tables = score(head, laws, how)
    for gamma, rule in itertools.product((1, 4, 32), ("standard", "block")):
        mine, theirs = (
            block_counts(each, gamma, verification=rule)
            for each in (tables, [whole[t.example_id] for t in texts])
        )
        for field in ("tokens_B", "passes_B", "drafted_B", "tested_BG", "reached_BG"):
            np.testing.assert_allclose(getattr(mine, field), getattr(theirs, field), atol=1e-5)
    for table in tables:
        theirs = whole[table.example_id]
        np.testing.assert_allclose(table.accept_SD[:, 0], theirs.accept_SD[:, 0], atol=1e-6)
        np.testing.assert_allclose(table.overlap_S, theirs.overlap_S, atol=1e-6)
        np.testing.assert_array_equal(table.greedy_match_S, theirs.greedy_match_S)
        followed_SD = table.accept_SD[:, 1:] > 0
        np.testing.assert_allclose(
            table.accept_SD[:, 1:][followed_SD], theirs.accept_SD[:, 1:][followed_SD], atol=1e-5
        )
    if how.target == ONE:  # not all was computed
        left_out = [(whole[t.example_id].accept_SD > 0) & (t.accept_SD == 0) for t in tables]
        assert sum(each.sum() for each in left_out) > 0


def test_stored_states_score_as_live_ones(
    trained_heads: Callable[[str], FeatureHead], target: LanguageModel, texts: list[Text]
) -> None:
    laws, how = read_target_logits(target, texts[:4]), Samplers(ONE, ONE)
    stored = LiveStates(target, trained_heads("eagle3").model.shape.layers)
    for mine, theirs in zip(
        score(trained_heads("eagle3"), laws, how),
        score(trained_heads("eagle3"), replace(laws, layer_states=stored), how),
        strict=True,
    ):
        np.testing.assert_array_equal(mine.accept_SD, theirs.accept_SD)


class Shifted:
    """The target's states, each a position too early: the next features themselves."""

    def __init__(self, states: LiveStates) -> None:
        self._states = states

    def states_of(self, text: Text) -> torch.Tensor:
        return torch.roll(self._states.states_of(text), -1, dims=0)


def passing_on(head: FeatureHead, half: int) -> FeatureHead:
    """Make the layer the identity, and `fc` pass on the embedding (0) or the feature (1)."""
    layer = head.model.causal.base_model.layers[0]
    with torch.no_grad():
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        width = head.model.fc.weight.shape[0]
        head.model.fc.weight.zero_()
        head.model.fc.weight[:, half * width : (half + 1) * width] = torch.eye(width)
    return head


def test_given_the_next_features_and_identity_weights_everything_is_accepted(
    target: LanguageModel, texts: list[Text]
) -> None:
    head = passing_on(make_head(target, HeadShape("eagle", (8,), target.vocab_size), seed=0), 1)
    states = Shifted(LiveStates(target, (8,)))
    laws = read_target_logits(target, texts[:8])
    for text, by_depth in rolled_features(head, texts[:8], states, 1):
        mine_NV, theirs_NV = head.logits(by_depth[0]), laws.logits(text)
        torch.testing.assert_close(mine_NV, theirs_NV, atol=1e-3, rtol=1e-3)
    shifted = replace(laws, layer_states=states)
    for table in score(head, shifted, Samplers(GREEDY, GREEDY)):
        assert np.all(table.accept_SD[:, 0] == 1.0)


@pytest.mark.parametrize("how", [Samplers(GREEDY, GREEDY), Samplers(ONE, ONE)])
def test_where_the_next_feature_is_the_tokens_own_everything_is_accepted_at_every_depth(
    how: Samplers, tmp_path: Path
) -> None:
    """A target whose layers pass embeddings on, of norm 1: its features are its embeddings."""
    target = small_target("llama")
    with torch.no_grad():
        embedding = target.model.get_input_embeddings().weight
        embedding.copy_(embedding / embedding.square().mean(-1, keepdim=True).sqrt())
        for layer in target.model.base_model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    head = passing_on(make_head(target, HeadShape("eagle", (4,), 64), seed=0), 0)
    prompts = [Prompt(str(number), (number, 3)) for number in range(1, 9)]
    settings = EngineSettings(how, 5, 24, frozenset(), 0, Placement())
    drafter = FeatureHeadDrafter(head)
    decoded = list(_Loop(target, drafter, settings).generate(prompts))
    rounds = [round_ for item in decoded for round_ in item.rounds]
    assert sum(round_.drafted for round_ in rounds) > 100
    assert all(round_.accepted == round_.drafted for round_ in rounds)
    for table in score(head, read_target_logits(target, texts_of(decoded, prompts)), how):
        length, depth = table.accept_SD.shape
        inside_SD = np.add.outer(np.arange(length), np.arange(depth)) < length
        np.testing.assert_allclose(table.accept_SD[inside_SD], 1.0, atol=1e-4)
