"""Comparisons of contenders on the same prompts, as the recipe plans, and a ranking of all.

A seed fixes the order of training rows for all methods, so its effect is common to them. Two
methods with the same seeds are compared seed by seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, groupby

from draftmark.analysis import statistics
from draftmark.analysis.quantities import Quantity, quantity_key, require_same_prompts
from draftmark.analysis.significance import (
    LEVEL,
    PairedTest,
    group_letters,
    holm_adjusted,
    sign_flip_p,
    t_test,
)
from draftmark.analysis.statistics import Counts
from draftmark.config.recipe import Recipe
from draftmark.results import Cell, Comparison, Contender, Standing
from draftmark.types import Verification

Seeds = Mapping[int, Mapping[str, Quantity]]  # the quantities of each seed of a contender
Contenders = Mapping[Contender, Seeds]


def by_contender(cells: Mapping[Cell, Mapping[str, Quantity]]) -> dict[Contender, Seeds]:
    """Return the quantities of each contender's seeds, in the order of the cells."""
    found: dict[Contender, dict[int, Mapping[str, Quantity]]] = {}
    for cell, counted in cells.items():
        found.setdefault(cell.contender, {})[cell.seed] = counted
    return dict(found)


def compare_contenders(
    contenders: Contenders, recipe: Recipe, verification: Verification = "standard"
) -> tuple[Comparison, ...]:
    """Return the comparisons that the recipe plans, with p values adjusted for their number.

    A contender is compared with the methods in its `against`, by default with the first method.
    """
    first = recipe.methods[0].title
    found = [
        _comparison(contender, against, name, seeds, baseline)
        for contender, seeds in contenders.items()
        for against in recipe.method(contender.method).against
        or [first] * (contender.method != first)
        if (baseline := contenders.get(replace(contender, method=against)))
        for name in [
            *_keys(recipe, verification, "acceptance_rate", "block_efficiency"),
            "quality_draft",
        ]
        if _has(name, seeds) and _has(name, baseline)
    ]
    adjusted = holm_adjusted([comparison.p_value for comparison in found])
    return tuple(
        replace(comparison, adjusted_p=p) for comparison, p in zip(found, adjusted, strict=True)
    )


def rank_contenders(
    contenders: Contenders, recipe: Recipe, verification: Verification = "standard"
) -> tuple[Standing, ...]:
    """Return the group letters of contenders by block efficiency, for each task and pair."""
    standings: list[Standing] = []
    for _, group in groupby(contenders, key=lambda item: (item.task, item.pair)):
        members = list(group)
        for name in _keys(recipe, verification, "block_efficiency"):
            known = [item for item in members if _has(name, contenders[item])]
            if len(known) > 1:
                standings += rank_by(name, known, contenders)
    return tuple(standings)


def _keys(recipe: Recipe, verification: Verification, *names: str) -> list[str]:
    """Return the keys of rates; at temperature 0 both rules of verification have the same."""
    gamma = recipe.evaluation.num_speculative_tokens
    return [
        quantity_key(name, t, gamma, verification=verification if t else "standard")
        for t in recipe.evaluation.temperatures
        for name in names
    ]


def rank_by(name: str, known: Sequence[Contender], contenders: Contenders) -> list[Standing]:
    """Return the contenders in order of a quantity, with letters and distances from the first.

    Letters and intervals are of the same tests, at a level divided by the number of all pairs.
    """
    ranked = sorted(known, key=lambda it: -statistics.mean_ratio(_counts(name, contenders[it])))
    pairs = list(combinations(range(len(ranked)), 2))
    tests = {
        (a, b): paired_test(name, contenders[ranked[a]], contenders[ranked[b]]) for a, b in pairs
    }
    level = LEVEL / len(pairs)
    letters = group_letters(len(ranked), lambda a, b: tests[a, b].p_value < level)
    definition = f"{name} of {ranked[0].method} minus that of this method, paired on prompts"
    behind = [tests[0, item].number(definition, level) for item in range(1, len(ranked))]
    return [
        Standing(item, name, letter, distance)
        for item, letter, distance in zip(ranked, letters, [None, *behind], strict=True)
    ]


def _has(name: str, seeds: Seeds) -> bool:
    """True if every seed has the quantity on two prompts or more: one prompt has no spread."""
    return bool(seeds) and all(
        name in seed and len(seed[name].prompts) > 1 for seed in seeds.values()
    )


def _counts(name: str, seeds: Seeds) -> list[Counts]:
    return [seed[name].counts for seed in seeds.values()]


def paired_test(name: str, seeds: Seeds, baseline: Seeds) -> PairedTest:
    """Return the test of two contenders, paired on seeds if both have the same seeds."""
    sides, paired = (_counts(name, seeds), _counts(name, baseline)), list(seeds) == list(baseline)
    bounds = next(iter(seeds.values()))[name].bounds
    return t_test(statistics.estimate_effect(*sides, paired_seeds=paired, bounds=bounds))


def _comparison(
    contender: Contender, against: str, name: str, seeds: Seeds, baseline: Seeds
) -> Comparison:
    quantities = [seed[name] for seed in (*seeds.values(), *baseline.values())]
    require_same_prompts(*quantities)
    and_seeds = " and seeds" if len(seeds) > 1 and list(seeds) == list(baseline) else ""
    definition = f"{name} minus that of {against}, paired on prompts{and_seeds}"
    test = paired_test(name, seeds, baseline)
    p, difference = test.p_value, test.found.value
    needed = test.prompts_needed(difference) if difference else None
    if all(item.is_share for item in quantities):
        flags = [item.counts[0] for item in quantities]
        exact = sign_flip_p(flags[: len(seeds)], flags[len(seeds) :])
        p = exact if len(quantities) == 2 else max(exact, p)  # the t test has the seeds' spread
    number = PairedTest(p, test.found).number(definition)
    return Comparison(contender, against, name, number, p, p, test.detectable, needed)
