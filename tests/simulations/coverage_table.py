"""How often intervals cover the truth and tests err, in simulated experiments: `docs/coverage.md`.

`make coverage` writes that page, in 5 minutes of one core. Seeds are fixed.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import simulated_worlds as worlds
from scipy import stats

from draftmark.analysis.gate.rule import Rule
from draftmark.analysis.significance import sign_flip_p, t_test
from draftmark.analysis.statistics import (
    Counts,
    Effect,
    effective_number,
    estimate_effect,
    estimate_ratio,
    estimate_share,
    median_ratio,
    over_seeds,
)
from draftmark.results import Number

PROMPTS = (4, 8, 16, 24, 48, 100)
BLOCKS = (3, 5, 6, 9, 20)
MARGIN, GAIN = 0.01, 0.02
Random = np.random.Generator
Row = list[str]


def share_of(experiments: int, seed: int, happens: Callable[[Random], bool]) -> float:
    """Return the share of simulated experiments in which something happens."""
    random = np.random.default_rng(seed)
    return sum(happens(random) for _ in range(experiments)) / experiments


def covers(number: Number, truth: float) -> bool:
    """True if the number's interval contains the truth; a number without one does not."""
    return number.low is not None and number.high is not None and number.low <= truth <= number.high


def rate_coverage(lengths: str, rate: str, prompts: int, experiments: int) -> float:
    """Return how often the interval of a rate covers the true rate."""
    acceptance = worlds.RATES[rate]
    truth = acceptance.truth(lengths)

    def covered(random: Random) -> bool:
        return covers(
            estimate_ratio(*worlds.counts(random, lengths, acceptance, prompts), ""), truth
        )

    return share_of(experiments, prompts, covered)


def effective_prompts(lengths: str, prompts: int) -> float:
    """Return the effective number of prompts, the mean of 500 experiments."""
    random = np.random.default_rng(prompts)
    sizes = (worlds.LENGTHS[lengths](random, prompts) for _ in range(500))
    return float(np.mean([effective_number((size_B, size_B)) for size_B in sizes]))


def difference_coverage(lengths: str, prompts: int, experiments: int) -> float:
    """Return how often the interval of a paired difference covers the true difference."""

    def covered(random: Random) -> bool:
        first, second = worlds.pair(random, lengths, prompts, GAIN)
        return covers(estimate_effect([first], [second]).number(""), GAIN)

    return share_of(experiments, prompts, covered)


def false_positives(lengths: str, prompts: int, experiments: int) -> float:
    """Return how often two equal drafts differ with p < 0.05."""

    def differs(random: Random) -> bool:
        first, second = worlds.pair(random, lengths, prompts)
        return t_test(estimate_effect([first], [second])).p_value < 0.05

    return share_of(experiments, prompts, differs)


def gate_errors(lengths: str, prompts: int, experiments: int, wrong: str) -> float:
    """Return how often the gate has the verdict `wrong` on a drop of just the margin."""
    rule = Rule(MARGIN)

    def errs(random: Random) -> bool:
        now, before = worlds.pair(random, lengths, prompts, -MARGIN)
        return rule.verdict(*rule.interval(estimate_effect([now], [before]))) == wrong

    return share_of(experiments, prompts, errs)


def share_coverage(prompts: int) -> tuple[float, float]:
    """Return the least and the mean coverage of a share, exactly, for true shares 0.01 to 0.99."""
    counts = np.arange(prompts + 1)
    numbers = [estimate_share([1.0] * k + [0.0] * (prompts - k), "") for k in counts]
    found = []
    for truth in np.linspace(0.01, 0.99, 99):
        inside = [covers(number, truth) for number in numbers]
        found.append(stats.binom.pmf(counts, prompts, truth)[inside].sum())
    return min(found), float(np.mean(found))


def speed_coverage(blocks: int, disturbed: float, experiments: int) -> float:
    """Return how often the interval of a speedup covers the median block's true ratio."""
    truth = worlds.median_ratio(disturbed)

    def covered(random: Random) -> bool:
        return covers(
            median_ratio(worlds.time_ratios(random, blocks, disturbed).tolist(), ""), truth
        )

    return share_of(experiments, blocks, covered)


