"""A training's validation history: which of its checkpoints was kept.

A history has a point for each validation: the step, the criterion's value ("validation_..."), and
the loss of the step before, if there was one.
"""

from collections.abc import Mapping, Sequence

History = Sequence[Mapping[str, float]]


def validation_criterion(history: History) -> str:
    """Return the name of the value that chose the checkpoint; raises ValueError without one."""
    names = [name for point in history for name in point if name.startswith("validation_")]
    if not names:
        raise ValueError("a history without a validation")
    return names[0]


def kept_point(history: History) -> Mapping[str, float]:
    """Return the point whose weights the training returned: the best, of equal ones the first."""
    name = validation_criterion(history)
    best = min if name.endswith("_loss") else max
    return best(history, key=lambda point: point[name])


def learned_nothing(history: History) -> bool:
    """True if no weights after the first step were better on validation than those before."""
    return len(history) > 1 and kept_point(history)["step"] == 0
