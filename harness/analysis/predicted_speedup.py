"""Measured costs, and the speedup that the cost model predicts with them.

With `speed.cost_model` the passes of draft and target are timed separately. The model then predicts
the speedup from these times and the engine's counts; predicted / measured speedup is the engine's
overhead. Without it, for runs of one text at a time, c + w is the draft arm's time beyond its
target passes, per drafted token. Each block of prompts is then predicted from the cost of the
*other* blocks and from the passes that acceptance tables expect, so no block predicts itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

from draftmark.analysis.cost_model import Costs, modelled_speedup
from draftmark.analysis.statistics import geometric_mean, median_ratio
from draftmark.config.sections import SpeedCondition
from draftmark.results import Number
from draftmark.speculation.blocks import REFERENCE, Convention, block_counts
from draftmark.store.speed_records import TimedPass
from draftmark.types import AcceptanceTable, Arm, Decode, TimedDecode, Verification

DEFINITIONS = {
    "cost_ratio": "c: time of drafting a token / a plain pass of the target, each timed by itself; "
    "geometric mean over repeats",
    "verification_cost": "w: time that a drafted token adds to the target's pass, in plain passes; "
    "from the geometric mean over repeats of verifying pass / plain pass",
    "predicted_speedup": "speedup of the cost model at the engine's counts of tokens, passes and "
    "drafted tokens, prefill included; geometric mean over repeats",
    "overhead": "predicted / measured speedup, with the spread of both; above 1 the engine takes "
    "more time than the model",
    "predicted_from_blocks": "time of the target alone / predicted time with the draft, prefill "
    "included: expected passes and drafted tokens of the same prompts, at the cost of a drafted "
    "token in the other blocks; median over blocks, n = blocks",
}


def cost_model_numbers(
    condition: SpeedCondition,
    passes: Sequence[TimedPass],
    counts: Mapping[str, Sequence[float]],
    measured: Number | None,
) -> Iterator[tuple[str, Number]]:
    """Yield the predicted speedup and the engine's overhead; nothing before two repeats.

    `counts` are the engine's per prompt: "runs", "tokens", "passes", "drafted".
    """
    repeats = timed_costs(passes, condition.batch_size, condition.num_speculative_tokens)
    if len(repeats) < 2:
        return
    sums = [math.fsum(counts[name]) for name in ("tokens", "passes", "drafted", "runs")]
    speedups = [modelled_speedup(costs, *sums) for costs in repeats]
    predicted = geometric_mean(speedups, DEFINITIONS["predicted_speedup"])
    yield "predicted_speedup", predicted
    if measured and measured.low and measured.high:
        yield "overhead", _overhead(predicted, measured)


def _overhead(predicted: Number, measured: Number) -> Number:
    """Return predicted / measured speedup; its interval combines both spreads on the log scale."""
    value = predicted.value / measured.value
    half = math.hypot(*(math.log((n.high or n.value) / n.value) for n in (predicted, measured)))
    ends = value * math.exp(-half), value * math.exp(half)
    return Number(value, *ends, measured.n, DEFINITIONS["overhead"])


def timed_costs(passes: Sequence[TimedPass], batch_size: int, gamma: int) -> list[Costs]:
    """Return the costs of each repeat, averaged over contexts; empty if this size was not timed."""
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
    # A block in one pass takes about the same time whatever its length.
    drafts = [p for p in decoding if p.who == "draft" and p.block_length in (None, gamma)]
    drafting = [p.seconds / p.width for p in drafts]
    if not (plain and verify and drafting):
        return None
    pass_s = fmean(plain)
    prefill, draft_prefill = (
        fmean([p.seconds for p in passes if p.who == who and not p.context] or [0.0]) / pass_s
        for who in ("target", "draft")  # a lookup has no prefill
    )
    verification_cost = (fmean(verify) - pass_s) / (gamma * pass_s)
    block = max((p.width for p in drafts if p.one_pass), default=0)
    return Costs(fmean(drafting) / pass_s, verification_cost, prefill, draft_prefill, block)


def cost_numbers(repeats: Sequence[Costs], gamma: int) -> dict[str, Number]:
    """Return c and w by name; raises ValueError for fewer than two repeats."""
    ratios = [1 + gamma * costs.verification_cost for costs in repeats]  # w may be below 0
    ratio = geometric_mean(ratios, DEFINITIONS["verification_cost"])
    return {
        "cost_ratio": geometric_mean([it.cost_ratio for it in repeats], DEFINITIONS["cost_ratio"]),
        "verification_cost": _cost_of_a_token(ratio, gamma),
    }


def _cost_of_a_token(ratio: Number, gamma: int) -> Number:
    """Return w, from the time of a pass over gamma more tokens / that of a plain pass."""
    low, high = (None if end is None else (end - 1) / gamma for end in (ratio.low, ratio.high))
    return replace(ratio, value=(ratio.value - 1) / gamma, low=low, high=high)


class _Sums(NamedTuple):
    """Sums over the decodes of an arm in a block of prompts."""

    prefill_s: float
    decode_s: float
    passes: float  # within decode_s; `drafted` are their drafted tokens
    drafted: float
    expected_passes: float
    expected_drafted: float


def drafting_cost(timed: Sequence[TimedDecode], convention: Convention = REFERENCE) -> float | None:
    """Return c + w in plain passes, at least 0; 0 if nothing was drafted.

    None if nothing was timed or the engine counted no passes.
    """
    blocks = _blocks(timed, convention, {})
    return _cost(blocks) if blocks else None


def predicted_speedup(
    timed: Sequence[TimedDecode],
    tables: Sequence[AcceptanceTable],
    num_speculative_tokens: int,
    convention: Convention = REFERENCE,
    verification: Verification = "standard",
) -> Number | None:
    """Return the predicted speedup of a speed run, the median over its blocks.

    `convention` and `verification` are the engine's. None for fewer than two blocks or if a prompt
    has no table.
    """
    wanted = {item.decode.example_id for item in timed}
    tables = [table for table in tables if table.example_id in wanted]
    if len(tables) < len(wanted) or not tables:
        return None
    counts = block_counts(tables, num_speculative_tokens, convention, verification)
    by_prompt = zip(tables, counts.passes_B, counts.drafted_B, counts.tokens_B, strict=True)
    rates = {
        table.example_id: (passes / max(tokens, 1), drafted / max(tokens, 1))
        for table, passes, drafted, tokens in by_prompt
    }
    blocks = _blocks(timed, convention, rates)
    if len(blocks) < 2:
        return None
    speedups = []
    for block in blocks:
        target, draft = block
        cost = _cost([other for other in blocks if other is not block])
        costs = Costs(cost, prefill=target.prefill_s * target.passes / target.decode_s)
        expected = draft.expected_passes, draft.expected_drafted
        speedups.append(modelled_speedup(costs, target.passes, *expected))
    return median_ratio(speedups, DEFINITIONS["predicted_from_blocks"])


def _cost(blocks: Sequence[tuple[_Sums, _Sums]]) -> float:
    """Return c + w: the draft arm's time beyond its target passes, per drafted token."""
    drafted = sum(draft.drafted for _, draft in blocks)
    beyond = sum(
        draft.decode_s * target.passes / target.decode_s - draft.passes for target, draft in blocks
    )
    return max(0.0, beyond / drafted) if drafted else 0.0


