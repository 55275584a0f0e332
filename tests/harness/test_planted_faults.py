"""The tests of losslessness have teeth: each well-known mistake is planted, and caught.

The law of two emitted tokens of a toy chain is compared with the target's by a G-test, for drafts
that are close to the target, uniform, disjoint from it, and surely wrong. The rule as it is passes;
every planted fault fails for at least one of the drafts.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest
import torch
from scipy import stats

from harness.verification import draw, residual, verify

DRAWS, WORDS = 20_000, 3
# The law of the second token depends on the first: row a is the law after token a.
P_FIRST = torch.tensor([0.6, 0.3, 0.1])
P_AFTER = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
UNIFORM = torch.full((WORDS,), 1 / WORDS)
DRAFTS = {
    "close": torch.tensor([0.5, 0.3, 0.2]),
    "uniform": UNIFORM,
    "likes what the target does not": torch.tensor([0.0, 0.1, 0.9]),
    "one-hot": torch.tensor([0.0, 1.0, 0.0]),
}
Verify = Callable[[Sequence[int], torch.Tensor, torch.Tensor, torch.Generator], tuple[int, int]]


def emitted_pair(rule: Verify, q: torch.Tensor, generator: torch.Generator, greedy: bool) -> Any:
    """Return the first two tokens that come of blocks of one drafted token."""
    tokens: list[int] = []
    while len(tokens) < 2:
        p = P_AFTER[tokens[-1]] if tokens else P_FIRST
        drafted = int(q.argmax()) if greedy else draw(q, generator)
        accepted, following = rule(
            [drafted], q[None], torch.stack([p, P_AFTER[drafted]]), generator
        )
        tokens += [drafted, following] if accepted else [following]
    return tokens[0], tokens[1]


def p_value(rule: Verify, q: torch.Tensor, *, greedy: bool = False) -> float:
    """Return the G-test's p value for the pairs having the target's joint law."""
    generator = torch.Generator().manual_seed(0)
    counts = Counter(emitted_pair(rule, q, generator, greedy) for _ in range(DRAWS))
    pairs = list(product(range(WORDS), repeat=2))
    law = [float(P_FIRST[a].double() * P_AFTER[a, b].double()) for a, b in pairs]
    expected = [DRAWS * share / sum(law) for share in law]
    observed = [counts[pair] for pair in pairs]
    return float(stats.power_divergence(observed, expected, lambda_="log-likelihood").pvalue)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAFTS)
def test_the_rule_as_it_is_passes(name: str) -> None:
    assert p_value(verify, DRAFTS[name]) > 1e-3


def accepting(ratio: Callable[[float, float], float]) -> Verify:
    """Return a rule that accepts with another probability, and is right in the rest."""

    def rule(
        drafted: Sequence[int], q: torch.Tensor, p: torch.Tensor, generator: torch.Generator
    ) -> tuple[int, int]:
        chance = ratio(float(p[0, drafted[0]]), float(q[0, drafted[0]]))
        if float(torch.rand((), generator=generator)) < chance:
            return 1, draw(p[1], generator)
        return 0, draw(residual(p[0], q[0]), generator)

    return rule


def without_residual(
    drafted: Sequence[int], q: torch.Tensor, p: torch.Tensor, generator: torch.Generator
) -> tuple[int, int]:
    """A rejected token is replaced by a draw from p itself."""
    accepted, following = verify(drafted, q, p, generator)
    return (1, following) if accepted else (0, draw(p[0], generator))


def residual_not_renormalised(
    drafted: Sequence[int], q: torch.Tensor, p: torch.Tensor, generator: torch.Generator
) -> tuple[int, int]:
    """The mass that the residual lacks to one falls on its last token."""
    accepted, following = verify(drafted, q, p, generator)
    if accepted:
        return 1, following
    left = residual(p[0], q[0]).double()
    left[-1] += 1 - left.sum()
    return 0, draw(left, generator)


def bonus_from_the_draft(
    drafted: Sequence[int], q: torch.Tensor, p: torch.Tensor, generator: torch.Generator
) -> tuple[int, int]:
    """The token after an accepted block is drawn from q."""
    accepted, following = verify(drafted, q, p, generator)
    return (1, draw(q[0], generator)) if accepted else (0, following)


FAULTS: dict[str, Verify] = {
    "the ratio is inverted": accepting(lambda p, q: min(1.0, q / p) if p else 0.0),
    "all is accepted": accepting(lambda p, q: 1.0),
    "a rejected token is replaced by a draw from p": without_residual,
    "the residual is not renormalised": residual_not_renormalised,
    "the bonus token is drawn from the draft": bonus_from_the_draft,
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str) -> None:
    assert min(p_value(FAULTS[fault], DRAFTS[name]) for name in ("close", "uniform")) < 1e-6


@pytest.mark.slow
def test_a_greedy_draft_with_its_soft_law_in_the_ratio_is_caught() -> None:
    assert p_value(verify, DRAFTS["close"], greedy=True) < 1e-6
