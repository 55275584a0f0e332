"""Methods that are significantly better than every other method of their task and pair."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from draftmark.analysis.significance import LEVEL, holm_adjusted, t_test
from draftmark.analysis.stored_counts import StoredCounts, paired_effect, shared_prompts
from draftmark.reports._shared.rows import group_by
from draftmark.results import Contender


def winners(found: Sequence[StoredCounts], rate: str) -> Iterator[Contender]:
    """Yield the contender of each task and pair that is significantly better than all others.

    Tests are paired on prompts and adjusted by Holm over all pairs of methods.
    """
    tested = (i for i in found if all(b.sum() for _, b in i.counts(rate, i.units)))
    groups = group_by(tested, lambda item: (item.contender.task, item.contender.pair))
    for group in groups.values():
        if best := _winner(group, rate):
            yield best


def _winner(group: Sequence[StoredCounts], rate: str) -> Contender | None:
    pairs = list(combinations(range(len(group)), 2))
    effects = []
    for a, b in pairs:
        prompts = shared_prompts(group[a], group[b])
        if len(prompts) < 2:
            return None
        effects.append(paired_effect(group[a], group[b], rate, prompts))
    adjusted = holm_adjusted([t_test(effect).p_value for effect in effects])
    won = [0] * len(group)
    for (a, b), effect, p in zip(pairs, effects, adjusted, strict=True):
        if p < LEVEL and effect.value:
            won[a if effect.value > 0 else b] += 1
    most = len(group) - 1
    return next((item.contender for item, n in zip(group, won, strict=True) if n == most > 0), None)