def _blocks(
    timed: Sequence[TimedDecode], convention: Convention, rates: Mapping[str, tuple[float, float]]
) -> list[tuple[_Sums, _Sums]]:
    """Return the sums (target, draft) of each block whose passes were counted in both arms.

    `rates`: expected passes and drafted tokens per token of each prompt, from the tables.
    """
    by_arm: dict[tuple[int, Arm], list[Decode]] = {}
    for item in timed:
        by_arm.setdefault((item.block, item.arm), []).append(item.decode)
    sums = {place: _sums(decodes, convention, rates) for place, decodes in by_arm.items()}
    blocks = sorted({item.block for item in timed})
    pairs = [(sums.get((n, "target")), sums.get((n, "draft"))) for n in blocks]
    return [(a, b) for a, b in pairs if a and b and a.passes and b.passes]


def _sums(
    decodes: Sequence[Decode], convention: Convention, rates: Mapping[str, tuple[float, float]]
) -> _Sums:
    rows = []
    for decode in decodes:
        # If the first token came with prefill but counts to a block, that block's pass was prefill.
        together = decode.first_token_s == decode.prefill_s
        in_prefill = int(together and not convention.prefill_emits_first)
        rounds = decode.rounds[in_prefill:]
        tokens = len(decode.token_ids) - int(convention.prefill_emits_first)
        passes, drafted = rates.get(decode.example_id, (0.0, 0.0))
        counted = len(rounds), sum(round_.drafted for round_ in rounds)
        expected = tokens * passes - in_prefill, tokens * drafted
        rows.append((decode.prefill_s, decode.decode_s, *counted, *expected))
    return _Sums(*map(sum, zip(*rows, strict=True)))
