"""The tests of losslessness have teeth: each well-known mistake is planted, and caught.

The joint law of the first three tokens of a toy chain is compared with the target's by a G-test,
for drafts close to the target, tailed, uniform, with disjoint support, surely wrong, and one whose
law depends on the token before. Each rule passes on a million draws; every planted fault fails.

Legend: N draw, G drafted token, H = G + 1, V vocabulary.
"""

from collections.abc import Callable

import pytest
import torch
from scipy import stats

from draftmark.models.sampling import draw_tokens
from draftmark.speculation.verification import (
    joint_rule,
    residual_weights,
    verify_block,
    verify_jointly,
)

DRAWS, FEW_DRAWS, WORDS, GAMMA, TOKENS = 1_000_000, 100_000, 3, 2, 3
# Row 0 is the law of the first token, row a + 1 that of the token after a.
P_CV = torch.tensor([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
# A target that never says its last word, so that a draft can have a support of its own.
P_SHORT_CV = torch.tensor([[0.6, 0.4, 0.0], [0.7, 0.3, 0.0], [0.2, 0.8, 0.0], [0.5, 0.5, 0.0]])
DRAFTS = {
    "close": (P_CV, torch.tensor([[0.5, 0.3, 0.2]]).repeat(4, 1)),
    "chained": (P_CV, P_CV.roll(1, 0)),
    # After a token 2 that the draft says too often, two words are left to make up for, unequally.
    "tailed": (
        P_CV,
        torch.tensor([[0.55, 0.325, 0.125], [0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.02, 0.18, 0.8]]),
    ),
    "uniform": (P_CV, torch.full((4, WORDS), 1 / WORDS)),
    "disjoint support": (P_SHORT_CV, torch.tensor([[0.0, 0.0, 1.0]]).repeat(4, 1)),
    "one-hot wrong": (P_CV, torch.tensor([[0.0, 0.0, 1.0]]).repeat(4, 1)),
}
Rule = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]
]


def emitted(rule: Rule, name: str, draws: int, *, greedy: bool = False) -> torch.Tensor:
    """Return the first TOKENS tokens [N, TOKENS] of texts, written in blocks of GAMMA."""
    p_CV, q_CV = DRAFTS[name]
    generator = torch.Generator().manual_seed(0)
    texts_NT = torch.full((draws, TOKENS + GAMMA + 1), -1)
    lengths_N = torch.zeros(draws, dtype=torch.long)
    while len(alive_N := torch.nonzero(lengths_N < TOKENS)[:, 0]):
        last_N = _last(texts_NT, lengths_N, alive_N)
        drafted, laws_q, laws_p = [], [], []
        for _ in range(GAMMA):
            q_NV, p_NV = q_CV[last_N + 1], p_CV[last_N + 1]
            last_N = q_NV.argmax(-1) if greedy else draw_tokens(q_NV, generator)
            drafted.append(last_N)
            laws_q.append(q_NV)
            laws_p.append(p_NV)
        laws_p.append(p_CV[last_N + 1])
        drafted_NG = torch.stack(drafted, 1)
        accepted_N, following_N = rule(
            drafted_NG, torch.stack(laws_q, 1), torch.stack(laws_p, 1), generator
        )
        block_NH = torch.cat([drafted_NG, following_N[:, None]], 1)
        block_NH[torch.arange(len(alive_N)), accepted_N] = following_N
        for depth in range(GAMMA + 1):
            here = accepted_N >= depth
            rows = alive_N[here]
            texts_NT[rows, lengths_N[rows] + depth] = block_NH[here, depth]
        lengths_N[alive_N] += accepted_N + 1
    return texts_NT[:, :TOKENS]


def _last(texts_NT: torch.Tensor, lengths_N: torch.Tensor, alive_N: torch.Tensor) -> torch.Tensor:
    """Return the last token of each text [N]; -1 of an empty one."""
    at_N = lengths_N[alive_N]
    return torch.where(at_N > 0, texts_NT[alive_N, (at_N - 1).clamp(min=0)], -1)


def p_value(tokens_NT: torch.Tensor, name: str) -> float:
    """Return the G-test's p value for tokens having the target's joint law."""
    draws, num_tokens = tokens_NT.shape
    p_CV, _ = DRAFTS[name]
    law = p_CV[0].double()
    for _ in range(num_tokens - 1):
        after = p_CV[1:].double().repeat(len(law) // WORDS, 1)
        law = (law[:, None] * after).flatten()
    cell_N = torch.zeros(draws, dtype=torch.long)
    for position in range(num_tokens):
        cell_N = cell_N * WORDS + tokens_NT[:, position]
    observed = torch.bincount(cell_N, minlength=len(law)).double()
    if observed[law == 0].sum() > 0:
        return 0.0  # what the target never says
    some = law > 0
    expected = law[some] / law[some].sum() * draws
    found = stats.power_divergence(
        observed[some].numpy(), expected.numpy(), lambda_="log-likelihood"
    )
    return float(found.pvalue)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAFTS)
