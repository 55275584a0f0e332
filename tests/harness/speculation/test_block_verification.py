"""Block verification: whole texts enumerated, so that every number is exact.

The toy target writes texts of at most LIMIT words, which a word may end early. The toy draft's
distribution depends on the text, and on the depth in the block. All blocks that may be drafted from
all texts are enumerated: the distribution of whole texts over several blocks must be the target's,
and the expected counts of blocks, given each text, those that its acceptance table predicts. Each
planted fault must break one of the two.

Legend: N block, G drafted word, H = G + 1, V vocabulary.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from draftmark.errors import UserError
from draftmark.speculation import verification
from draftmark.speculation.blocks import BlockCounts, block_counts
from draftmark.speculation.scoring import tokens_above
from draftmark.store.acceptance_tables import Floats, sliding_table, verifications_of
from draftmark.types import AcceptanceTable

WORDS, END, LIMIT = 3, 0, 4
Words = tuple[int, ...]
Rule = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]
]  # -> P(a prefix passes) [N, G], residuals [N, H, V]


@cache
def p_of(text: Words) -> Floats:
    """Return the target's distribution [V] of the word after a text."""
    return np.random.default_rng([1, *text]).dirichlet(np.full(WORDS, 0.6))


@cache
def q_of(text: Words, depth: int, *, sliding: bool) -> Floats:
    """Return the draft's distribution [V]; a sliding one does not depend on the depth."""
    seed = [2, 0 if sliding else depth, *text]
    return 0.5 * p_of(text) + 0.5 * np.random.default_rng(seed).dirichlet(np.full(WORDS, 0.4))


def ended(text: Words) -> bool:
    return len(text) == LIMIT or END in text


def drafted_blocks(text: Words, size: int, sliding: bool) -> tuple[torch.Tensor, ...]:
    """Return every block of a size after a text: (words [N, G], q [N, G, V], p [N, H, V])."""
    blocks = list(itertools.product(range(WORDS), repeat=size))
    q_NGV = [[q_of(text + b[:g], g, sliding=sliding) for g in range(size)] for b in blocks]
    p_NHV = [[p_of(text + b[:g]) for g in range(size + 1)] for b in blocks]
    words_NG = torch.tensor(blocks, dtype=torch.long).reshape(len(blocks), size)
    q_NGV = np.array(q_NGV).reshape(len(blocks), size, WORDS)
    return words_NG, torch.tensor(q_NGV), torch.tensor(np.array(p_NHV))


def outcomes(text: Words, size: int, sliding: bool, rule: Rule) -> dict[tuple[Words, int], float]:
    """Return the probability of every (text after a block, number of accepted words)."""
    words_NG, q_NGV, p_NHV = drafted_blocks(text, size, sliding)
    passing_NG, left_NHV = (each.numpy() for each in rule(words_NG, q_NGV, p_NHV))
    nothing_NH1 = left_NHV.sum(-1, keepdims=True) == 0  # as engines do then, which faults reach
    left_NHV = np.where(nothing_NH1, p_NHV.numpy(), left_NHV)
    found: dict[tuple[Words, int], float] = defaultdict(float)
    drawn_N = q_NGV.gather(-1, words_NG[..., None])[..., 0].prod(-1).numpy()
    for block, left, passing_G, left_HV in zip(
        words_NG.tolist(), drawn_N, passing_NG, left_NHV, strict=True
    ):
        for accepted in range(size, -1, -1):  # the longest prefix that passes
            passed = left * (passing_G[accepted - 1] if accepted else 1.0)
            left -= passed
            next_V = left_HV[accepted] / left_HV[accepted].sum()
            for word, chance in enumerate(next_V):
                found[(*text, *block[:accepted], word), accepted] += passed * chance
    return found


def cut(text: Words) -> Words:
    """Return a text up to its first end word, and its length limit."""
    return text[: min(LIMIT, text.index(END) + 1 if END in text else LIMIT)]


