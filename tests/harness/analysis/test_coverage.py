"""Do 95 % intervals cover the truth in 95 of 100 experiments? Simulated; prompts differ.

`docs/coverage.md` has all the simulated worlds; the tests here take some of them. Seeds are fixed,
so the tests are not random; the bounds are those that chance leaves with probability 1e-4.
"""

import coverage_table
import numpy as np
import pytest
from places import ROOT
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
def test_intervals_over_prompts_cover_and_those_over_tokens_do_not() -> None:
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
                statistics.estimate_difference([(better, passes)], [(tokens, passes)], ""),
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


FEW = 600


def least(share: float, experiments: int = FEW) -> float:
    """Return the least share of experiments that a true share leaves to chance."""
    return float(stats.binom.ppf(1e-4, experiments, share)) / experiments


def most(share: float, experiments: int = FEW) -> float:
    """Return the highest share of experiments that a true share leaves to chance."""
    return 1 - least(1 - share, experiments)


@pytest.mark.parametrize(
    ("lengths", "rate", "prompts"),
    [
        ("equal", "0.6 ± 0.15", 8),
        ("equal", "0.03 ± 0.03", 8),
        ("equal", "0.97 ± 0.03", 8),
        ("lognormal", "0.03 ± 0.03", 24),
        ("Pareto", "0.6 ± 0.15", 8),
        ("Pareto", "0.6 ± 0.15", 24),
        ("Pareto", "0.97 ± 0.03", 24),
    ],
)
def test_rates_are_covered_where_texts_are_unlike_and_rates_near_a_bound(
    lengths: str, rate: str, prompts: int
) -> None:
    covered = coverage_table.rate_coverage(lengths, rate, prompts, FEW)
    assert least(0.94) <= covered <= most(0.98)


@pytest.mark.parametrize("prompts", [8, 24])
def test_equal_drafts_differ_in_5_of_100_experiments_where_texts_are_unlike(prompts: int) -> None:
    assert coverage_table.false_positives("Pareto", prompts, FEW) <= most(0.05)
    assert coverage_table.difference_coverage("Pareto", prompts, FEW) >= least(0.95)


@pytest.mark.parametrize("wrong", ["PASS", "FAIL"])
def test_a_gate_errs_in_1_of_100_runs_at_the_margin_where_texts_are_unlike(wrong: str) -> None:
    assert coverage_table.gate_errors("Pareto", 24, 2 * FEW, wrong) <= most(0.01, 2 * FEW)


@pytest.mark.parametrize(("blocks", "disturbed"), [(5, 0.0), (5, 0.1), (9, 0.1), (20, 0.25)])
def test_the_speedup_of_the_median_block_is_covered_where_some_take_twice_as_long(
    blocks: int, disturbed: float
) -> None:
    assert coverage_table.speed_coverage(blocks, disturbed, FEW) >= least(0.9375)


@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_drafts_scored_by_yes_or_no_differ_in_5_of_100_experiments(seeds: int) -> None:
    assert coverage_table.flags_false_positives(seeds, 24, FEW) <= most(0.05)


@pytest.mark.parametrize("effect", [3.0, 1.2])
def test_the_prompts_needed_have_the_power_that_is_said(effect: float) -> None:
    prompts, power, below = coverage_table.powers(effect, FEW)
    assert least(0.8) <= power
    assert prompts == 6 or below <= most(0.8)


def test_a_share_is_covered_whatever_the_true_share() -> None:
    for prompts in (2, 8, 64):
        assert coverage_table.share_coverage(prompts)[0] >= 0.95


def test_the_page_in_the_docs_is_what_the_command_writes() -> None:
    """All but the numbers: they are of more experiments."""

    def shape(text: str) -> list[list[str]]:
        lines = [line.split(" | ") for line in text.splitlines()]
        return [[cell for cell in line if cell[:2] not in ("0.", "1.")] for line in lines]

    page = coverage_table.page(2).replace(" 2 simulated", " 2,000 simulated")
    stored = (ROOT / "docs" / "coverage.md").read_text()
    assert shape(page.replace("are of 10.", "are of 10,000.")) == shape(stored)


@pytest.mark.parametrize(
    ("seeds", "spread", "least"),
    [(2, 0.0, 0.93), (2, 0.02, 0.93), (2, 0.1, 0.89), (3, 0.1, 0.92), (5, 0.1, 0.93)],
)
def test_means_over_few_seeds_cover(seeds: int, spread: float, least: float) -> None:
    """Satterthwaite's degrees covered 0.88 of two unlike seeds, 0.92 of three."""
    assert least < coverage_table.seeds_coverage(seeds, spread, 1000) < 0.98
