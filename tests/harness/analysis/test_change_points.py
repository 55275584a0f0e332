"""Steps in a series: found where they are, not where there is only noise."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.analysis.change_points import FEWEST, find_steps

LEAST = 0.01


def noisy(levels: list[tuple[int, float]], noise: float, seed: int) -> list[float]:
    means = np.concatenate([np.full(number, level) for number, level in levels])
    return list(means + noise * np.random.default_rng(seed).normal(size=len(means)))


def test_a_step_without_noise_is_found_where_it_is() -> None:
    assert find_steps([0.8] * 6 + [0.7] * 5, LEAST) == [6]
    assert find_steps([0.8] * 6 + [0.7] * 5 + [0.75] * 4, LEAST) == [6, 11]


def test_noise_alone_is_hardly_ever_a_step() -> None:
    found = sum(bool(find_steps(noisy([(40, 0.8)], 0.02, seed), LEAST)) for seed in range(300))
    assert found / 300 <= 0.1


def test_a_step_of_four_standard_deviations_is_found_to_a_run_or_two() -> None:
    hits = 0
    for seed in range(200):
        found = find_steps(noisy([(20, 0.8), (20, 0.72)], 0.02, seed), LEAST)
        hits += any(abs(place - 20) <= 1 for place in found)
    assert hits / 200 >= 0.95


def test_one_odd_run_is_no_step() -> None:
    for before, after in ((6, 6), (12, 0), (0, 12)):
        assert find_steps([0.8] * before + [0.5] + [0.8] * after, LEAST) == []
    assert find_steps([0.8] * 10 + [0.5] * 2, LEAST) == [10]


def test_a_step_smaller_than_asked_for_is_none() -> None:
    series = [0.8] * 10 + [0.795] * 10
    assert find_steps(series, LEAST) == []
    assert find_steps(series, 0.004) == [10]


@pytest.mark.parametrize("number", range(FEWEST))
def test_few_values_have_no_steps(number: int) -> None:
    assert find_steps([0.8, 0.1, 0.8][:number], LEAST) == []


@given(st.lists(st.floats(0, 1), min_size=0, max_size=40), st.floats(0.001, 0.5))
def test_every_step_is_as_large_as_asked_and_lasts(values: list[float], least: float) -> None:
    edges = [0, *find_steps(values, least), len(values)]
    levels = [np.mean(values[a:b]) for a, b in pairwise(edges) if b > a]
    assert edges == sorted(set(edges)) or not values
    assert all(abs(b - a) >= least - 1e-12 for a, b in pairwise(levels))
    if len(edges) > 2:
        assert min(b - a for a, b in pairwise(edges)) >= 2
