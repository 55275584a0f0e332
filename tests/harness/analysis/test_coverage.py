"""Do 95 % intervals cover the truth in 95 of 100 experiments? Simulated; prompts differ."""

import numpy as np
import pytest
from scipy import stats

from draftmark.analysis import statistics
from draftmark.store.acceptance_tables import Floats

EXPERIMENTS, PROMPTS, SPREAD = 1000, 100, 0.10
GAIN = 0.01


class World:
    """Prompts have an acceptance of their own; blocks of 3 drafted tokens are tossed within it."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def prompts(self) -> tuple[Floats, Floats]:
        """Return (acceptance, number of passes) of the prompts of one experiment."""
        mean, spread = 0.7, SPREAD
        common = mean * (1 - mean) / spread**2 - 1
        alphas = self.generator.beta(mean * common, (1 - mean) * common, size=PROMPTS)
        return alphas, self.generator.integers(40, 90, size=PROMPTS).astype(float)

    def counts(self, alphas: Floats, passes: Floats) -> tuple[Floats, Floats, Floats]:
        """Return (accepted, tested, tokens) of each prompt."""
        totals = np.zeros((3, PROMPTS))
        for index, (alpha, number) in enumerate(zip(alphas, passes, strict=True)):
            kept = self.generator.random((int(number), 3)) < min(alpha, 1.0)
            accepted = np.cumprod(kept, axis=1).sum(axis=1)
            totals[:, index] = accepted.sum(), np.minimum(accepted + 1, 3).sum(), accepted.sum()
        return totals[0], totals[1], totals[2] + passes


def truth(gain: float = 0.0) -> tuple[float, float]:
    """Return (accepted / tested, tokens / pass) over infinitely many prompts."""
    alphas, passes = (
        np.concatenate(part)
        for part in zip(*(World(seed).prompts() for seed in range(10_000)), strict=True)
    )
    alphas = np.minimum(alphas + gain, 1.0)
    accepted = (alphas + alphas**2 + alphas**3) * passes
    tested = (1 + alphas + alphas**2) * passes
    return float(accepted.sum() / tested.sum()), float(1 + accepted.sum() / passes.sum())


@pytest.mark.slow
def test_intervals_over_prompts_cover_and_those_over_tokens_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    world = World(12345)
    rate, tau = truth()
    gained = truth(GAIN)[1] - tau
    hits = dict.fromkeys(("rate", "tau", "difference", "tokens"), 0)
    for _ in range(EXPERIMENTS):
        alphas, passes = world.prompts()
        accepted, tested, tokens = world.counts(alphas, passes)
        better = world.counts(alphas + GAIN, passes)[2]
        found = {
            "rate": (rate, statistics.estimate_ratio(accepted, tested, "")),
            "tau": (tau, statistics.estimate_ratio(tokens, passes, "")),
            "difference": (
                gained,
                statistics.ratio_difference((better, passes), (tokens, passes), ""),
            ),
        }
        for name, (value, number) in found.items():
            assert number.low is not None
            assert number.high is not None
            hits[name] += number.low <= value <= number.high
        wilson = stats.binomtest(int(accepted.sum()), int(tested.sum())).proportion_ci(
            method="wilson"
        )
        hits["tokens"] += wilson.low <= rate <= wilson.high
    print({name: count / EXPERIMENTS for name, count in hits.items()})
    for name in ("rate", "tau", "difference"):
        assert 0.93 <= hits[name] / EXPERIMENTS <= 0.97, name
    assert hits["tokens"] / EXPERIMENTS < 0.6
