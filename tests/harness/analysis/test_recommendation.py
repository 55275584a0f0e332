"""What can be told apart of block lengths: closed forms, pairing, and how often chance is named."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from draftmark.analysis import statistics
from draftmark.analysis.cost_model import Costs
from draftmark.analysis.intervals import log_ratio_interval
from draftmark.analysis.predicted_speedup import cost_model_numbers
from draftmark.analysis.recommendation import (
    MOST_BLOCKS,
    Advice,
    Doubt,
    Estimate,
    doubt_of,
    drafts_to_serve,
    expected_estimate,
    longest_timed_block,
    measured_estimate,
    recommend,
    supposed_estimate,
    timed_batch_sizes,
    with_drafting_in_turn,
)
from draftmark.config.sections import SpeedCondition
from draftmark.speculation.blocks import BlockCounts, block_counts
from draftmark.store.acceptance_tables import sliding_table
from draftmark.store.speed_records import TimedPass

RNG = np.random.default_rng(7)


def counts(gamma: int, prompts: int = 12, seed: int = 0) -> BlockCounts:
    """Return the counts of texts whose tokens are accepted with probabilities of their own."""
    rng = np.random.default_rng(seed)
    tables = []
    for number in range(prompts):
        accept_S = rng.beta(4, 2, size=60)
        tables.append(sliding_table(str(number), accept_S, accept_S, accept_S, 8))
    return block_counts(tables, gamma)


def parts(draft: float = 0.2, verify: float = 2.4, noise: float = 0.0) -> list[TimedPass]:
    """Return seven repeats of the parts of blocks of up to 4 tokens, prefill among them."""
    rng, found = np.random.default_rng(3), []
    for repeat in range(7):
        slow = math.exp(noise * rng.standard_normal())
        found += [
            TimedPass("target", repeat, 1, 0, 9, 5.0),
            TimedPass("draft", repeat, 1, 0, 9, 1.0),
        ]
        found.append(TimedPass("draft", repeat, 1, 9, 1, draft * slow))
        for width in range(1, 6):
            found.append(
                TimedPass("target", repeat, 1, 9, width, 2.0 + (verify - 2.0) * (width - 1))
            )
    return found


def test_a_speed_run_has_the_value_of_its_published_speedup_and_the_noise_of_a_median() -> None:
    ratios = [1.2, 1.5, 1.1, 1.4]
    found = measured_estimate(ratios)
    assert math.exp(found.value) == statistics.median_ratio(ratios, "").value
    low, high = found.ends(0.95)
    _, mean_low, mean_high = np.log(log_ratio_interval(ratios))
    assert (high - low) / (mean_high - mean_low) == pytest.approx(math.sqrt(math.pi / 2))
    assert (high + low) / 2 == pytest.approx(found.value)


def test_an_expected_speedup_has_the_jackknifes_error_of_a_ratio_over_prompts() -> None:
    one, costs = counts(3), Costs(0.1, 0.05)
    with_draft_B = one.passes_B + 0.15 * one.drafted_B
    exact = statistics.estimate_ratio(one.tokens_B, with_draft_B, "", statistics.POSITIVE)
    found = supposed_estimate([one], costs).number(0.95)
    assert (found.value, found.low, found.high) == pytest.approx(
        (exact.value, exact.low, exact.high)
    )


def test_the_cost_model_predicts_scored_prompts_as_it_does_those_an_engine_counted() -> None:
    one, timed = counts(3), parts(noise=0.1)
    engine = {
        "runs": [1.0] * len(one.tokens_B),
        "tokens": one.tokens_B.tolist(),
        "passes": one.passes_B.tolist(),
        "drafted": one.drafted_B.tolist(),
    }
    condition = SpeedCondition("reference", 0.0, 3, 5, 4, "float32")
    numbers = dict(cost_model_numbers(condition, timed, engine, None))
    found = expected_estimate(one, timed, 1, 3, "kd")
    assert found is not None
    assert math.exp(found.value) == pytest.approx(numbers["predicted_speedup"].value)
    assert expected_estimate(one, timed, 8, 3, "kd") is None  # not timed


def test_what_moves_both_alike_drops_out_of_a_difference() -> None:
    noise = RNG.normal(size=6)
    slow, fast = (measured_estimate(np.exp(noise + shift).tolist()) for shift in (0.1, 0.2))
    assert fast.minus(slow).ends(0.95) == pytest.approx((0.1, 0.1))
    other = Estimate(slow.value, {"others": slow.moves["blocks"]})
    low, high = fast.minus(other).ends(0.95)
    assert low < 0.1 < high


def test_of_tied_lengths_the_shortest_that_pays_is_named() -> None:
    base = np.array([0.30, 0.32, 0.28, 0.31, 0.29])
    jitter = np.array([0.01, -0.01, 0.03, -0.02, 0.03])
    ratios = {1: base - 0.2, 2: base, 3: base + jitter, 5: base - 0.15}
    found = recommend(
        {gamma: measured_estimate(np.exp(logs).tolist()) for gamma, logs in ratios.items()}
    )
    assert (found.gamma, found.highest, found.tied) == (2, 3, (2, 3))
    assert not found.loses


def test_a_tied_length_that_may_not_pay_is_passed_over() -> None:
    sure = np.array([0.30, 0.31, 0.29, 0.30, 0.30])
    wild = np.array([0.9, -0.5, 0.8, -0.4, 0.6])
    found = recommend(
        {1: measured_estimate(np.exp(wild).tolist()), 4: measured_estimate(np.exp(sure).tolist())}
    )
    assert found.tied == (1, 4)
    assert found.gamma == 4


def test_a_length_that_pays_for_certain_is_named_below_a_higher_one_that_may_not() -> None:
    sure = np.array([0.10, 0.11, 0.09, 0.10, 0.10])
    wild = np.array([0.9, -0.5, 0.8, -0.4, 0.6])
    found = recommend(
        {1: measured_estimate(np.exp(sure).tolist()), 4: measured_estimate(np.exp(wild).tolist())}
    )
    assert (found.gamma, found.highest, found.tied) == (1, 4, (1, 4))


@pytest.mark.parametrize(
    ("logs", "loses", "tied"),
    [([-0.3, -0.31, -0.29], True, (0,)), ([0.3, -0.3, 0.2], False, (0, 2))],
)
def test_what_does_not_pay_for_certain_is_not_named(
    logs: Sequence[float], loses: bool, tied: tuple[int, ...]
) -> None:
    found = recommend({2: measured_estimate(np.exp(logs).tolist())})
    assert (found.gamma, found.loses, found.tied) == (0, loses, tied)


def test_one_prompt_says_nothing_of_its_spread() -> None:
    found = recommend({1: supposed_estimate([counts(1, prompts=1)], Costs(0.0))})
    assert (found.gamma, found.tied) == (0, (0, 1))
    assert (found.number(1).low, found.number(1).high) == (None, None)


def test_of_no_lengths_nothing_is_chosen() -> None:
    with pytest.raises(ValueError, match="no block lengths"):
        recommend({})


@pytest.mark.parametrize("drafts", [1, 4])
def test_chance_is_named_a_winner_in_no_more_than_5_of_100_runs(drafts: int) -> None:
    """Five lengths that neither win nor lose: 2.5 % is what the level allows on this side."""
    rng = np.random.default_rng(11)

    def names_one() -> bool:
        shared = rng.normal(size=6)
        logs = {gamma: 0.1 * (shared + rng.normal(size=6)) for gamma in range(1, 6)}
        found = {gamma: measured_estimate(np.exp(each).tolist()) for gamma, each in logs.items()}
        return recommend(found, drafts).gamma > 0

    assert sum(any([names_one() for _ in range(drafts)]) for _ in range(400)) / 400 <= 0.05


def test_drafts_that_cannot_be_told_from_the_best_are_its_rivals() -> None:
    base = np.array([0.40, 0.42, 0.38, 0.41, 0.39])
    jitter = np.array([0.03, -0.02, 0.01, -0.01, -0.02])
    logs = {"kd": base, "lookup": base + jitter, "small": base - 0.2, "bad": base - 0.8}
    found = {
        name: recommend({3: measured_estimate(np.exp(it).tolist())}) for name, it in logs.items()
    }
    assert drafts_to_serve(found) == ["kd", "lookup"]
    assert drafts_to_serve({"bad": found["bad"]}) == []


def test_a_draft_timed_at_one_text_drafts_for_one_after_another() -> None:
    timed = parts()
    widened = [replace(p, batch_size=4, seconds=2 * p.seconds) for p in timed if p.who == "target"]
    every = with_drafting_in_turn([*timed, *widened])
    assert (timed_batch_sizes([*timed, *widened]), timed_batch_sizes(every)) == ([1], [1, 4])
    drafting = [p.seconds for p in every if p.who == "draft" and p.batch_size == 4 and p.context]
    assert drafting == pytest.approx([0.8] * 7)
    assert with_drafting_in_turn(timed) == timed
    assert longest_timed_block(timed) == 4


WAVE = np.array([-0.1, 0.1, -0.05, 0.05, 0.0])  # logarithms of five blocks: sum 0


def advice(mean: float, drafts: int = 1, size: float = 1.0) -> Advice:
    """Return the advice on a draft from five blocks of this mean logarithm."""
    return recommend({4: measured_estimate(np.exp(mean + size * WAVE).tolist())}, drafts)


def test_blocks_that_cannot_tell_a_draft_from_none_name_how_many_would() -> None:
    found = doubt_of({"kd": advice(0.05)})

    assert found is not None
    assert (found.draft, found.rival, found.blocks) == ("kd", "", 5)
    assert found.needed is not None
    assert found.needed > 5
    for blocks, pays in ((found.needed, True), (found.needed - 1, False)):
        # Blocks with the same mean and spread: the standard deviation of WAVE, scaled.
        logs = np.resize([-1.0, 1.0], blocks) - (blocks % 2) * np.resize([-1.0, 1.0], blocks).mean()
        logs *= WAVE.std(ddof=1) / logs.std(ddof=1)
        moves = {"blocks": math.sqrt(math.pi / 2) * (logs - logs.mean())}
        assert (recommend({4: Estimate(0.05, moves)}).gamma == 4) == pays


def test_advice_that_is_sure_has_no_doubt() -> None:
    assert doubt_of({"kd": advice(0.9)}) is None
    assert doubt_of({"kd": advice(-0.9)}) is None  # known to be slower
    assert doubt_of({"kd": advice(0.9, 2), "sft": advice(-0.9, 2)}) is None


def test_a_rival_that_may_be_faster_is_a_doubt_whether_or_not_it_is_known_to_pay() -> None:
    kd = advice(0.5, 2)
    tied = recommend({4: measured_estimate(np.exp(0.48 - WAVE).tolist())}, 2)
    wild = recommend({4: measured_estimate(np.exp(0.2 - 9 * WAVE).tolist())}, 2)

    assert (tied.gamma, wild.gamma) == (4, 0)
    assert doubt_of({"kd": kd, "sft": tied}) == Doubt("kd", "sft", 5, None)  # over MOST_BLOCKS
    found = doubt_of({"kd": kd, "sft": wild})
    assert found is not None
    assert (found.draft, found.rival) == ("kd", "sft")
    assert found.needed is None or found.needed <= MOST_BLOCKS


def test_two_runs_of_the_same_draft_say_which_of_them_cannot_tell() -> None:
    """Of runs of five blocks with a true speedup of 1.1 some advise the draft, some cannot tell."""
    rng = np.random.default_rng(0)
    runs = [
        {"kd": recommend({4: measured_estimate(np.exp(rng.normal(0.1, 0.08, 5)).tolist())})}
        for _ in range(100)
    ]
    served = [bool(drafts_to_serve(run)) for run in runs]

    assert 10 < sum(served) < 90  # advice flips
    assert [doubt_of(run) is None for run in runs] == served
