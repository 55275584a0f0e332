"""The rule of the gate: its verdicts, its power, and its errors over simulated pairs of runs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from draftmark.analysis.gate.rule import (
    ERROR,
    POWER,
    Rule,
    look_sizes,
    overall_verdict,
    prompts_needed,
    unrelated_effect,
)
from draftmark.analysis.statistics import Counts, Effect, estimate_effect
from draftmark.store.acceptance_tables import Floats

MARGIN, PAIRS = 0.01, 1000


def pair_of_runs(
    generator: np.random.Generator, prompts: int, drop: float
) -> tuple[Counts, Counts]:
    """Return (now, before) of runs whose true rates differ by `drop`.

    Long answers and short ones; prompts differ much, and what a draft makes of each of them some;
    which tokens are accepted is chance.
    """
    tested_B = generator.lognormal(4.5, 0.5, prompts).round() + 5
    rate_B = 0.3 + 0.5 * generator.beta(3, 2, prompts)
    sides = []
    for lower in (drop, 0.0):
        own_B = rate_B - lower + generator.uniform(-0.06, 0.06, prompts)
        sides.append((generator.binomial(tested_B.astype(int), own_B).astype(float), tested_B))
    return sides[0], sides[1]


def verdict(rule: Rule, now: Counts, before: Counts) -> str:
    return rule.verdict(*rule.interval(estimate_effect([now], [before])))


@pytest.fixture(scope="module")
def recommended() -> int:
    """The prompts that power recommends, of a pilot of 64 prompts."""
    pilot = estimate_effect(*([side] for side in pair_of_runs(np.random.default_rng(0), 64, 0.0)))
    needed = prompts_needed(pilot, Rule(MARGIN))
    assert needed is not None
    return needed


@pytest.mark.parametrize(
    ("drop", "wanted", "least", "most"),
    [
        (2 * MARGIN, "FAIL", 0.95, 1.0),
        (2 * MARGIN, "PASS", 0.0, 0.0),
        (0.0, "PASS", 0.95, 1.0),
        (0.0, "FAIL", 0.0, 0.01),
        (MARGIN, "FAIL", 0.0, 0.02),  # at the margin itself it errs with 1 %, either way
        (MARGIN, "PASS", 0.0, 0.02),
        (-2 * MARGIN, "PASS", 1.0, 1.0),
    ],
)
def test_of_1000_pairs_of_runs_with_the_prompts_recommended(
    recommended: int, drop: float, wanted: str, least: float, most: float
) -> None:
    generator = np.random.default_rng(1)
    found = [
        verdict(Rule(MARGIN), *pair_of_runs(generator, recommended, drop)) for _ in range(PAIRS)
    ]

    assert least <= found.count(wanted) / PAIRS <= most


@pytest.mark.parametrize("prompts", [8, 32, 128])
def test_without_a_drop_it_fails_1_in_100_at_most_however_few_the_prompts(prompts: int) -> None:
    generator = np.random.default_rng(2)
    tiny = Rule(1e-6)  # a margin that no number of prompts is enough for
    found = [verdict(tiny, *pair_of_runs(generator, prompts, 0.0)) for _ in range(PAIRS)]

    assert found.count("FAIL") / PAIRS <= 0.02  # 0.01, and what 1,000 draws add


def test_looking_again_and_again_does_not_make_it_err_more_often() -> None:
    generator = np.random.default_rng(3)
    sizes = look_sizes(32, 512)
    rule = Rule(MARGIN, looks=len(sizes))
    wrong = 0
    for _ in range(PAIRS):
        now, before = pair_of_runs(generator, sizes[-1], MARGIN)
        found = [verdict(rule, *(_first(size, side) for side in (now, before))) for size in sizes]
        wrong += any(said != "INCONCLUSIVE" for said in found)  # it is right that it is neither

    assert wrong / PAIRS <= 2 * ERROR + 0.01


def _first(size: int, side: Counts) -> Counts:
    return side[0][:size], side[1][:size]


def test_a_margin_is_reached_by_the_interval_and_not_by_the_value() -> None:
    rule = Rule(0.01)
    assert rule.verdict(-0.03, -0.011) == "FAIL"
    assert rule.verdict(-0.03, -0.009) == "INCONCLUSIVE"
    assert rule.verdict(-0.009, 0.02) == "PASS"
    assert rule.verdict(-0.02, 0.3) == "INCONCLUSIVE"
    assert rule.verdict(-0.01, 0.3) == rule.verdict(-0.3, -0.01) == "INCONCLUSIVE"


@given(
    st.floats(0, 1), st.floats(0, 1), st.integers(2, 1000), st.floats(1e-6, 1), st.integers(1, 50)
)
def test_an_improvement_never_fails(
    value: float, error: float, n: int, margin: float, comparisons: int
) -> None:
    rule = Rule(margin, comparisons)
    assert rule.verdict(*rule.interval(Effect(value, error, n - 1, n))) != "FAIL"


def test_the_error_is_shared_by_comparisons_and_looks() -> None:
    assert Rule(0.01).level == ERROR
    assert Rule(0.01, comparisons=5, looks=4).level == pytest.approx(ERROR / 20)
    # With a normal law, 1 % on one side is 2.326 standard errors.
    low, high = Rule(0.01).interval(Effect(0.0, 1.0, 1e9, 1000))
    assert (low, high) == pytest.approx((-2.3263, 2.3263), abs=1e-3)


def test_one_failure_is_enough_and_all_have_to_pass() -> None:
    assert overall_verdict(["PASS", "FAIL", "INCONCLUSIVE"]) == "FAIL"
    assert overall_verdict(["PASS", "INCONCLUSIVE"]) == "INCONCLUSIVE"
    assert overall_verdict(["PASS", "PASS"]) == "PASS"
    assert overall_verdict([]) == "INCONCLUSIVE"


def test_looks_double_up_to_the_last() -> None:
    assert look_sizes(64, 64) == [64]
    assert look_sizes(64, 300) == [64, 128, 256, 300]
    assert look_sizes(64, 10) == [64]


def test_the_prompts_needed_in_closed_form() -> None:
    # A spread known from a million prompts: n = (sd (2.326 + 1.645) / margin)^2, both quantiles
    # of the normal law; a t law and the pilot's upper limit add little to that.
    pilot = Effect(0.0, 0.1 / 1000, 1e6 - 1, 10**6)
    needed = prompts_needed(pilot, Rule(0.01))
    assert needed == pytest.approx((0.1 * 3.971 / 0.01) ** 2, rel=0.01)
    assert prompts_needed(pilot, Rule(0.001)) == pytest.approx(100 * (needed or 0), rel=0.01)


def test_a_small_pilot_is_taken_at_the_upper_limit_of_its_spread() -> None:
    """The upper 90 % limit of a variance with 15 degrees of freedom, by chi-squared."""
    rule, worst = Rule(0.01), 0.1 * (15 / stats.chi2.ppf(0.1, 15)) ** 0.5

    def reaches(n: int) -> bool:
        reach = stats.t.ppf(1 - rule.level, n - 1) + stats.t.ppf(0.95, n - 1)
        return bool(reach * worst / n**0.5 <= 0.01)

    needed = prompts_needed(Effect(0.0, 0.1 / 16**0.5, 15, 16), rule)
    assert needed
    assert reaches(needed)
    assert not reaches(needed - 1)


def test_a_small_pilot_asks_for_more_prompts() -> None:
    small, large = (
        prompts_needed(Effect(0.0, 0.1 / n**0.5, n - 1, n), Rule(0.01)) for n in (16, 4096)
    )
    assert (small or 0) > 1.3 * (large or 0)


def test_no_number_of_prompts_tells_seeds_apart() -> None:
    pilot = Effect(0.0, 0.02, 4, 64, seeds_error=0.019)
    assert prompts_needed(pilot, Rule(0.01)) is None


def test_degrees_of_freedom_that_more_prompts_take_are_counted() -> None:
    # Seeds whose spread, known by two degrees of freedom, alone reaches beyond the margin.
    parts = 0.02**2, 0.0024**2
    degrees = sum(parts) / (parts[0] / 63 + parts[1] / 2)
    pilot = Effect(0.0, sum(parts) ** 0.5, degrees, 64, seeds_error=0.0024)
    assert pilot.on_prompts(64) == pytest.approx((pilot.standard_error, degrees))
    assert pilot.on_prompts(10**12) == pytest.approx((0.0024, 2.0), rel=1e-3)
    assert prompts_needed(pilot, Rule(0.01)) is None
    needed = prompts_needed(pilot, Rule(0.05)) or 0
    error, degrees = pilot.on_prompts(needed)
    reach = stats.t.ppf(1 - Rule(0.05).level, degrees) + stats.t.ppf(POWER, degrees)
    assert reach * error < 0.05


def test_runs_that_do_not_spread_need_the_prompts_whose_signs_decide() -> None:
    # One sign for all of n prompts has a probability of 2^-n: 1 / 128 at 7, 1 / 2048 at 11.
    assert prompts_needed(Effect(0.0, 0.0, 63, 64), Rule(0.01)) == 7
    assert prompts_needed(Effect(0.0, 0.0, 63, 64), Rule(0.01, comparisons=10, looks=2)) == 11
    assert Rule(0.01).interval(Effect(0.5, 0.0, 5, 6, bounds=(-1.0, 1.0))) == (-1.0, 1.0)
    assert Rule(0.01).interval(Effect(0.5, 1e-3, 5, 6)) == (-math.inf, math.inf)


def test_a_pilot_of_unequal_prompts_knows_its_spread_from_the_effective_ones() -> None:
    equal, unequal = (Effect(0.0, 0.02, n - 1, 64, effective=n) for n in (64.0, 16.0))
    assert (prompts_needed(unequal, Rule(0.01)) or 0) > 1.3 * (
        prompts_needed(equal, Rule(0.01)) or 0
    )
    halved = Effect(0.0, 0.02, 31, 64, effective=32.0)  # of two prompts one is effective: no spread
    assert (prompts_needed(halved, Rule(0.01)) or 0) > (prompts_needed(equal, Rule(0.01)) or 0)
    assert equal.on_prompts(128) == pytest.approx((0.02 / 2**0.5, 127))
    assert unequal.on_prompts(128) == pytest.approx((0.02 / 2**0.5, 31))


def test_unrelated_runs_spread_as_two_of_one() -> None:
    rates_B: Floats = np.random.default_rng(4).uniform(size=500)
    other_B: Floats = np.random.default_rng(5).uniform(size=500)
    ones_B = np.ones(500)
    measured = estimate_effect([(rates_B, ones_B)], [(other_B, ones_B)]).standard_error
    assert unrelated_effect((rates_B, ones_B)).standard_error == pytest.approx(measured, rel=0.05)


def test_seeds_paired_with_themselves_do_not_differ() -> None:
    generator = np.random.default_rng(6)
    seeds = [(generator.uniform(size=50), np.ones(50)) for _ in range(3)]
    assert estimate_effect(seeds, seeds, paired_seeds=True).standard_error == 0
    assert estimate_effect(seeds, seeds).standard_error > 0
    shifted = [(top + shift, bottom) for shift, (top, bottom) in zip((0, 1, 2), seeds, strict=True)]
    # What seeds differ by is 0, 1 and 2: the mean is 1, its variance 1 / 3.
    found = estimate_effect(shifted, seeds, paired_seeds=True)
    assert found.value == pytest.approx(1)
    assert found.standard_error == pytest.approx(3**-0.5)
    assert found.degrees == pytest.approx(2)
    assert found.seeds_error == pytest.approx(3**-0.5)