COUNTS = ("chance", "passes", "drafted", "tested", "accepted")


def enumerate_texts(gamma: int, sliding: bool, rule: Rule) -> dict[Words, Floats]:
    """Return for each whole text its probability, and its expected counts times it."""
    states: dict[Words, Floats] = {(): np.array([1.0, 0, 0, 0, 0])}
    done: dict[Words, Floats] = defaultdict(lambda: np.zeros(5))
    for length in range(LIMIT):
        for text in [text for text in states if len(text) == length]:
            state, size = states.pop(text), min(gamma, LIMIT - length)
            for (longer, accepted), chance in outcomes(text, size, sliding, rule).items():
                whole = cut(longer)
                within = len(whole) - length
                counts = (1, size, min(size, accepted + 1, within), min(accepted, within))
                added = chance * (state + state[0] * np.array([0, *counts]))
                if ended(whole):
                    done[whole] += added
                else:
                    states[whole] = states.get(whole, np.zeros(5)) + added
    return done


def table_of(text: Words, sliding: bool) -> AcceptanceTable:
    """Return the acceptance table of a whole text."""
    length = len(text)
    ratio_SD = np.zeros((length, LIMIT))
    for s, d in itertools.product(range(length), range(LIMIT)):
        if s + d < length:
            before, word = text[: s + d], text[s + d]
            ratio_SD[s, d] = q_of(before, d, sliding=sliding)[word] / p_of(before)[word]
    none_S = np.zeros(length)
    return AcceptanceTable(
        "a",
        np.minimum(ratio_SD, 1.0),
        np.full(length, LIMIT),
        none_S,
        none_S,
        limit=LIMIT,
        ratio_SD=ratio_SD,
    )


def chance_of(text: Words) -> float:
    return float(np.prod([p_of(text[:n])[word] for n, word in enumerate(text)]))


def errors(gamma: int, sliding: bool, rule: Rule) -> tuple[float, float]:
    """Return the largest errors of the distribution of texts, and of the predicted counts."""
    found = enumerate_texts(gamma, sliding, rule)
    law = counts = 0.0
    for text, (chance, *counted) in found.items():
        law = max(law, abs(chance - chance_of(text)))
        predicted = block_counts([table_of(text, sliding)], gamma, verification="block")
        expected = [getattr(predicted, f"{name}_B")[0] for name in COUNTS[1:]]
        counts = max(counts, *np.abs(np.array(counted) - chance * np.array(expected)))
    assert sum(chance for chance, *_ in found.values()) == pytest.approx(1, abs=1e-12)
    return law, counts


@pytest.mark.parametrize("gamma", [1, 2, 3, 4])
@pytest.mark.parametrize("sliding", [True, False])
def test_texts_have_the_targets_distribution_and_counts_are_predicted(
    gamma: int, sliding: bool
) -> None:
    law, counts = errors(gamma, sliding, verification.joint_rule)
    assert law < 1e-12
    assert counts < 1e-12


def weights(growth_NG: torch.Tensor, *, running: bool) -> torch.Tensor:
    """Return the weights [N, H]: min(1, each product), or the running minimum of the paper."""
    weight_NH = torch.ones(len(growth_NG), growth_NG.shape[1] + 1, dtype=torch.float64)
    most = 1.0 if running else torch.inf
    for depth in range(growth_NG.shape[1]):
        last_N = weight_NH[:, depth]
        weight_NH[:, depth + 1] = (last_N * growth_NG[:, depth]).clamp(max=most)
    return weight_NH.clamp(max=1)


