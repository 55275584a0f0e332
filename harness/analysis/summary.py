"""Quantities and speed measurements -> numbers with interval, n and definition.

These are pure functions of stored records, so a definition can be corrected without a model.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from draftmark.analysis import statistics
from draftmark.analysis.quantities import BLOCK_TERM, Quantity, require_same_prompts
from draftmark.analysis.speeds import speed_numbers
from draftmark.config.recipe import Recipe
from draftmark.results import Number
from draftmark.store.cell_records import Records

GAIN = "block_verification_gain"
DEFINITIONS = {
    GAIN: "block efficiency under block verification minus that under the standard rule, on the "
    "same prompts",
}


def summarise_cell(
    found: Mapping[str, Quantity], records: Records, recipe: Recipe
) -> dict[str, Number]:
    """Return every number of a cell."""
    numbers = {name: quantity_number(item) for name, item in found.items()}
    return numbers | dict(_gains([found])) | speed_numbers(records, recipe)


def pool_seeds(
    seeds: Sequence[Mapping[str, Quantity]], speedups: Sequence[Number] = ()
) -> dict[str, Number]:
    """Return the mean over two seeds or more of each number that every seed has.

    Intervals are over prompts and seeds; the speedup's interval is over seeds alone, or, of a draft
    that no seed changes, over blocks. Raises ValueError if seeds were measured on different
    prompts.
    """
    pooled = {}
    if len(speedups) > 1 and len(set(speedups)) == 1:
        pooled["speedup"] = speedups[0]  # measured once
    elif len(speedups) > 1:
        definition = "geometric mean of the speedups of all seeds, n = seeds"
        values = [number.value for number in speedups]
        pooled["speedup"] = statistics.geometric_mean(values, definition)
    shared = [name for name in seeds[0] if all(name in seed for seed in seeds)]
    pooled |= {name: _pooled([seed[name] for seed in seeds]) for name in shared}
    return pooled | dict(_gains(seeds))


def speed_of_seeds(numbers: Sequence[Number]) -> Number:
    """Return the geometric mean of each seed's number, n = seeds; of one seed its own."""
    if len(numbers) == 1:
        return numbers[0]
    return statistics.geometric_mean([it.value for it in numbers], numbers[0].definition)


def _gains(seeds: Sequence[Mapping[str, Quantity]]) -> Iterator[tuple[str, Number]]:
    """Yield what block verification adds to block efficiency, paired on prompts and seeds.

    Nothing for a draft whose blocks both rules accept alike.
    """
    for key in (key for key in seeds[0] if all(key in seed for seed in seeds)):
        standard = key.replace(BLOCK_TERM, "")
        if standard != key and key.startswith("block_efficiency["):
            with_it, without = ([seed[name] for seed in seeds] for name in (key, standard))
            if len(with_it[0].prompts) > 1 and not _alike(with_it, without):
                yield standard.replace("block_efficiency", GAIN), _gain(with_it, without)


def _alike(first: Sequence[Quantity], second: Sequence[Quantity]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(np.array_equal(one.counts, other.counts) for one, other in pairs)


def _gain(with_it: Sequence[Quantity], without: Sequence[Quantity]) -> Number:
    first, second = ([item.counts for item in side] for side in (with_it, without))
    return statistics.estimate_difference(
        first, second, DEFINITIONS[GAIN], paired_seeds=True, bounds=with_it[0].bounds
    )


def _pooled(seeds: Sequence[Quantity]) -> Number:
    require_same_prompts(*seeds)
    first = seeds[0]
    if all(np.array_equal(seed.counts, first.counts) for seed in seeds):
        return quantity_number(first)  # the quantity does not depend on the seed
    return statistics.over_seeds([seed.counts for seed in seeds], first.definition, first.bounds)


def quantity_number(item: Quantity) -> Number:
    """Return the pooled number of a quantity, with its interval over prompts."""
    top_B, bottom_B = item.counts
    if item.is_share:
        return statistics.estimate_share(top_B, item.definition)
    return statistics.estimate_ratio(top_B, bottom_B, item.definition, item.bounds)
