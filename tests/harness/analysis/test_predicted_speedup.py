"""Predicted speedups: of passes whose times are known, and of decodes whose times are known."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from draftmark.analysis.predicted_speedup import (
    cost_model_numbers,
    cost_numbers,
    drafting_cost,
    predicted_speedup,
    timed_costs,
)
from draftmark.config.sections import SpeedCondition
from draftmark.results import Number
from draftmark.speculation.blocks import Convention
from draftmark.store.acceptance_tables import sliding_table
from draftmark.store.speed_records import TimedPass
from draftmark.types import AcceptanceTable, Arm, Decode, Round, TimedDecode

GAMMA = 3
CONDITION = SpeedCondition("reference", 0.0, GAMMA, 5, 4, "float32")
# 100 passes of blocks of 3 that give 250 tokens, in 5 runs.
ENGINE_COUNTS = {"runs": [5.0], "tokens": [250.0], "passes": [100.0], "drafted": [300.0]}
MEASURED = Number(1.5, 1.2, 2.0, 5, "")


def parts(
    *, plain: float = 2.0, verify: float = 2.6, draft: float = 0.5, prefills: bool = False
) -> list[TimedPass]:
    """Return parts at two contexts, in two repeats of which one ran at half the speed."""
    found = []
    for repeat, slow in enumerate((1.0, 2.0)):
        for context in (10, 20):
            for who, width, seconds in (
                ("target", 1, plain),
                ("target", GAMMA + 1, verify),
                ("draft", 1, draft),
            ):
                found.append(TimedPass(who, repeat, 1, context, width, slow * seconds))  # type: ignore[arg-type]
        if prefills:
            found += [
                TimedPass("target", repeat, 1, 0, 10, slow * 8.0),
                TimedPass("draft", repeat, 1, 0, 10, slow * 2.0),
            ]
    return found


def values(*args: object, **changes: float) -> dict[str, float]:
    timed = parts(**changes)  # type: ignore[arg-type]
    return {
        name: n.value for name, n in cost_model_numbers(CONDITION, timed, ENGINE_COUNTS, MEASURED)
    }


def test_the_terms_are_in_plain_passes_and_the_prediction_is_the_cost_models() -> None:
    found = values()
    costs = cost_numbers(timed_costs(parts(), 1, GAMMA), GAMMA)
    assert costs["cost_ratio"].value == pytest.approx(0.25)
    assert costs["verification_cost"].value == pytest.approx(0.1)
    assert found["predicted_speedup"] == pytest.approx(250 / (100 + 300 * (0.25 + 0.1)))
    assert found["overhead"] == pytest.approx(found["predicted_speedup"] / 1.5)


def test_the_interval_of_the_overhead_has_the_spread_of_both() -> None:
    exact = {name: n for name, n in cost_model_numbers(CONDITION, parts(), ENGINE_COUNTS, MEASURED)}
    assert exact["overhead"].high == pytest.approx(exact["overhead"].value * 2.0 / 1.5)
    noisy = [*parts(), *(replace(part, repeat=2) for part in parts(draft=0.9) if part.repeat == 0)]
    found = {name: n for name, n in cost_model_numbers(CONDITION, noisy, ENGINE_COUNTS, MEASURED)}
    halves = [
        math.log((found[name].high or 0) / found[name].value)
        for name in ("overhead", "predicted_speedup")
    ]
    assert halves[0] == pytest.approx(math.hypot(halves[1], math.log(2.0 / 1.5)))


def test_a_drifting_clock_does_not_widen_ratios() -> None:
    found = dict(cost_model_numbers(CONDITION, parts(), ENGINE_COUNTS, MEASURED))
    costs = cost_numbers(timed_costs(parts(), 1, GAMMA), GAMMA)
    for number in (costs["cost_ratio"], found["predicted_speedup"]):
        assert number.low == pytest.approx(number.high)


def test_prefill_of_both_models_counts_once_for_each_run() -> None:
    found = values(prefills=True)
    alone, together = 5 * 8 + 250 * 2, 5 * (8 + 2) + 100 * 2 + 300 * (0.5 + 0.2)
    assert found["predicted_speedup"] == pytest.approx(alone / together)


def test_a_proposal_costs_each_of_its_tokens_alike() -> None:
    timed = [
        p if p.who == "target" else TimedPass("draft", p.repeat, 1, 10, 4, 4.0) for p in parts()
    ]
    costs = cost_numbers(timed_costs(timed, 1, GAMMA), GAMMA)
    assert costs["cost_ratio"].value == pytest.approx(1.0 / (2.0 * 2**0.5))
    assert "overhead" not in dict(cost_model_numbers(CONDITION, timed, ENGINE_COUNTS, None))


@pytest.mark.parametrize("gamma", [1, 2, 4])
def test_a_block_in_one_pass_costs_the_same_whatever_its_length(gamma: int) -> None:
    """A pass of the draft takes 1 s and one of the target 2 s; its blocks have 3 tokens at most."""
    timed = [
        TimedPass(who, repeat, 1, 10, width, seconds, block_length=asked)
        for repeat in (0, 1)
        for who, width, seconds, asked in (
            *(("target", width, 2.0, None) for width in range(1, 6)),
            *(("draft", min(asked, 3), 1.0, asked) for asked in range(1, 5)),
        )
    ]
    costs = cost_numbers(timed_costs(timed, 1, gamma), gamma)
    assert costs["cost_ratio"].value == pytest.approx(0.5 / min(gamma, 3))


def test_a_block_that_is_cut_still_costs_its_pass() -> None:
    """10 passes of the target draft 4 tokens in all, but the draft makes 10 passes too."""
    by_token = [
        replace(part, width=GAMMA, block_length=GAMMA) if part.who == "draft" else part
        for part in parts(draft=0.6)
    ]
    in_one = [replace(part, one_pass=part.who == "draft") for part in by_token]
    engine = {"runs": [1.0], "tokens": [12.0], "passes": [10.0], "drafted": [4.0]}
    for timed, drafting in ((by_token, 4 * 0.1), (in_one, 10 * GAMMA * 0.1)):
        found = dict(cost_model_numbers(CONDITION, timed, engine, None))
        expected = 12 / (10 + drafting + 4 * 0.1)
        assert found["predicted_speedup"].value == pytest.approx(expected)


def test_nothing_is_said_of_batch_sizes_that_were_not_timed() -> None:
    widened = SpeedCondition("reference", 0.0, GAMMA, 5, 4, "float32", batch_size=8)
    assert list(cost_model_numbers(widened, parts(), ENGINE_COUNTS, MEASURED)) == []
    alone = [part for part in parts() if part.who == "target"]
    assert list(cost_model_numbers(CONDITION, alone, ENGINE_COUNTS, MEASURED)) == []


TOKENS, DRAFTED = 20, 4
ROUNDS = 4  # of four drafted, four accepted and one more: 20 tokens


def decode(name: str, rounds: Sequence[Round], decode_s: float, prefill_s: float = 0.0) -> Decode:
    return Decode(name, tuple(range(TOKENS)), 5, tuple(rounds), prefill_s, decode_s, "stop")


def block(number: int, *, pass_s: float, cost: float, drafted: int = DRAFTED) -> list[TimedDecode]:
    """Return a block in which a drafted token takes `cost` passes: each arm twice."""
    name = f"prompt {number}"
    alone = decode(name, [Round(0, 0)] * TOKENS, TOKENS * pass_s, pass_s)
    seconds = pass_s * (ROUNDS + cost * ROUNDS * drafted)
    mine = decode(name, [Round(drafted, drafted)] * ROUNDS, seconds, pass_s)
    arms: list[tuple[Arm, Decode]] = [("target", alone), ("draft", mine)]
    return [TimedDecode(arm, number, repeat, each) for arm, each in arms for repeat in (0, 1)]


def tables(*numbers: int) -> list[AcceptanceTable]:
    ones = np.ones(TOKENS)
    return [sliding_table(f"prompt {number}", ones, ones, ones, 32) for number in numbers]


def run(costs: Sequence[float], **more: Any) -> list[TimedDecode]:
    return [
        item
        for number, cost in enumerate(costs)
        for item in block(number, pass_s=0.1 * (number + 1), cost=cost, **more)
    ]


@pytest.mark.parametrize("cost", [0.0, 0.1, 0.75])
def test_the_cost_of_a_drafted_token_is_found_whatever_a_pass_takes(cost: float) -> None:
    assert drafting_cost(run([cost] * 3)) == pytest.approx(cost)


def test_a_draft_that_drafts_nothing_costs_nothing() -> None:
    assert drafting_cost(run([0.0, 0.0], drafted=0)) == 0
    assert drafting_cost([]) is None


def test_times_that_follow_the_model_are_predicted_exactly() -> None:
    timed = run([0.25] * 3)
    found = predicted_speedup(timed, tables(0, 1, 2), DRAFTED)
    assert found is not None
    # Prefill of one pass, then 20 passes alone; with the draft 4 and 16 drafted tokens.
    assert found.value == pytest.approx(21 / (1 + 4 + 16 * 0.25))
    assert found.low is None  # of three equal blocks
    assert found.n == 3


def test_an_answer_that_prefill_gave_whole_hides_no_cost() -> None:
    timed = run([0.25] * 3)
    short = [replace(item, decode=replace(item.decode, rounds=(), decode_s=0.0)) for item in timed]
    of_another = [replace(it, decode=replace(it.decode, example_id="short")) for it in short[:4]]
    assert drafting_cost([*timed, *of_another]) == pytest.approx(0.25)
    assert drafting_cost(short) is None  # an engine that counts no passes


def test_what_prefill_emits_is_predicted_of_no_block() -> None:
    # 19 tokens after prefill's, none accepted, drafting free: as fast as without a draft.
    timed = [
        replace(item, decode=replace(item.decode, rounds=(Round(drafted, 0),) * 19, decode_s=1.9))
        for number in (0, 1)
        for item in block(number, pass_s=0.1, cost=0.0)
        for drafted in [0 if item.arm == "target" else DRAFTED]
    ]
    zeros = np.zeros(TOKENS)
    rejected = [sliding_table(f"prompt {n}", zeros, zeros, zeros, 32) for n in (0, 1)]
    found = predicted_speedup(timed, rejected, DRAFTED, Convention(prefill_emits_first=True))
    assert found is not None
    assert found.value == pytest.approx(1.0)


def test_the_first_pass_reads_the_prompt_where_it_is_timed_with_prefill() -> None:
    def with_prefill(item: TimedDecode) -> TimedDecode:
        decode, count = item.decode, len(item.decode.rounds)
        first_s = decode.prefill_s + decode.decode_s / count
        rest_s = decode.decode_s * (count - 1) / count
        moved = replace(decode, prefill_s=first_s, decode_s=rest_s, first_token_s=first_s)
        return replace(item, decode=moved)

    timed = [with_prefill(item) for item in run([0.25] * 3)]
    assert drafting_cost(timed) == pytest.approx(0.25)
    at_once = [replace(it, decode=replace(it.decode, rounds=(Round(0, 0),))) for it in timed[:4]]
    assert drafting_cost([replace(item, block=9) for item in at_once]) is None  # all in prefill
    found = predicted_speedup(timed, tables(0, 1, 2), DRAFTED)
    assert found is not None
    # Prefill with the first pass is two; 19 passes alone; 3 with the draft, and 16 drafted tokens.
    assert found.value == pytest.approx(21 / (2 + 3 + 16 * 0.25))


def test_no_block_is_predicted_with_its_own_cost() -> None:
    found = predicted_speedup(run([0.0, 1.0]), tables(0, 1), DRAFTED)
    assert found is not None
    assert found.value == pytest.approx((21 / (1 + 4 + 16) * 21 / (1 + 4)) ** 0.5)


def test_what_was_not_scored_or_ran_once_is_not_predicted() -> None:
    assert predicted_speedup(run([0.1, 0.1]), tables(0, 7), DRAFTED) is None
    assert predicted_speedup(run([0.1]), tables(0), DRAFTED) is None
