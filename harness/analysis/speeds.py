"""Speed measurements -> numbers, each keyed by its condition (engine, temperature, batch ...).

Time is the wall time of an engine's run over a block of prompts. Both arms' tokens are counted up
to and including the first end token. If greedy texts of the two arms differ in length, there is no
speedup, since the arms did unequal work.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, get_args

import numpy as np

from draftmark.analysis import statistics
from draftmark.analysis.cell_counts import CellCounts, TableCounts
from draftmark.analysis.expected_speed import expected_numbers
from draftmark.analysis.predicted_speedup import cost_model_numbers
from draftmark.analysis.speed_fairness import other_lengths
from draftmark.config.recipe import Recipe
from draftmark.config.sections import Speed, SpeedCondition
from draftmark.errors import UserError
from draftmark.results import Number
from draftmark.speculation.blocks import Convention, block_counts
from draftmark.speculation.engine_counts import described_convention
from draftmark.store.acceptance_tables import Floats
from draftmark.store.cell_records import Records
from draftmark.store.speed_records import Measurement, TimedPass, TimedRun
from draftmark.types import AcceptanceTable, Arm, Decode, TimedDecode

DEFINITIONS = {
    "speedup": "time of the target alone / time with the draft, per token, prefill included; "
    "median over blocks, n = blocks",
    "noise_floor": "the speedup measured for the target against itself; n = blocks",
    "counted_passes": "target passes that the engine made",
    "predicted_passes": "target passes that one scoring pass predicts for the same prompts",
    "identical": "share of prompts whose tokens are those of the target alone",
    "same_length": "share of prompts whose texts are of one length in all runs of both arms",
    "first_token_s": "seconds from a prompt to its first token, the prompts of a batch together",
    "token_s": "seconds for each token after the first",
    "peak_bytes": "peak memory of a run: on an accelerator the arm's weights and the run's own "
    "memory, else the resident memory of the process with both arms loaded",
    "energy_j": "joules for each token, of the accelerators",
    "counted_block_efficiency": "tokens emitted per pass of the target, as the engine counted",
    "counted_drafted": "drafted tokens per pass of the target, as the engine counted",
}
ARMS: tuple[Arm, ...] = ("target", "draft")
# Numbers of the recipe's headline condition that are also stored under their bare names.
HEADLINE = ("speedup", "identical", "counted_passes", "predicted_passes")


def speed_numbers(records: Records, recipe: Recipe) -> dict[str, Number]:
    """Return the numbers of every measurement that did not fail.

    What needs no engine is there for every condition.
    """
    counted = {t: TableCounts(tables) for t, tables in records.tables.items()}
    numbers = unmeasured_numbers(recipe.speed, records.parts, counted)
    for condition, measured in records.speeds.items():
        named = dict(_measurement_numbers(condition, measured, records))
        if condition == recipe.headline_speed:
            numbers |= {name: named[name] for name in HEADLINE if name in named}
        numbers |= {speed_key(name, condition.label): number for name, number in named.items()}
    for condition, measured in records.floors.items():
        number = statistics.median_ratio(block_ratios(measured), DEFINITIONS["noise_floor"])
        numbers[speed_key("noise_floor", condition.terms)] = number
    return numbers


def unmeasured_numbers(
    speed: Speed | None, passes: Sequence[TimedPass], counted: Mapping[float, CellCounts]
) -> dict[str, Number]:
    """Return the numbers that need no engine, under every condition of a `speed` section.

    `counted` are the counts of a cell by temperature.
    """
    asked = speed.conditions() if speed and passes else ()
    return {
        speed_key(name, condition.label): number
        for condition in asked
        for name, number in expected_numbers(
            condition, passes, counted.get(condition.temperature)
        ).items()
    }


def speed_key(name: str, terms: str) -> str:
    """Return the key of a number with its terms; a name like "token_s[arm=draft" keeps its arm."""
    return f"{name},{terms}]" if "[" in name else f"{name}[{terms}]"


def _measurement_numbers(
    condition: SpeedCondition, measured: Measurement, records: Records
) -> Iterator[tuple[str, Number]]:
    timed, greedy = measured.decodes, condition.temperature == 0
    decodes = {arm: [item.decode for item in timed if item.arm == arm] for arm in ARMS}
    if greedy:
        yield from _agreement(timed)
    speedup = None
    if not (greedy and other_lengths(timed)):
        speedup = statistics.median_ratio(block_ratios(measured), DEFINITIONS["speedup"])
        yield "speedup", speedup
    convention = described_convention(measured.engine_facts.get("draft", {}))
    tables = records.tables.get(condition.temperature, ())
    if greedy and tables and condition.length == "natural":
        yield from _passes(timed, tables, condition.num_speculative_tokens, convention)
    for arm, mine in decodes.items():
        for name, number in _arm_numbers(mine, [run for run in measured.runs if run.arm == arm]):
            yield f"{name}[arm={arm}", number
    counts = _counts(decodes["draft"], convention)
    if passes := counts["passes"]:
        for name, top in (("counted_block_efficiency", "tokens"), ("counted_drafted", "drafted")):
            yield name, _positive_ratio(counts[top], passes, name)
        yield from cost_model_numbers(condition, records.parts, counts, speedup)


def block_ratios(measured: Measurement) -> list[float]:
    """Return each block's ratio, in order: time per token of the target alone / with the draft."""
    tokens: dict[tuple[int, Arm], int] = {}
    for item in measured.decodes:
        place = item.block, item.arm
        tokens[place] = tokens.get(place, 0) + len(item.decode.token_ids)
    return ratios_of_blocks(tokens, measured.runs)