def test_the_rule_as_it_is_passes(name: str) -> None:
    tokens_NT = emitted(verify_block, name, DRAWS)
    for num_tokens in (1, 2, 3):
        assert p_value(tokens_NT[:, :num_tokens], name) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAFTS)
def test_block_verification_as_it_is_passes(name: str) -> None:
    assert p_value(emitted(verify_jointly, name, DRAWS), name) > 1e-3


def prefixes_by_weight(
    drafted: torch.Tensor, q: torch.Tensor, p: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Accept the longest prefix whose own weight passes, as a released implementation did."""
    growth_NG = (p[:, :GAMMA].double() / q.double()).gather(-1, drafted[..., None])[..., 0]
    first_N = growth_NG[:, 0].clamp(max=1)
    weight_NG = torch.stack([first_N, (first_N * growth_NG[:, 1]).clamp(max=1)], 1)
    passed_NG = torch.rand(drafted.shape, generator=generator, dtype=torch.float64) < weight_NG
    accepted_N = (passed_NG * torch.arange(1, GAMMA + 1)).amax(-1)
    _, left_NHV = joint_rule(drafted, q, p)
    return accepted_N, draw_tokens(left_NHV[torch.arange(len(accepted_N)), accepted_N], generator)


def standard_residual(
    drafted: torch.Tensor, q: torch.Tensor, p: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Accept by block verification, and replace by the residual of the standard rule."""
    accepted_N, _ = verify_jointly(drafted, q, p, generator)
    return accepted_N, draw_tokens(_left(p, q, accepted_N), generator)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (prefixes_by_weight, "chained"),
        (prefixes_by_weight, "uniform"),
        (standard_residual, "tailed"),  # elsewhere both residuals have one word
    ],
)
def test_a_fault_planted_in_block_verification_is_caught(fault: Rule, name: str) -> None:
    assert p_value(emitted(fault, name, DRAWS), name) < 1e-6


def accepting(ratio: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Rule:
    """Return a rule that accepts with another probability, and is right in the rest."""

    def rule(
        drafted: torch.Tensor, q: torch.Tensor, p: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        q_NG, p_NG = (law[:, :GAMMA].gather(-1, drafted[..., None])[..., 0] for law in (q, p))
        uniform_NG = torch.rand(drafted.shape, generator=generator)
        accepted = (uniform_NG < ratio(p_NG, q_NG)).long().cumprod(-1).sum(-1)
        return accepted, draw_tokens(_left(p, q, accepted), generator)

    return rule


def _left(p: torch.Tensor, q: torch.Tensor, accepted: torch.Tensor) -> torch.Tensor:
    """Return what the token after the accepted ones is to be drawn from [N, V]."""
    rows = torch.arange(len(accepted))
    padded = torch.cat([q, torch.zeros_like(q[:, :1])], 1)
    return residual_weights(p[rows, accepted], padded[rows, accepted])


def replacing(
    other: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor], *, bonus: bool
) -> Rule:
    """Return a rule that draws the bonus token, or else a rejected one's successor, otherwise."""

    def rule(
        drafted: torch.Tensor, q: torch.Tensor, p: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        accepted, following = verify_block(drafted, q, p, generator)
        faulty = draw_tokens(other(p, q, accepted), generator)
        return accepted, torch.where((accepted == GAMMA) == bonus, faulty, following)

    return rule


def not_renormalised(p: torch.Tensor, q: torch.Tensor, accepted: torch.Tensor) -> torch.Tensor:
    """Return the residual with the mass that it lacks to one on its last token."""
    left_NV = _left(p, q, accepted)
    left_NV[:, -1] += 1 - left_NV.sum(-1)
    return left_NV


def the_law_itself(p: torch.Tensor, q: torch.Tensor, accepted: torch.Tensor) -> torch.Tensor:
    return p[torch.arange(len(accepted)), accepted]


def the_drafts_law(p: torch.Tensor, q: torch.Tensor, accepted: torch.Tensor) -> torch.Tensor:
    return q[:, -1]


FAULTS = {
    "the ratio is inverted": accepting(lambda p, q: torch.where(p > 0, q / p, 0.0)),
    "all is accepted": accepting(lambda p, q: torch.ones_like(p)),
    "a rejected token is replaced by a draw from p": replacing(the_law_itself, bonus=False),
    "the residual is not renormalised": replacing(not_renormalised, bonus=False),
    "the bonus token is drawn from the draft": replacing(the_drafts_law, bonus=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str) -> None:
    for name in ("close", "uniform"):
        assert p_value(emitted(FAULTS[fault], name, FEW_DRAWS), name) < 1e-6


@pytest.mark.slow
def test_a_greedy_draft_with_its_soft_law_in_the_ratio_is_caught() -> None:
    assert p_value(emitted(verify_block, "close", FEW_DRAWS, greedy=True), "close") < 1e-6