def seeds_coverage(seeds: int, spread: float, experiments: int) -> float:
    """Return how often the interval of a mean over seeds and 60 prompts covers the true mean."""

    def covered(random: Random) -> bool:
        prompts_B = random.uniform(-0.25, 0.25, 60)
        counts: list[Counts] = [
            (0.6 + shift + prompts_B + random.uniform(-0.08, 0.08, 60), np.ones(60))
            for shift in random.normal(0, spread, seeds)
        ]
        return covers(over_seeds(counts, ""), 0.6)

    return share_of(experiments, seeds, covered)


def flags_false_positives(seeds: int, prompts: int, experiments: int) -> float:
    """Return how often two drafts that are right equally often differ with p < 0.05."""

    def differs(random: Random) -> bool:
        easy_B = random.beta(1, 1, prompts)
        flags = (random.random((2, seeds, prompts)) < easy_B).astype(float)
        return sign_flip_p(flags[0], flags[1]) < 0.05

    return share_of(experiments, prompts, differs)


def powers(effect: float, experiments: int) -> tuple[int, float, float]:
    """Return the prompts needed for an effect of so many SD, the power there, and one below."""
    test = t_test(Effect(effect, 0.1, 99, 100))  # 100 prompts with a standard deviation of 1
    needed = test.prompts_needed(effect)
    assert needed is not None

    def finds(prompts: int) -> Callable[[Random], bool]:
        def found_in(random: Random) -> bool:
            values = random.normal(effect, 1, prompts)
            ones_B = np.ones(prompts)
            effects = estimate_effect([(values, ones_B)], [(0 * values, ones_B)])
            return t_test(effects).p_value < 0.05

        return found_in

    there, below = (share_of(experiments, 1, finds(n)) for n in (needed, needed - 1))
    return needed, there, below


def table(header: Row, rows: Iterator[Row]) -> str:
    """Return a Markdown table whose first column is text."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def by_prompts(measure: Callable[[str, int], str]) -> str:
    """Return a table with a row for each distribution of lengths, a column for each size."""
    rows = ([name, *(measure(name, n) for n in PROMPTS)] for name in worlds.LENGTHS)
    return table(["lengths of texts", *(f"n = {n}" for n in PROMPTS)], rows)


def rates(experiments: int) -> str:
    """Return the table of the coverage of rates."""
    rows = (
        [lengths, rate, *(f"{rate_coverage(lengths, rate, n, experiments):.3f}" for n in PROMPTS)]
        for lengths in worlds.LENGTHS
        for rate in worlds.RATES
    )
    return table(["lengths", "rates", *(f"n = {n}" for n in PROMPTS)], rows)


def speeds(experiments: int) -> str:
    """Return the table of the coverage of speedups."""
    rows = (
        [name, *(f"{speed_coverage(n, disturbed, experiments):.3f}" for n in BLOCKS)]
        for name, disturbed in {"none": 0.0, "1 in 10": 0.1, "1 in 4": 0.25}.items()
    )
    return table(["blocks that take twice as long", *(f"{n} blocks" for n in BLOCKS)], rows)


def needed(experiments: int) -> str:
    """Return the table of prompts needed, and of their power."""
    rows = (
        [f"{effect:g}", f"{prompts}", f"{there:.3f}", f"{below:.3f}"]
        for effect in (3.0, 2.0, 1.5, 1.2, 1.0, 0.7, 0.5, 0.3)
        for prompts, there, below in [powers(effect, experiments)]
    )
    return table(["effect, in SD", "prompts needed", "power", "power with one fewer"], rows)


def page(experiments: int) -> str:
    """Return the page; the rare errors of gates are counted over five times the experiments."""
    many = 5 * experiments
    shares = (
        [f"{n}", *(f"{value:.3f}" for value in share_coverage(n))] for n in (8, 24, 64, 200, 500)
    )
    seeds = (
        [f"{spread:g}", *(f"{seeds_coverage(n, spread, experiments):.3f}" for n in (2, 3, 5))]
        for spread in (0.0, 0.02, 0.1)
    )
    flags = (
        [f"{n}", *(f"{flags_false_positives(k, n, experiments):.3f}" for k in (1, 3))]
        for n in (8, 24, 64)
    )
    return TEXT.format(
        experiments=f"{experiments:,}",
        many=f"{many:,}",
        effective=by_prompts(lambda name, n: f"{effective_prompts(name, n):.0f}"),
        rates=rates(experiments),
        shares=table(["n", "least coverage", "mean coverage"], shares),
        differences=by_prompts(lambda *where: f"{difference_coverage(*where, experiments):.3f}"),
        positives=by_prompts(lambda *where: f"{false_positives(*where, experiments):.3f}"),
        flags=table(["n", "1 seed", "3 seeds"], flags),
        fails=by_prompts(lambda *where: f"{gate_errors(*where, many, 'FAIL'):.4f}"),
        passes=by_prompts(lambda *where: f"{gate_errors(*where, many, 'PASS'):.4f}"),
        seeds=table(["SD of seeds", "2 seeds", "3 seeds", "5 seeds"], seeds),
        speeds=speeds(experiments),
        needed=needed(experiments),
    )


TEXT = """\
# Simulated coverage