def planted(fault: str) -> Rule:
    """Return the rule of the paper, written anew, with a fault."""

    def rule(
        drafted_NG: torch.Tensor, q_NGV: torch.Tensor, p_NHV: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        p_NG, q_NG = (
            each.gather(-1, drafted_NG[..., None])[..., 0] for each in (p_NHV[:, :-1], q_NGV)
        )
        growth_NG = (p_NG / q_NG).clamp(max=1) if fault == "clipped ratio" else p_NG / q_NG
        weight_NH = weights(growth_NG, running=fault != "wrong running minimum")
        q_NHV = torch.cat([q_NGV, torch.zeros_like(p_NHV[:, :1])], 1)
        left_NHV = (weight_NH[..., None] * p_NHV - q_NHV).clamp(min=0)
        mass_NG, kept_NG = left_NHV[:, 1:].sum(-1), weight_NH[:, 1:]
        passing_NG = mass_NG / (mass_NG + 1 - kept_NG).clamp(min=1e-300)
        passing_NG = torch.where((mass_NG == 0) & (kept_NG == 1), 1.0, passing_NG)
        if fault == "residual of the standard rule":
            left_NHV = (p_NHV - q_NHV).clamp(min=0)
        if fault == "prefixes pass with their weights":
            passing_NG = kept_NG
        return passing_NG, left_NHV

    return rule


def test_the_rule_written_anew_without_a_fault_is_exact() -> None:
    assert max(errors(3, False, planted("none"))) < 1e-12


@pytest.mark.parametrize(
    "fault",
    [
        "clipped ratio",
        "residual of the standard rule",
        "wrong running minimum",
        "prefixes pass with their weights",
    ],
)
def test_a_planted_fault_changes_the_distribution_of_texts(fault: str) -> None:
    law, _ = errors(3, False, planted(fault))
    assert law > 1e-4  # the rule itself is exact to 1e-12


@pytest.mark.parametrize("gamma", [2, 3, 4])
def test_a_prediction_without_the_running_minimum_is_not_of_the_rule(
    gamma: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from draftmark.speculation import blocks

    def faulty(ratio_SD: Floats) -> Floats:
        return np.minimum(np.cumprod(ratio_SD, axis=1), 1.0)

    monkeypatch.setattr(blocks, "_reach", faulty)
    assert errors(gamma, False, verification.joint_rule)[1] > 1e-3


@pytest.mark.parametrize("gamma", [1, 2, 3, 4])
def test_on_average_over_texts_it_needs_no_more_passes(gamma: int) -> None:
    """At gamma 1 as many; then fewer, for a draft that does not depend on the start."""
    chances, passes = [], []
    for text in enumerate_texts(gamma, True, verification.joint_rule):
        table = table_of(text, True)
        rules = [block_counts([table], gamma, verification=rule) for rule in ("block", "standard")]
        chances.append(chance_of(text))
        passes.append([float(counts.passes_B[0]) for counts in rules])
    block, standard = np.array(chances) @ np.array(passes)
    assert block == pytest.approx(standard, abs=1e-12) if gamma == 1 else block < standard - 1e-3


ratios = st.lists(
    st.one_of(st.floats(0, 3), st.sampled_from([0.0, 1.0, 1e-40, 1e40])), min_size=1, max_size=12
)


def first_block(ratio: list[float], rule: str) -> BlockCounts:
    """Return the counts of a text whose first start alone drafts, up to its end."""
    ratio_S = np.array(ratio)
    table = sliding_table(
        "a", np.minimum(ratio_S, 1.0), ratio_S, ratio_S, len(ratio), ratio_S=ratio_S
    )
    first_S = np.zeros(len(ratio), dtype=np.int64)
    first_S[0] = len(ratio)
    return block_counts([replace(table, drafted_S=first_S)], len(ratio), verification=rule)


@given(ratios)
def test_every_block_is_accepted_at_least_as_far(ratio: list[float]) -> None:
    block, standard = (first_block(ratio, rule) for rule in ("block", "standard"))
    assert np.all(block.reached_BG >= standard.reached_BG)
    assert np.all(np.diff(block.reached_BG, prepend=1.0) <= 0)
    assert block.drafted_B == standard.drafted_B


@given(ratios, st.integers(1, 8))
def test_a_draft_that_ignores_the_start_needs_no_more_passes(
    ratio: list[float], gamma: int
) -> None:
    """Given any text: under the standard rule a later start never needs more passes."""
    ratio_S = np.array(ratio)
    table = sliding_table("a", np.minimum(ratio_S, 1.0), ratio_S, ratio_S, 8, ratio_S=ratio_S)
    block, standard = (
        block_counts([table], gamma, verification=rule).passes_B[0]
        for rule in ("block", "standard")
    )
    assert block <= standard + 1e-9


@given(ratios)
def test_a_block_is_accepted_with_the_least_product_of_its_ratios(ratio: list[float]) -> None:
    """With exact products, which may be beyond the range of floating-point numbers."""
    from fractions import Fraction

    product, least = Fraction(1), Fraction(1)
    for reached, value in zip(first_block(ratio, "block").reached_BG[0], ratio, strict=True):
        product *= Fraction(value)
        least = min(least, product)
        assert reached == pytest.approx(float(least), rel=1e-9, abs=1e-300)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=12), st.integers(1, 8))
