"""Steps in a series of numbers: places where its level changed, by PELT (Killick et al. 2012).

Levels are fitted by least squares with a penalty for each step, 3 s^2 log n (the modified BIC of
Zhang and Siegmund 2007, to leading order), s the noise between neighbours. A level lasts two values
or more. Levels are fitted to medians of three values, which leave steps where they are, so that one
odd value is not a step. Steps smaller than `least` are dropped, however sure they are.

Legend: N value.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from draftmark.store.acceptance_tables import Floats

FEWEST = 4  # values; in fewer, noise cannot be distinguished from a step
_SHORTEST_LEVEL = 2  # values
_MAD = 0.6745  # the median absolute deviation of a normal distribution, in standard deviations


def find_steps(values: Sequence[float], least: float) -> list[int]:
    """Return the places where a new level starts; none in fewer than four values."""
    if len(values) < FEWEST:
        return []
    import ruptures

    signal_N = np.asarray(values, dtype=np.float64)
    medians = np.median(np.lib.stride_tricks.sliding_window_view(signal_N, 3), axis=-1)
    smooth_N = np.concatenate([medians[:1], medians, medians[-1:]])
    model = ruptures.Pelt(model="l2", min_size=_SHORTEST_LEVEL, jump=1).fit(smooth_N)
    penalty = 3 * _noise(signal_N, least) ** 2 * math.log(len(values))
    found = [int(place) for place in model.predict(pen=penalty)][:-1]
    return _large(signal_N, found, least)


def _noise(signal_N: Floats, least: float) -> float:
    """Return the spread between neighbours, which steps do not move, or a quarter of `least`.

    Values equal to the last digit have no noise, and any change in them would be a step.
    """
    moves_N = np.diff(signal_N)
    spread = float(np.median(np.abs(moves_N - np.median(moves_N)))) / _MAD / math.sqrt(2)
    return max(spread, least / 4)


def _large(signal_N: Floats, places: list[int], least: float) -> list[int]:
    """Return the steps of size `least` or more, dropping the smallest one by one."""
    while places:
        edges = [0, *places, len(signal_N)]
        levels = [signal_N[a:b].mean() for a, b in pairwise(edges)]
        sizes = [abs(b - a) for a, b in pairwise(levels)]
        if min(sizes) >= least:
            break
        places = [place for place, size in zip(places, sizes, strict=True) if size > min(sizes)]
    return places