How often do 95% intervals cover the truth, and how often do tests err? `make coverage` writes this
page. Each number is of {experiments} simulated experiments whose truth is known; those of the gate
are of {many}. The tokens of a text share its acceptance rate. n is the number of prompts.

Lengths of texts are equal, lognormal (standard deviation of the logarithm: 0.7), or Pareto from 20
to 2,000 tokens, where half of the texts have fewer than 40. A few long texts then hold most of the
tokens. The effective number of prompts shows what is left of n:

{effective}

## Rates

The rates of prompts have a beta distribution, given as mean ± standard deviation.

{rates}

Two worlds stay below 0.93, since what decides the rate is missing from most samples: the longest
texts, where they are few and unlike the others; and the few prompts that accept anything. Tables
print the effective number of prompts where it is below 0.9 n, and state the lowest coverage: of
Pareto lengths where the effective number is below 0.5 n or below 10, else of lognormal lengths.
Near 0 and 1, 8 prompts or fewer cover more than 0.97, which tables state as well.

A correction for skewness (Hall 1992) that moves the end on the long side outwards would cover 0.79
to 0.91 where rates rise with Pareto lengths. It is not used: 16 prompts of mean rate 0.02 then
cover 0.98 to 0.99, with intervals twice as wide. Moving both ends would cover as little as 0.86 of
other Pareto worlds.

Shares of yes and no (Clopper and Pearson), for true shares of 0.01 to 0.99, without simulation:

{shares}

## Differences on the same prompts

Two drafts have rates of 0.25 to 0.85, and one is better by 0.02. The interval covers 0.02:

{differences}

Two equal drafts differ with p < 0.05. With 5 prompts p is never below 1 / 16.

{positives}

Two drafts are right equally often, scored by yes or no, and differ with p < 0.05:

{flags}

## The gate

The rate falls by just the margin, so both verdicts are wrong; each may have a probability of 0.01.
Below 7 prompts there is no verdict. FAIL:

{fails}

PASS:

{passes}

## Seeds

Means over seeds on 60 prompts that differ by a standard deviation of 0.14:

{seeds}

Where seeds differ much, two of them hardly tell by how much; tables of two seeds say so.

## Speedups

The time ratio of a block is 1.3 with a noise of 3%; the number is the median over blocks.

{speeds}

The range of 5 blocks covers the median with 0.9375, whatever the noise. Fewer blocks have a t
interval, which takes logarithms for normal. From 9 blocks on, a single disturbed block moves
neither end.

## Prompts needed

Paired differences with normal noise. The effect is the difference, in standard deviations over
prompts. The number of prompts is what draftmark prints; power is how often the difference is found.

{needed}
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--experiments", type=int, default=2000)
    given = parser.parse_args()
    given.file.write_text(page(given.experiments), "utf-8")
