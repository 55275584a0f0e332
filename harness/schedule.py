"""Which rows a training takes when, at which learning rate: of the settings and the seed alone."""

import math
from collections.abc import Sequence

import torch

from harness.model_sections import Optimisation

BUCKET = 8  # batches whose rows are sorted by length together


def total_steps(num_rows: int, settings: Optimisation) -> int:
    """Return the number of optimiser steps of a training."""
    return max(1, round(settings.passes * math.ceil(num_rows / settings.rows_per_batch)))


def learning_rate(step: int, num_steps: int, settings: Optimisation) -> float:
    """Return the learning rate of a step: linear warm-up, then constant or a cosine to zero."""
    warmup = settings.warmup_fraction * num_steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (step - warmup) / max(1.0, num_steps - warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


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
