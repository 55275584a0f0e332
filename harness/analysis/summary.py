"""Quantities and decodes -> published numbers: each a value with interval, n and definition.

Pure functions of what the store holds, so a definition can be corrected without a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness import statistics
from harness.analysis.quantities import Quantity
from harness.blocks import block_counts
from harness.config import Recipe
from harness.published import Number
from harness.storage.cell_records import Records
from harness.types import AcceptanceTable, Decode, TimedDecode

DEFINITIONS = {
    "speedup": "time of the target alone / time with the draft, per token, prefill included; "
    "geometric mean over blocks, n = blocks",
    "counted_passes": "target passes that the engine made",
    "predicted_passes": "target passes that one scoring pass predicts for the same prompts",
    "identical": "share of prompts whose tokens are those of the target alone",
}


def summarise(found: Mapping[str, Quantity], records: Records, recipe: Recipe) -> dict[str, Number]:
    """Return every number of a cell."""
    return {name: _number(item) for name, item in found.items()} | _of_decodes(records, recipe)


def pool(
    seeds: Sequence[Mapping[str, Quantity]], speedups: Sequence[Number] = ()
) -> dict[str, Number]:
    """Return the numbers of two seeds or more together, of those that every seed has.

    The mean over seeds, with an interval over prompts and seeds; of the speedups over seeds alone.
    Raises ValueError if seeds were measured on different prompts.
    """
    pooled = {}
    if len(speedups) > 1:
        value, low, high = statistics.log_ratio_interval([number.value for number in speedups])
        definition = "geometric mean over seeds of each one's speedup, n = seeds"
        pooled["speedup"] = Number(value, low, high, len(speedups), definition)
    return pooled | {
        name: _pooled([seed[name] for seed in seeds])
        for name in seeds[0]
        if all(name in seed for seed in seeds) and same_prompts(*(seed[name] for seed in seeds))
    }


def _pooled(seeds: Sequence[Quantity]) -> Number:
    first = seeds[0]
    if all(np.array_equal(seed.counts, first.counts) for seed in seeds):
        return _number(first)  # what does not depend on the seed, or never happened with any
    found = statistics.over_seeds([seed.counts for seed in seeds], first.definition)
    if found.low is None or found.high is None or not all(seed.is_share for seed in seeds):
        return found
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def same_prompts(*items: Quantity) -> bool:
    """Return True; raises ValueError if quantities are of different prompts."""
    if len({item.prompts for item in items}) > 1:
        raise ValueError("not paired: measured on different prompts")
    return True


def _number(item: Quantity) -> Number:
    top_B, bottom_B = item.counts
    if item.is_share:
        return statistics.share(top_B, item.definition)
    return statistics.ratio(top_B, bottom_B, item.definition)


def _of_decodes(records: Records, recipe: Recipe) -> dict[str, Number]:
    """Return speedup, and at temperature 0 the checks of the engine."""
    if not (records.decodes and recipe.speed):
        return {}
    numbers = {"speedup": _speedup(records.decodes)}
    if recipe.speed.temperature == 0:
        numbers["identical"] = _identical(records.decodes)
        tables = records.tables.get(0.0, ())
        if tables:
            numbers |= _passes(records.decodes, tables, recipe.speed.num_speculative_tokens)
    return numbers


def _speedup(timed: Sequence[TimedDecode]) -> Number:
    blocks = sorted({item.block for item in timed})
    ratios = [_s_per_token(timed, b, "target") / _s_per_token(timed, b, "draft") for b in blocks]
    value, low, high = statistics.log_ratio_interval(ratios)
    return Number(value, low, high, len(blocks), DEFINITIONS["speedup"])


def _s_per_token(timed: Sequence[TimedDecode], block: int, arm: str) -> float:
    """Return total time / total tokens of an arm in a block: one function counts for both arms."""
    mine = [item.decode for item in timed if item.block == block and item.arm == arm]
    seconds = sum(decode.prefill_s + decode.decode_s for decode in mine)
    return seconds / sum(len(decode.token_ids) for decode in mine)


def _first_run(timed: Sequence[TimedDecode], arm: str) -> dict[str, Decode]:
    return {
        item.decode.example_id: item.decode
        for item in timed
        if item.arm == arm and item.repeat == 0
    }


def _identical(timed: Sequence[TimedDecode]) -> Number:
    alone, together = _first_run(timed, "target"), _first_run(timed, "draft")
    same = [float(alone[name].token_ids == together[name].token_ids) for name in alone]
    return statistics.share(same, DEFINITIONS["identical"])


def _passes(
    timed: Sequence[TimedDecode], tables: Sequence[AcceptanceTable], gamma: int
) -> dict[str, Number]:
    """Return the passes that the engine counted and those predicted for the same prompts."""
    decoded = _first_run(timed, "draft")
    chosen = [table for table in tables if table.example_id in decoded]
    counted = [float(decoded[table.example_id].target_passes) for table in chosen]
    predicted = block_counts(chosen, gamma).passes_B
    return {
        "counted_passes": statistics.mean(counted, DEFINITIONS["counted_passes"]),
        "predicted_passes": statistics.mean(predicted, DEFINITIONS["predicted_passes"]),
    }