def ratios_of_blocks(
    tokens: Mapping[tuple[int, Arm], int], runs: Sequence[TimedRun]
) -> list[float]:
    """Return each block's time ratio; `tokens` has those of all runs of a block, for each arm.

    Raises UserError if a block lacks an arm, or an arm its tokens.
    """
    seconds: dict[tuple[int, Arm], float] = {}
    for run in runs:
        place = run.block, run.arm
        seconds[place] = seconds.get(place, 0.0) + run.wall_s
    blocks = sorted({block for block, _ in seconds})
    for place in product(blocks, get_args(Arm)):
        if place not in seconds or not tokens.get(place):
            raise UserError(
                f"The records of speed have no time or no tokens of the {place[1]} in block "
                f"{place[0]}; run the recipe, or measure the server, again."
            )
    s_per_token = {place: seconds[place] / tokens[place] for place in seconds}
    return [s_per_token[b, "target"] / s_per_token[b, "draft"] for b in blocks]


def _arm_numbers(
    decodes: Sequence[Decode], runs: Sequence[TimedRun]
) -> Iterator[tuple[str, Number]]:
    """Yield the recorded times, memory and energy of an arm."""
    first_s = [d.first_token_s for d in decodes if d.first_token_s is not None]
    if len(first_s) == len(decodes):
        later = [len(d.token_ids) - 1 for d in decodes]
        rest_s = [d.prefill_s + d.decode_s - s for d, s in zip(decodes, first_s, strict=True)]
        for name, tops, bottoms in (
            ("first_token_s", first_s, [1] * len(decodes)),
            ("token_s", rest_s, later),
        ):
            if sum(bottoms):
                sums = _by_prompt(decodes, tops), _by_prompt(decodes, bottoms)
                yield name, _positive_ratio(*sums, name)
    peaks = [run.peak_bytes for run in runs if run.peak_bytes is not None]
    if peaks:
        yield "peak_bytes", Number(max(peaks), None, None, len(peaks), DEFINITIONS["peak_bytes"])
    spent = [run.energy_j for run in runs if run.energy_j is not None]
    if len(spent) == len(runs):
        value = sum(spent) / sum(len(decode.token_ids) for decode in decodes)
        yield "energy_j", Number(value, None, None, len(spent), DEFINITIONS["energy_j"])


def _counts(decodes: Sequence[Decode], convention: Convention) -> Mapping[str, list[float]]:
    """Return an engine's counts per prompt; empty if the engine counted no passes.

    "tokens" excludes the token that prefill emits, which may be the whole answer.
    """
    counted = decodes if any(decode.rounds for decode in decodes) else ()
    first = int(convention.prefill_emits_first)
    values = {
        "tokens": [len(decode.token_ids) - first for decode in counted],
        "passes": [decode.target_passes for decode in counted],
        "drafted": [sum(round_.drafted for round_ in decode.rounds) for decode in counted],
        "runs": [1] * len(counted),
    }
    return {name: _by_prompt(counted, each) for name, each in values.items()}


def _by_prompt(decodes: Sequence[Decode], values: Sequence[float]) -> list[float]:
    """Return sums over the runs of each prompt; prompts are the unit of intervals."""
    sums: dict[str, float] = {}
    for decode, value in zip(decodes, values, strict=True):
        sums[decode.example_id] = sums.get(decode.example_id, 0.0) + value
    return list(sums.values())


def _agreement(timed: Sequence[TimedDecode]) -> Iterator[tuple[str, Number]]:
    """Yield the shares of texts that keep their tokens, and their length, with the draft."""
    alone, together = _first_run(timed, "target"), _first_run(timed, "draft")
    same = [float(alone[name].token_ids == together[name].token_ids) for name in alone]
    yield "identical", statistics.estimate_share(same, DEFINITIONS["identical"])
    other = set(other_lengths(timed))
    length = [float(name not in other) for name in alone]
    yield "same_length", statistics.estimate_share(length, DEFINITIONS["same_length"])


def _first_run(timed: Sequence[TimedDecode], arm: Arm) -> dict[str, Decode]:
    return {it.decode.example_id: it.decode for it in timed if (it.arm, it.repeat) == (arm, 0)}


def _passes(
    timed: Sequence[TimedDecode],
    tables: Sequence[AcceptanceTable],
    gamma: int,
    convention: Convention,
) -> Iterator[tuple[str, Number]]:
    """Yield the passes that the engine counted, and the passes that the tables predict."""
    decoded = _first_run(timed, "draft")
    chosen = [table for table in tables if table.example_id in decoded]
    counted = [float(decoded[table.example_id].target_passes) for table in chosen]
    if any(counted):
        predicted = block_counts(chosen, gamma, convention).passes_B
        for name, passes in (("counted_passes", counted), ("predicted_passes", predicted)):
            yield name, _positive_ratio(passes, np.ones(len(chosen)), name)


def _positive_ratio(tops: Sequence[float] | Floats, bottoms: Any, name: str) -> Number:
    return statistics.estimate_ratio(tops, bottoms, DEFINITIONS[name], statistics.POSITIVE)
