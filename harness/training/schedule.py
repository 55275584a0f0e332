"""Which rows a training takes when, at which learning rate: of the settings and the seed alone."""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch

from draftmark.config.model_sections import Optimisation

BUCKET = 8  # batches whose rows are sorted by length together


def total_steps(num_rows: int, settings: Optimisation) -> int:
    """Return the number of optimiser steps of as many passes as the settings say."""
    return max(1, round(settings.passes * math.ceil(num_rows / settings.rows_per_batch)))


def learning_rate(before: Fraction, after: Fraction, settings: Optimisation) -> float:
    """Return the learning rate of a step, by the share of the training done before and after it.

    Linear warm-up, then constant or a cosine to zero.
    """
    warmup, step = Fraction(str(settings.warmup_fraction)), after - before
    if before < warmup:
        return settings.learning_rate * float(after / (warmup + step))
    if settings.schedule == "constant":
        return settings.learning_rate
    done = float((before - warmup) / max(step, 1 - warmup))
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def validates(before: Fraction, after: Fraction, settings: Optimisation) -> bool:
    """Say whether a checkpoint competes after a step: at equal shares of the training, and last."""
    parts = settings.validations
    return math.floor(after * parts) > math.floor(before * parts)


def order_of_pass(lengths: Sequence[int], rows: int, *, seed: int, number: int) -> list[list[int]]:
    """Return the batches of one pass: shuffled, rows of like length together, shuffled again."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    ordered: list[int] = []
    for start in range(0, len(shuffled), rows * BUCKET):
        bucket = shuffled[start : start + rows * BUCKET]
        ordered += sorted(bucket, key=lengths.__getitem__)
    batches = [ordered[start : start + rows] for start in range(0, len(ordered), rows)]
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]
