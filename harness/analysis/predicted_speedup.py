"""Measured costs, and the speedup that the cost model predicts with them.

With `speed.cost_model` the passes of a block are timed by themselves; the engine's counts are then
predicted at these times, and predicted / measured speedup is the engine's overhead. Without, for
runs of one text at a time, c + w is the time that the draft's arm took beyond its passes, for each
drafted token. A block of prompts is then predicted with the cost of the *other* blocks and with the
passes that acceptance tables expect for its prompts, so that no block predicts itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from draftmark.analysis.cost_model import Costs, speedup
from draftmark.analysis.statistics import geometric_mean, log_ratio_interval
from draftmark.config.sections import SpeedCondition
from draftmark.results import Number
from draftmark.speculation.blocks import REFERENCE, Convention, block_counts
from draftmark.store.speed_records import TimedPass
from draftmark.types import AcceptanceTable, Decode, Round, TimedDecode

DEFINITIONS = {
    "cost_ratio": "c: time of drafting a token / a plain pass of the target, each timed by itself; "
    "geometric mean over repeats",
    "verification_cost": "w: what a drafted token adds to the target's pass, in plain passes; of "
    "the geometric mean over repeats of both passes' ratio",
    "predicted_speedup": "of the tokens, passes and drafted tokens that the engine counted, at the "
    "times of the parts, prefill included; geometric mean over repeats",
    "overhead": "predicted / measured speedup, with the spread of both: what the engine takes with "
    "a draft beyond the parts",
    "predicted_from_blocks": "time of the target alone / predicted time with the draft, prefill "
    "included: expected passes and drafted tokens of the same prompts, at the cost that drafted "
    "tokens had in the other blocks; geometric mean over blocks, n = blocks",
}


def cost_model_numbers(
    condition: SpeedCondition,
    passes: Sequence[TimedPass],
    counts: Mapping[str, Sequence[float]],
    measured: Number | None,
) -> Iterator[tuple[str, Number]]:
    """Yield c, w, the predicted speedup and the engine's overhead; nothing if not timed twice.

    `counts` are the engine's: "runs" of prompts, "tokens", "passes", "drafted".
    """
    repeats = timed_costs(passes, condition.batch_size, condition.num_speculative_tokens)
    if len(repeats) < 2:
        return
    yield from cost_numbers(repeats, condition.num_speculative_tokens).items()
    sums = [math.fsum(counts[name]) for name in ("tokens", "passes", "drafted", "runs")]
    speedups = [speedup(costs, *sums) for costs in repeats]
    predicted = geometric_mean(speedups, DEFINITIONS["predicted_speedup"])
    yield "predicted_speedup", predicted
    if measured and measured.low and measured.high:
        yield "overhead", _overhead(predicted, measured)


def _overhead(predicted: Number, measured: Number) -> Number:
    """Return predicted / measured speedup, with the spread of both on their logarithms."""
    value = predicted.value / measured.value
    half = math.hypot(*(math.log((n.high or n.value) / n.value) for n in (predicted, measured)))
    ends = value * math.exp(-half), value * math.exp(half)
    return Number(value, *ends, measured.n, DEFINITIONS["overhead"])


def timed_costs(passes: Sequence[TimedPass], batch_size: int, gamma: int) -> list[Costs]:
    """Return the costs in each repeat, of means over contexts; none if not timed at this size."""
    by_repeat: dict[int, list[TimedPass]] = {}
    for item in passes:
        if item.batch_size == batch_size:
            by_repeat.setdefault(item.repeat, []).append(item)
    found = [_repeat_costs(by_repeat[repeat], gamma) for repeat in sorted(by_repeat)]
    return [costs for costs in found if costs]


def _repeat_costs(passes: Sequence[TimedPass], gamma: int) -> Costs | None:
    decoding = [item for item in passes if item.context]
    plain, verify = (
        [p.seconds for p in decoding if (p.who, p.width) == ("target", width)]
        for width in (1, gamma + 1)
    )
    drafting = [p.seconds / p.width for p in decoding if p.who == "draft"]
    if not (plain and verify and drafting):
        return None
    pass_s = fmean(plain)
    prefills = (
        fmean([p.seconds for p in passes if p.who == who and not p.context] or [0.0]) / pass_s
        for who in ("target", "draft")  # a lookup has no prefill
    )
    verification_cost = (fmean(verify) - pass_s) / (gamma * pass_s)
    return Costs(fmean(drafting) / pass_s, verification_cost, *prefills)


def cost_numbers(repeats: Sequence[Costs], gamma: int) -> dict[str, Number]:
    """Return c and w by name; raises ValueError on fewer than two repeats."""
    ratios = [1 + gamma * costs.verification_cost for costs in repeats]  # w may be below 0
    w, low, high = ((ratio - 1) / gamma for ratio in log_ratio_interval(ratios))
    return {
        "cost_ratio": geometric_mean([it.cost_ratio for it in repeats], DEFINITIONS["cost_ratio"]),
        "verification_cost": Number(w, low, high, len(repeats), DEFINITIONS["verification_cost"]),
    }


@dataclass(frozen=True)
class _Block:
    """A block of prompts: what both arms took and what the tables expect, in plain passes."""

    prefill: float
    plain: int  # passes of the target alone
    excess: float  # what the draft's arm took beyond its passes
    drafted: int
    expected: tuple[float, float]  # passes, drafted tokens


def drafting_cost(timed: Sequence[TimedDecode], convention: Convention = REFERENCE) -> float | None:
    """Return c + w in plain passes, at least 0, and 0 if nothing was drafted.

    None if nothing was timed, or the engine counted no passes.
    """
    blocks = list(_blocks(timed, convention, {}))
    return _cost(blocks) if blocks else None


def predicted_speedup(
    timed: Sequence[TimedDecode],
    tables: Sequence[AcceptanceTable],
    num_speculative_tokens: int,
    convention: Convention = REFERENCE,
) -> Number | None:
    """Return the predicted speedup of a speed run, with a t interval on the logs of its blocks.

    `convention` is the engine's. None for fewer than two blocks, or if a prompt has no table.
    """
    wanted = {item.decode.example_id for item in timed}
    tables = [table for table in tables if table.example_id in wanted]
    if len(tables) < len(wanted) or not tables:
        return None
    counts = block_counts(tables, num_speculative_tokens, convention)
    by_prompt = zip(tables, counts.passes_B, counts.drafted_B, counts.tokens_B, strict=True)
    rates = {
        table.example_id: (passes / max(tokens, 1), drafted / max(tokens, 1))
        for table, passes, drafted, tokens in by_prompt
    }
    blocks = list(_blocks(timed, convention, rates))
    if len(blocks) < 2:
        return None
    speedups = []
    for block in blocks:
        cost = _cost([other for other in blocks if other is not block])
        costs = Costs(cost, prefill=block.prefill)
        speedups.append(speedup(costs, block.plain, *block.expected))
    return geometric_mean(speedups, DEFINITIONS["predicted_from_blocks"])


def _cost(blocks: Sequence[_Block]) -> float:
    drafted = sum(block.drafted for block in blocks)
    return max(0.0, sum(block.excess for block in blocks) / drafted) if drafted else 0.0


def _blocks(
    timed: Sequence[TimedDecode],
    convention: Convention,
    rates: Mapping[str, tuple[float, float]],
) -> Iterator[_Block]:
    """Yield the blocks in which passes of both arms were timed; none if none was counted.

    `rates`: passes and drafted tokens that the tables expect for each token of a prompt.
    """
    for number in sorted({item.block for item in timed}):
        alone, drafting = (
            [item.decode for item in timed if (item.block, item.arm) == (number, arm)]
            for arm in ("target", "draft")
        )
        plain = sum(len(_timed_rounds(decode, convention)) for decode in alone)
        rounds = [_timed_rounds(decode, convention) for decode in drafting]
        if not (plain and any(rounds)):
            continue
        pass_s = sum(decode.decode_s for decode in alone) / plain
        passes = drafted = 0.0
        for decode in drafting:
            tokens = len(decode.token_ids) - int(convention.prefill_emits_first)
            passes_per_token, drafted_per_token = rates.get(decode.example_id, (0.0, 0.0))
            passes += tokens * passes_per_token - _passes_in_prefill(decode, convention)
            drafted += tokens * drafted_per_token
        yield _Block(
            prefill=sum(decode.prefill_s for decode in alone) / pass_s,
            plain=plain,
            excess=sum(decode.decode_s for decode in drafting) / pass_s - sum(map(len, rounds)),
            drafted=sum(round_.drafted for own in rounds for round_ in own),
            expected=(passes, drafted),
        )


def _timed_rounds(decode: Decode, convention: Convention) -> Sequence[Round]:
    return decode.rounds[_passes_in_prefill(decode, convention) :]


def _passes_in_prefill(decode: Decode, convention: Convention) -> int:
    """Return 1 if the first block's pass reads the prompt, and is timed with prefill; else 0."""
    return int(decode.first_token_s == decode.prefill_s and not convention.prefill_emits_first)
