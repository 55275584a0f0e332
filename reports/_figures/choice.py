"""The choice of methods for curves: a few that differ, spread over the ranking."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from draftmark.reports._shared.rows import group_by
from draftmark.results import Standing

MOST_CURVES = 6  # in one picture; the other methods are grey


def order_by_effect(panels: Iterable[Mapping[str, float]]) -> list[str]:
    """Return the methods, highest first, by their mean distance from the mean of each panel.

    A panel has the value of each method. A method that is missing from panels of low values is not
    ranked higher for that.
    """
    distances: dict[str, list[float]] = {}
    for panel in panels:
        for method, value in panel.items():
            distances.setdefault(method, []).append(value - fmean(panel.values()))
    return sorted(distances, key=lambda method: -fmean(distances[method]))


def choose_curves(
    ranked: Sequence[str], standings: Sequence[Standing], fastest: str = ""
) -> list[str]:
    """Return at most MOST_CURVES methods, best first; all methods if they are no more.

    Of more methods, each that cannot be told apart from a better one is left out. If too many stay,
    those that are chosen are spread evenly over the ranking, from the best to the last. `fastest`
    is always chosen, if need be in place of the next behind it: it need not be the best.
    """
    found = _different(ranked, standings, MOST_CURVES)
    if fastest in found or fastest not in ranked:
        return found
    if len(found) == MOST_CURVES:
        behind = [name for name in found[1:-1] if ranked.index(name) > ranked.index(fastest)]
        found.remove((behind or found[1:-1][::-1])[0])
    return sorted([*found, fastest], key=ranked.index)


def _different(ranked: Sequence[str], standings: Sequence[Standing], most: int) -> list[str]:
    if len(ranked) <= most:
        return list(ranked)
    differ = _differ(standings)
    found: list[str] = []
    for method in ranked:
        if all(differ(method, better) for better in found):
            found.append(method)
    if len(found) <= most:
        return found
    return [found[round(place * (len(found) - 1) / (most - 1))] for place in range(most)]


def _differ(standings: Sequence[Standing]) -> Callable[[str, str], bool]:
    """Return whether two methods share no letter on some task, at some temperature.

    Without standings, as in the results of old runs, all methods count as different.
    """
    groups = group_by(standings, lambda s: (s.contender.task, s.contender.pair, s.quantity))
    letters = [
        {item.contender.method: set(item.letters) for item in group} for group in groups.values()
    ]

    def differ(a: str, b: str) -> bool:
        both = [each for each in letters if {a, b} <= each.keys()]
        return not letters or any(not each[a] & each[b] for each in both)

    return differ