def test_both_rules_accept_the_same_of_a_draft_that_is_not_sampled(
    accept: list[float], gamma: int
) -> None:
    """Its ratios are 0 or 1 / p(y), so 1 or more; a table does not need them."""
    accept_S = np.array(accept)
    plain = sliding_table("a", accept_S, accept_S, accept_S, 8, ratio_S=accept_S / 0.3)
    assert plain.ratio_SD is None
    known = replace(plain, ratio_SD=plain.accept_SD / 0.3)
    for table in (plain, known):
        block, standard = (
            block_counts([table], gamma, verification=rule) for rule in ("block", "standard")
        )
        for name in ("passes_B", "drafted_B", "tested_BG", "reached_BG"):
            np.testing.assert_array_equal(getattr(block, name), getattr(standard, name))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 8))
def test_both_rules_accept_the_same_of_a_greedy_target(q: list[float], gamma: int) -> None:
    """p(y) is 1 there, so every ratio is q(y)."""
    q_S = np.array(q)
    table = sliding_table("a", q_S, q_S, q_S, 8, ratio_S=q_S)
    block, standard = (
        block_counts([table], gamma, verification=rule) for rule in ("block", "standard")
    )
    for name in ("passes_B", "drafted_B", "tested_BG", "reached_BG"):
        np.testing.assert_array_equal(getattr(block, name), getattr(standard, name))


def test_a_table_of_an_old_version_has_no_numbers_of_block_verification() -> None:
    some_S = np.array([0.5, 1.0, 0.25])
    old = sliding_table("gsm8k/test/1", some_S, some_S, some_S, 8)
    assert verifications_of([old]) == ("standard",)
    assert verifications_of([replace(old, ratio_SD=old.accept_SD)]) == ("standard", "block")
    with pytest.raises(UserError, match="of gsm8k/test/1 has no numbers of block verification"):
        block_counts([old], 4, verification="block")


def test_a_block_is_verified_at_once_by_the_engines_rule() -> None:
    """A bonus token where all is accepted; the draft's own word is never drawn instead."""
    one_hot = torch.eye(4)
    p_NHV = one_hot[torch.tensor([[0, 1, 2], [0, 1, 2]])]
    drafted_NG = torch.tensor([[0, 1], [0, 3]])
    stream = torch.Generator().manual_seed(0)
    accepted_N, following_N = verification.verify_jointly(
        drafted_NG, one_hot[drafted_NG], p_NHV, stream
    )
    assert (accepted_N.tolist(), following_N.tolist()) == ([2, 1], [2, 1])
    none = torch.empty(1, 0, dtype=torch.long)
    empty = verification.verify_jointly(none, torch.empty(1, 0, 4), p_NHV[:1, 2:], stream)
    assert [each.tolist() for each in empty] == [[0], [2]]


THRESHOLD = 0.5


def confidence(text: Words) -> float:
    return float(np.random.default_rng([3, *text]).random())


