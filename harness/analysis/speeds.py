"""Measurements of speed -> published numbers, each keyed by the terms that it was measured on.

Time is that of the clock around an engine's run over a block, and both arms' tokens are counted
alike, up to and including the first end token. Where greedy texts of the two arms differ in length,
no speedup is given: the draft's arm had other work to do.
"""

from collections.abc import Iterator, Mapping, Sequence

from draftmark.analysis import statistics
from draftmark.analysis.cost_model import predictions
from draftmark.analysis.speed_fairness import other_lengths
from draftmark.config.recipe import Recipe
from draftmark.config.sections import SpeedCondition
from draftmark.results import Number
from draftmark.speculation.blocks import Convention, block_counts
from draftmark.speculation.engine_counts import told_convention
from draftmark.store.cell_records import Records
from draftmark.store.speed_records import Measurement, TimedRun
from draftmark.types import AcceptanceTable, Arm, Decode, TimedDecode

DEFINITIONS = {
    "speedup": "time of the target alone / time with the draft, per token, prefill included; "
    "geometric mean over blocks, n = blocks",
    "noise_floor": "the speedup of the target against itself: what a difference of nothing is "
    "measured as; n = blocks",
    "counted_passes": "target passes that the engine made",
    "predicted_passes": "target passes that one scoring pass predicts for the same prompts",
    "identical": "share of prompts whose tokens are those of the target alone",
    "same_length": "share of prompts whose texts are of one length in all runs of both arms",
    "first_token_s": "seconds from a prompt to its first token, the prompts of a batch together",
    "token_s": "seconds for each token after the first",
    "peak_bytes": "most memory of a run: on an accelerator the arm's weights and what the run "
    "takes beside them, else the resident memory of the process with both arms loaded",
    "energy_j": "joules for each token, of the accelerators",
    "counted_block_efficiency": "tokens emitted per pass of the target, as the engine counted",
    "counted_drafted": "drafted tokens per pass of the target, as the engine counted",
}
ARMS: tuple[Arm, ...] = ("target", "draft")
# What the headline's measurement is also published as, without its terms.
HEADLINE = ("speedup", "identical", "counted_passes", "predicted_passes")


def speed_numbers(records: Records, recipe: Recipe) -> dict[str, Number]:
    """Return the numbers of every measurement that did not fail."""
    numbers: dict[str, Number] = {}
    headline = recipe.speed.conditions()[0] if recipe.speed else None
    for under, measured in records.speeds.items():
        own = dict(_of_measurement(under, measured, records))
        if under == headline:
            numbers |= {name: own[name] for name in HEADLINE if name in own}
        numbers |= {keyed(name, under.label): number for name, number in own.items()}
    for under, measured in records.floors.items():
        number = _speedup(measured, DEFINITIONS["noise_floor"])
        numbers[keyed("noise_floor", under.terms)] = number
    return numbers


def keyed(name: str, where: str) -> str:
    """Return the key of a number that depends on what it was measured on.

    A name that says an arm already keeps it: "token_s[arm=draft" becomes one key.
    """
    return f"{name},{where}]" if "[" in name else f"{name}[{where}]"


def _of_measurement(
    under: SpeedCondition, measured: Measurement, records: Records
) -> Iterator[tuple[str, Number]]:
    timed, greedy = measured.decodes, under.temperature == 0
    if greedy:
        yield from _against_the_target(timed)
    speedup = None
    if not (greedy and other_lengths(timed)):
        speedup = _speedup(measured, DEFINITIONS["speedup"])
        yield "speedup", speedup
    tables = records.tables.get(under.temperature, ())
    if greedy and tables and under.length == "natural":
        yield from _passes(measured, tables, under.num_speculative_tokens)
    for arm in ARMS:
        mine = [item.decode for item in timed if item.arm == arm]
        runs = [run for run in measured.runs if run.arm == arm]
        yield from ((f"{name}[arm={arm}", number) for name, number in _of_arm(mine, runs))
    convention = told_convention(measured.engine_facts.get("draft", {}))
    counts = _counts([item.decode for item in timed if item.arm == "draft"], convention)
    if counts["passes"]:
        for name, top in (("counted_block_efficiency", "tokens"), ("counted_drafted", "drafted")):
            number = statistics.ratio(counts[top], counts["passes"], DEFINITIONS[name])
            yield name, number
        yield from predictions(under, records.parts, counts, speedup)


def block_ratios(measured: Measurement) -> list[float]:
    """Return time of the target alone / time with the draft, per token, of each block in order."""
    blocks = sorted({run.block for run in measured.runs})
    return [
        _s_per_token(measured, b, "target") / _s_per_token(measured, b, "draft") for b in blocks
    ]


