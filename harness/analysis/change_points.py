"""Steps in a series of numbers, the places where its level changes, by PELT (Killick et al. 2012).

Levels are fitted by least squares with a penalty of 3 s^2 log n for each step, where s is the noise
between neighbours (modified BIC of Zhang and Siegmund 2007, to leading order). A level lasts two
values or more. The fit is to running medians of three, which keep the places of steps and drop
single outliers. Steps smaller than `least` are dropped even if they are significant.

Legend: N value.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from draftmark.store.acceptance_tables import Floats

FEWEST = 4  # values; with fewer, noise looks like a step
_SHORTEST_LEVEL = 2  # values
_MAD = 0.6745  # the median absolute deviation of a normal distribution, in standard deviations


def find_steps(values: Sequence[float], least: float) -> list[int]:
    """Return the indices at which a new level starts; empty for fewer than four values."""
    if len(values) < FEWEST:
        return []
    import ruptures

    signal_N = np.asarray(values, dtype=np.float64)
    medians = np.median(np.lib.stride_tricks.sliding_window_view(signal_N, 3), axis=-1)
    smooth_N = np.concatenate([medians[:1], medians, medians[-1:]])
    # A linear kernel is least squares; this class is PELT in C, the class Pelt takes seconds.
    kernel = ruptures.KernelCPD(kernel="linear", min_size=_SHORTEST_LEVEL)
    model = kernel.fit(smooth_N.reshape(-1, 1))
    penalty = 3 * _noise(signal_N, least) ** 2 * math.log(len(values))
    found = [int(place) for place in model.predict(pen=penalty)][:-1]
    return _large(signal_N, found, least)


def _noise(signal_N: Floats, least: float) -> float:
    """Return the spread between neighbours, robust to steps, at least a quarter of `least`.

    Without that minimum any change in a series of equal values would be a step.
    """
    moves_N = np.diff(signal_N)
    spread = float(np.median(np.abs(moves_N - np.median(moves_N)))) / _MAD / math.sqrt(2)
    return max(spread, least / 4)


def _large(signal_N: Floats, places: list[int], least: float) -> list[int]:
    """Drop the smallest step until all steps have size `least` or more; return the rest."""
    while places:
        edges = [0, *places, len(signal_N)]
        levels = [signal_N[a:b].mean() for a, b in pairwise(edges)]
        sizes = [abs(b - a) for a, b in pairwise(levels)]
        if min(sizes) >= least:
            break
        places = [place for place, size in zip(places, sizes, strict=True) if size > min(sizes)]
    return places
