"""Where simulated intervals cover the truth in fewer or more than 93 to 97 of 100 experiments.

The numbers are those of `docs/coverage.md`; a test holds them to that page.
"""

from collections.abc import Iterator, Sequence

from draftmark.reports._shared.content import UNEQUAL_WEIGHTS
from draftmark.results import Number

FEW_WEIGH = 0.5  # effective / all prompts: a few texts hold most tokens
FEW_PROMPTS = 8
_FEW_EFFECTIVE = 10.0
# Covered in so many of 100 experiments:
LONG_TEXTS = 77  # rates that rise with the length of texts that are mostly short
UNLIKE_LENGTHS = 92  # lognormal lengths of 16 prompts or more
TWO_SEEDS = 92  # seeds that differ much
NEAR_A_BOUND = 99.7  # rates near 0 or 1 on a few prompts


def weight_notes(numbers: Sequence[Number]) -> Iterator[str]:
    """Yield notes if prompts weigh unequally, if few of them weigh most, and if there are few."""
    effective = [(number.effective or number.n, number.n) for number in numbers]
    if any(weigh < UNEQUAL_WEIGHTS * n for weigh, n in effective):
        yield "Effective: the number of equally long texts that would say as much."
    if any(weigh < FEW_WEIGH * n for weigh, n in effective):
        yield "A few long texts hold much of the tokens, and the pooled rates are mostly theirs."
    if any(_misses_long_texts(*each) for each in effective):
        yield (
            "If long texts are accepted otherwise than short ones, such intervals cover the true "
            f"rate in only {LONG_TEXTS} of 100 simulated experiments."
        )
    elif any(weigh < UNEQUAL_WEIGHTS * n for weigh, n in effective):
        yield (
            "Intervals over texts of such unlike lengths cover the true rate in "
            f"{UNLIKE_LENGTHS} or more of 100 simulated experiments."
        )
    if any(1 < n <= FEW_PROMPTS for _, n in effective):
        yield (
            f"Intervals near 0 or 1 on {FEW_PROMPTS} prompts or fewer are too wide: they cover up "
            f"to {NEAR_A_BOUND:g} of 100."
        )


def _misses_long_texts(effective: float, n: int) -> bool:
    """True if lengths let the longest texts be missing, or are too few to tell."""
    few = effective < _FEW_EFFECTIVE and effective < UNEQUAL_WEIGHTS * n
    return n > 1 and (few or effective < FEW_WEIGH * n)


def seeds_note(seeds: int) -> str:
    """Return a note on the intervals of two seeds; empty for another number."""
    if seeds != 2:
        return ""
    return (
        "Two seeds: where trainings differ much, intervals cover the mean in only "
        f"{TWO_SEEDS} of 100 simulated experiments."
    )