def test_a_block_that_ends_below_a_confidence_is_counted_exactly() -> None:
    """The confidence before a word depends on the words before; what is drafted is drawn anew."""
    gamma, chances, law = 3, defaultdict(float), 0.0
    states: dict[Words, Floats] = {(): np.array([1.0, 0.0])}
    passes: dict[Words, float] = defaultdict(float)
    for length in range(LIMIT):
        for text in [text for text in states if len(text) == length]:
            state = states.pop(text)
            for (longer, _), chance in stopping_outcomes(text, min(gamma, LIMIT - length)).items():
                whole, added = cut(longer), chance * (state + state[0] * np.array([0, 1]))
                if ended(whole):
                    chances[whole] += added[0]
                    passes[whole] += added[1]
                else:
                    states[whole] = states.get(whole, np.zeros(2)) + added
    for text, chance in chances.items():
        law = max(law, abs(chance - chance_of(text)))
        along_SD = np.zeros((len(text), LIMIT))
        for s, d in itertools.product(range(len(text)), range(LIMIT)):
            along_SD[s, d] = confidence(text[: s + d])
        table = replace(table_of(text, False), drafted_S=tokens_above(along_SD, THRESHOLD))
        counts = block_counts([table], gamma, verification="block")
        assert passes[text] == pytest.approx(chance * counts.passes_B[0], abs=1e-12)
    assert law < 1e-12


def stopping_outcomes(text: Words, room: int) -> dict[tuple[Words, int], float]:
    """Return the probability of every outcome of a block that ends below the threshold."""
    found: dict[tuple[Words, int], float] = defaultdict(float)

    def draft(block: Words) -> None:
        if len(block) < room and confidence(text + block) >= THRESHOLD:
            for word in range(WORDS):
                draft((*block, word))
            return
        words_NG, q_NGV, p_NHV = drafted_blocks(text, len(block), False)
        row = words_NG.tolist().index(list(block))
        passing_NG, left_NHV = verification.joint_rule(words_NG, q_NGV, p_NHV)
        left = float(
            np.prod([q_of(text + block[:g], g, sliding=False)[w] for g, w in enumerate(block)])
        )
        for accepted in range(len(block), -1, -1):
            passed = left * (float(passing_NG[row, accepted - 1]) if accepted else 1.0)
            left -= passed
            left_V = left_NHV[row, accepted]
            for word, chance in enumerate((left_V / left_V.sum().clamp(min=1e-300)).tolist()):
                found[(*text, *block[:accepted], word), accepted] += passed * chance

    draft(())
    return found


def test_tokens_are_drafted_before_the_first_low_confidence() -> None:
    confidence_SD = np.array([[0.9, 0.4, 0.9], [0.4, 0.9, 0.9], [0.9, 0.9, 0.9], [0.5, 0.5, 0.1]])
    assert tokens_above(confidence_SD, 0.5).tolist() == [1, 0, 3, 2]
    joint_SD = np.cumprod(confidence_SD, axis=1)
    assert tokens_above(joint_SD, 0.8).tolist() == [1, 0, 2, 0]


def test_tokens_proposed_in_a_draw_count_as_drafted_up_to_the_block_and_limit() -> None:
    half_S = np.full(4, 0.5)
    table = sliding_table("a", half_S, half_S, half_S, 8)
    drawn = replace(table, drafted_S=np.full(4, 2), proposed_S=np.array([5, 0, 1, 8]), limit=4)
    counts, plain = (block_counts([each], 3) for each in (drawn, replace(drawn, proposed_S=None)))
    np.testing.assert_array_equal(counts.passes_B, plain.passes_B)
    starts = [1.0, 0.5, 0.5 * 0.5 + 0.5 * 0.5]  # of blocks of up to 2 drafted tokens
    last = starts[0] * 0.25 + starts[1] * 0.25 + starts[2] * 0.5
    expected = starts[0] * 3 + starts[1] * 0 + starts[2] * 1 + last * 1
    assert counts.drafted_B[0] == pytest.approx(expected)
