"""The validation history of a training, and the checkpoint that the training kept.

A history has a point for each validation: the step, the criterion ("validation_...") and, after
step 0, the loss of the preceding step.
"""

from collections.abc import Mapping, Sequence

History = Sequence[Mapping[str, float]]


def validation_criterion(history: History) -> str:
    """Return the name of the criterion; raises ValueError if the history has no validation."""
    names = [name for point in history for name in point if name.startswith("validation_")]
    if not names:
        raise ValueError("a history without a validation")
    return names[0]


def prefers_lower(criterion: str) -> bool:
    """True if lower values of a criterion are better."""
    return criterion.endswith("_loss")


def kept_point(history: History) -> Mapping[str, float]:
    """Return the point whose weights the training kept: the best, the first of equal ones."""
    name = validation_criterion(history)
    best = min if prefers_lower(name) else max
    return best(history, key=lambda point: point[name])


def learned_nothing(history: History) -> bool:
    """True if no later checkpoint was better on validation than the initial weights."""
    return len(history) > 1 and kept_point(history)["step"] == 0