def _speedup(measured: Measurement, definition: str) -> Number:
    ratios = block_ratios(measured)
    value, low, high = statistics.log_ratio_interval(ratios)
    return Number(value, low, high, len(ratios), definition)


def _s_per_token(measured: Measurement, block: int, arm: Arm) -> float:
    """Return total time / total tokens of an arm in a block: one function counts for both arms."""
    seconds = sum(run.wall_s for run in measured.runs if (run.block, run.arm) == (block, arm))
    mine = [i.decode for i in measured.decodes if (i.block, i.arm) == (block, arm)]
    return seconds / sum(len(decode.token_ids) for decode in mine)


def _of_arm(decodes: Sequence[Decode], runs: Sequence[TimedRun]) -> Iterator[tuple[str, Number]]:
    """Yield an arm's times, memory and energy, as far as they were told."""
    first_s = [d.first_token_s for d in decodes if d.first_token_s is not None]
    if len(first_s) == len(decodes):
        of_prompts = _by_prompt(decodes, first_s), _by_prompt(decodes, [1.0] * len(decodes))
        yield "first_token_s", statistics.ratio(*of_prompts, DEFINITIONS["first_token_s"])
        later = _by_prompt(decodes, [len(d.token_ids) - 1 for d in decodes])
        rest = [d.prefill_s + d.decode_s - s for d, s in zip(decodes, first_s, strict=True)]
        if sum(later):
            number = statistics.ratio(_by_prompt(decodes, rest), later, DEFINITIONS["token_s"])
            yield "token_s", number
    peaks = [run.peak_bytes for run in runs if run.peak_bytes is not None]
    if peaks:
        yield "peak_bytes", Number(max(peaks), None, None, len(peaks), DEFINITIONS["peak_bytes"])
    spent = [run.energy_j for run in runs if run.energy_j is not None]
    if len(spent) == len(runs):
        value = sum(spent) / sum(len(decode.token_ids) for decode in decodes)
        yield "energy_j", Number(value, None, None, len(spent), DEFINITIONS["energy_j"])


def _counts(decodes: Sequence[Decode], convention: Convention) -> Mapping[str, list[float]]:
    """Return what an engine counted of each prompt; nothing if it counted no passes.

    Tokens are those that passes gave: not what prefill emitted, which may be a whole answer.
    """
    counted = decodes if any(decode.rounds for decode in decodes) else ()
    first = int(convention.prefill_emits_first)
    return {
        "tokens": _by_prompt(counted, [len(d.token_ids) - first for d in counted]),
        "passes": _by_prompt(counted, [d.target_passes for d in counted]),
        "drafted": _by_prompt(counted, [sum(r.drafted for r in d.rounds) for d in counted]),
        "runs": _by_prompt(counted, [1.0] * len(counted)),
    }


def _by_prompt(decodes: Sequence[Decode], values: Sequence[float]) -> list[float]:
    """Return sums over the runs of each prompt, which is the unit of intervals."""
    sums: dict[str, float] = {}
    for decode, value in zip(decodes, values, strict=True):
        sums[decode.example_id] = sums.get(decode.example_id, 0.0) + value
    return list(sums.values())


def _against_the_target(timed: Sequence[TimedDecode]) -> Iterator[tuple[str, Number]]:
    alone, together = _first_run(timed, "target"), _first_run(timed, "draft")
    same = [float(alone[name].token_ids == together[name].token_ids) for name in alone]
    yield "identical", statistics.share(same, DEFINITIONS["identical"])
    other = set(other_lengths(timed))
    length = [float(name not in other) for name in alone]
    yield "same_length", statistics.share(length, DEFINITIONS["same_length"])


def _first_run(timed: Sequence[TimedDecode], arm: Arm) -> dict[str, Decode]:
    return {
        item.decode.example_id: item.decode
        for item in timed
        if item.arm == arm and item.repeat == 0
    }


def _passes(
    measured: Measurement, tables: Sequence[AcceptanceTable], gamma: int
) -> Iterator[tuple[str, Number]]:
    """Yield the passes that the engine counted, and those that its convention predicts of them."""
    decoded = _first_run(measured.decodes, "draft")
    chosen = [table for table in tables if table.example_id in decoded]
    counted = [float(decoded[table.example_id].target_passes) for table in chosen]
    if not any(counted):
        return
    convention = told_convention(measured.engine_facts.get("draft", {}))
    predicted = block_counts(chosen, gamma, convention).passes_B
    yield "counted_passes", statistics.mean(counted, DEFINITIONS["counted_passes"])
    yield "predicted_passes", statistics.mean(predicted, DEFINITIONS["predicted_passes"])
