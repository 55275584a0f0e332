"""Steps in a series of numbers: where its level changed, by PELT (Killick et al. 2012).

The levels are those of least squares with a penalty for each step, 3 s^2 log n (the modified BIC of
Zhang and Siegmund 2007, to leading order), s the noise between neighbours. A level lasts two runs
or more, and they are of medians of three runs, which leave steps where they are: one odd run is no
step. A step smaller than `least` is none, however sure it is.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from draftmark.store.acceptance_tables import Floats

FEWEST = 4  # values; of fewer no noise can be told from a step
_RUNS = 2  # that a level lasts at least
_MAD = 0.6745  # the median of a normal law's absolute deviation, in standard deviations


def steps(values: Sequence[float], least: float) -> list[int]:
    """Return the places where a new level starts; none in fewer than four values."""
    if len(values) < FEWEST:
        return []
    import ruptures

    signal_N = np.asarray(values, dtype=np.float64)
    model = ruptures.Pelt(model="l2", min_size=_RUNS, jump=1).fit(_without_odd_ones(signal_N))
    penalty = 3 * _noise(signal_N, least) ** 2 * math.log(len(values))
    found = [int(place) for place in model.predict(pen=penalty)][:-1]
    return _large(signal_N, found, least)


def _without_odd_ones(signal_N: Floats) -> Floats:
    """Return each value's median with its neighbours; at the ends that of the outer three."""
    medians = np.median(np.lib.stride_tricks.sliding_window_view(signal_N, 3), axis=-1)
    return np.concatenate([medians[:1], medians, medians[-1:]])


def _noise(signal_N: Floats, least: float) -> float:
    """Return the spread between neighbours, that steps do not move; a quarter of `least` or more.

    What is the same to the last digit has no noise, and any change in it would be a step.
    """
    moves_N = np.diff(signal_N)
    spread = float(np.median(np.abs(moves_N - np.median(moves_N)))) / _MAD / math.sqrt(2)
    return max(spread, least / 4)


def _large(signal_N: Floats, places: list[int], least: float) -> list[int]:
    """Return the steps that are large enough, the smallest left out first."""
    while places:
        edges = [0, *places, len(signal_N)]
        levels = [signal_N[a:b].mean() for a, b in pairwise(edges)]
        sizes = [abs(b - a) for a, b in pairwise(levels)]
        if min(sizes) >= least:
            break
        places = [place for place, size in zip(places, sizes, strict=True) if size > min(sizes)]
    return places
