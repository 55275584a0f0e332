"""Numbers of a measurement whose times are known."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from draftmark.analysis.speeds import (
    block_ratios,
    ratios_of_blocks,
    speed_key,
    speed_numbers,
    unmeasured_numbers,
)
from draftmark.config.recipe import Recipe
from draftmark.config.sections import Speed, SpeedCondition
from draftmark.errors import UserError
from draftmark.store.acceptance_tables import sliding_table
from draftmark.store.cell_records import Records
from draftmark.store.speed_records import Measurement, TimedPass, TimedRun
from draftmark.types import MAX_GAMMA, AcceptanceTable, Arm, Decode, Round, TimedDecode

ABBA: tuple[Arm, ...] = ("target", "draft", "draft", "target")


def recipe_of(**speed: Any) -> Recipe:
    pair = {"name": "p", "target": "tiny-target", "draft": {"pruned": [0, 7]}}
    return Recipe.model_validate(
        {
            "title": "t",
            "tasks": ["gsm8k"],
            "pairs": [pair],
            "methods": [{"name": "untrained"}],
            "speed": {"blocks": 2, **speed},
        }
    )


def decode_of(name: str, tokens: Sequence[int], rounds: Sequence[Round]) -> Decode:
    return Decode(name, tuple(tokens), 3, tuple(rounds), 0.5, 1.5, "length", 0.5)


def measured(
    seconds: Sequence[tuple[float, float]], *, drafted: Sequence[int] = (1, 2, 3, 4)
) -> Measurement:
    """Return blocks of one prompt, with the seconds of a run without and with the draft."""
    alone, together = [Round(0, 0)] * 4, [Round(3, 2), Round(1, 0)]
    decodes, runs = [], []
    for block, (without, with_draft) in enumerate(seconds):
        repeats: dict[Arm, int] = {"target": 0, "draft": 0}
        for arm in ABBA:
            target = arm == "target"
            text = decode_of(
                f"p{block}", (1, 2, 3, 4) if target else drafted, alone if target else together
            )
            decodes.append(TimedDecode(arm, block, repeats[arm], text))
            runs.append(
                TimedRun(
                    arm, block, repeats[arm], without if target else with_draft, 10 + target, 8.0
                )
            )
            repeats[arm] += 1
    return Measurement(decodes, runs, {})


def numbers_of(measurements: dict[SpeedCondition, Measurement], recipe: Recipe, **more: Any) -> Any:
    records = Records(speeds=measurements, **more)
    return speed_numbers(records, recipe)


@pytest.mark.parametrize("lacking", ["time", "tokens"])
def test_a_block_without_an_arms_time_or_tokens_is_named(lacking: str) -> None:
    runs = [TimedRun("target", 0, 0, 2.0, 10, 8.0), TimedRun("draft", 0, 0, 1.0, 10, 8.0)]
    tokens: dict[tuple[int, Arm], int] = {(0, "target"): 4, (0, "draft"): 4}
    assert ratios_of_blocks(tokens, runs) == [2.0]
    if lacking == "time":
        del runs[1]
    else:
        del tokens[0, "draft"]
    with pytest.raises(UserError, match="no time or no tokens of the draft in block 0"):
        ratios_of_blocks(tokens, runs)


def test_without_a_speed_section_or_timed_passes_no_speed_is_expected() -> None:
    speed = recipe_of().speed
    assert speed
    assert unmeasured_numbers(None, [TimedPass("target", 0, 1, 16, 1, 1.0)], {}) == {}
    assert unmeasured_numbers(speed, [], {}) == {}


def test_the_first_measurement_is_the_headline_and_each_has_its_own_keys() -> None:
    recipe = recipe_of(num_speculative_tokens=[3, 5])
    assert recipe.speed is not None
    first, second = recipe.speed.conditions()
    found = numbers_of(
        {first: measured([(4.0, 2.0), (4.0, 2.0)]), second: measured([(3.0, 3.0), (8.0, 2.0)])},
        recipe,
    )
    assert found["speedup"] == found[speed_key("speedup", first.label)]
    assert found["speedup"].value == pytest.approx(2.0)
    assert found[speed_key("speedup", second.label)].value == pytest.approx(2.0)  # of 1 and 4
    label = "gamma=5,engine=reference,t=0,batch=1,length=natural"
    assert second.label == label
    draft = f"arm=draft,{label}"
    assert found[f"first_token_s[{draft}]"].value == pytest.approx(0.5)
    assert found[f"token_s[{draft}]"].value == pytest.approx(1.5 / 3)
    assert found[f"peak_bytes[{draft}]"].value == 10
    assert found[f"peak_bytes[arm=target,{label}]"].value == 11
    assert found[f"energy_j[{draft}]"].value == pytest.approx(8.0 / 4)
    assert found[f"counted_block_efficiency[{label}]"].value == pytest.approx(4 / 2)
    assert found[f"counted_drafted[{label}]"].value == pytest.approx(4 / 2)


def test_texts_of_other_lengths_give_no_speedup_at_temperature_zero() -> None:
    recipe = recipe_of()
    condition = Speed(blocks=2).conditions()[0]
    shorter = measured([(4.0, 2.0), (4.0, 2.0)], drafted=(1, 2))
    found = numbers_of({condition: shorter}, recipe)
    assert not any(name.startswith("speedup") for name in found)
    assert found[speed_key("same_length", condition.label)].value == 0
    warm = replace(condition, temperature=1.0)
    assert numbers_of({warm: shorter}, recipe)[speed_key("speedup", warm.label)].value == 1.0


def test_both_runs_of_an_arm_count_in_a_blocks_ratio() -> None:
    """A B B A take 3, 1, 2 and 7 seconds for 4 tokens each: 10 / 8 against 3 / 8 a token."""
    block = measured([(0.0, 0.0)])
    runs = [replace(run, wall_s=s) for run, s in zip(block.runs, (3.0, 1.0, 2.0, 7.0), strict=True)]
    assert block_ratios(replace(block, runs=runs)) == [pytest.approx(10 / 3)]
    longer = [
        replace(item, decode=decode_of("p0", (1,) * 8, [])) if item.arm == "draft" else item
        for item in block.decodes
    ]
    assert block_ratios(replace(block, runs=runs, decodes=longer)) == [pytest.approx(20 / 3)]


def test_the_peak_of_an_arm_is_its_largest_and_prefills_token_is_no_token_of_a_pass() -> None:
    recipe = recipe_of()
    condition = Speed(blocks=2).conditions()[0]
    block = measured([(4.0, 2.0), (4.0, 2.0)])
    runs = [replace(run, peak_bytes=100 + number) for number, run in enumerate(block.runs)]
    facts = {"draft": {"convention": {"prefill_emits_first": True}}}
    found = numbers_of({condition: replace(block, runs=runs, engine_facts=facts)}, recipe)
    assert found[f"peak_bytes[arm=draft,{condition.label}]"].value == 106  # A B B A A B B A
    counted = found[f"counted_block_efficiency[{condition.label}]"]
    assert counted.value == pytest.approx((4 - 1) / 2)


def test_an_answer_of_prefills_token_alone_counts_among_the_others() -> None:
    recipe = recipe_of()
    condition = Speed(blocks=2).conditions()[0]
    block = measured([(4.0, 2.0), (4.0, 2.0)])
    short = [
        replace(item, decode=decode_of("p0", (9,), [])) if item.block == 0 else item
        for item in block.decodes
    ]
    facts = {"draft": {"convention": {"prefill_emits_first": True}}}
    found = numbers_of({condition: replace(block, decodes=short, engine_facts=facts)}, recipe)
    counted = found[f"counted_block_efficiency[{condition.label}]"]
    assert counted.value == pytest.approx((4 - 1) / 2)
    assert counted.n == 2


def test_the_speedup_is_the_median_block() -> None:
    recipe = recipe_of()
    condition = Speed(blocks=2).conditions()[0]
    found = numbers_of({condition: measured([(s, 1.0) for s in (1.5, 1.2, 9.0, 1.4, 1.3)])}, recipe)
    number = found[speed_key("speedup", condition.label)]
    assert (number.value, number.low, number.high, number.n) == pytest.approx((1.4, 1.2, 9.0, 5))


def _table(name: str) -> AcceptanceTable:
    ones_S = np.ones(4)
    return sliding_table(name, ones_S, ones_S, ones_S, MAX_GAMMA)


def test_passes_are_predicted_for_greedy_texts_that_end_naturally_alone() -> None:
    """The texts of 4 tokens are accepted whole: one pass of up to 4 drafted tokens."""
    recipe = recipe_of()
    condition = Speed(blocks=2).conditions()[0]
    tables = {t: [_table("p0"), _table("p1"), _table("not timed")] for t in (0.0, 1.0)}
    timed = measured([(4.0, 2.0), (4.0, 2.0)])
    for changes, passes in (
        ({}, True),
        ({"temperature": 1.0}, False),
        ({"length": "fixed"}, False),
    ):
        other = replace(condition, **changes)
        found = numbers_of({other: timed}, recipe, tables=tables)
        assert (speed_key("predicted_passes", other.label) in found) == passes
    found = numbers_of({condition: timed}, recipe, tables=tables)
    assert (found["counted_passes"].value, found["counted_passes"].n) == (2, 2)
    assert found["predicted_passes"].value == 1
    one_without = [
        replace(it, decode=replace(it.decode, rounds=())) if it.decode.example_id == "p0" else it
        for it in timed.decodes
    ]
    found = numbers_of({condition: replace(timed, decodes=one_without)}, recipe, tables=tables)
    assert found["counted_passes"].value == pytest.approx(1)


def test_texts_are_identical_if_the_first_runs_are() -> None:
    recipe = recipe_of()
    condition = Speed(blocks=2).conditions()[0]
    block = measured([(4.0, 2.0), (4.0, 2.0)])
    for repeat, share in ((0, 0.5), (1, 1.0)):
        changed = [
            replace(it, decode=replace(it.decode, token_ids=(9, 9, 9, 9)))
            if (it.arm, it.block, it.repeat) == ("draft", 0, repeat)
            else it
            for it in block.decodes
        ]
        found = numbers_of({condition: replace(block, decodes=changed)}, recipe)
        assert found["identical"].value == share


def test_the_noise_floor_is_a_speedup_of_its_own() -> None:
    recipe = recipe_of()
    condition = Speed(blocks=2).conditions()[0]
    floor = measured([(2.0, 2.1), (2.1, 2.0)])
    found = numbers_of({}, recipe, floors={condition: floor})
    number = found["noise_floor[engine=reference,t=0,batch=1,length=natural]"]
    assert number.low < 1 < number.high
    assert list(found) == ["noise_floor[engine=reference,t=0,batch=1,length=natural]"]


PARTS = [
    TimedPass(who, repeat, 1, context, width, seconds)
    for repeat in (0, 1)
    for who, context, width, seconds in (
        ("target", 9, 1, 1.0),
        ("target", 9, 4, 1.3),  # w = 0.1
        ("draft", 9, 1, 0.2),  # c
        ("target", 0, 9, 4.0),
        ("draft", 0, 9, 1.0),
    )
]


def test_the_predicted_speedup_has_a_prefill_for_every_run() -> None:
    """4 runs of the draft's arm: each of 4 tokens in 2 passes, with 4 drafted tokens."""
    recipe = recipe_of(num_speculative_tokens=3, cost_model=True)
    assert recipe.speed is not None
    (condition,) = recipe.speed.conditions()
    found = numbers_of({condition: measured([(4.0, 2.0), (4.0, 2.0)])}, recipe, parts=PARTS)
    expected = (4 * 4 + 16) / (4 * (4 + 1) + 8 + 16 * (0.2 + 0.1))
    key = speed_key("predicted_speedup", condition.label)
    assert found[key].value == pytest.approx(expected)


def test_a_draft_that_no_engine_ran_has_its_costs_and_an_expected_speedup() -> None:
    """Texts of 4 tokens: all 3 drafted are accepted, and the block gives 4; or none is."""
    recipe = recipe_of(engine="vllm", num_speculative_tokens=3, cost_model=True)
    assert recipe.speed is not None
    (condition,) = recipe.speed.conditions()
    zeros_S = np.zeros(4)
    none = sliding_table("p1", zeros_S, zeros_S, zeros_S, MAX_GAMMA)
    # The text may go on, so a block drafts 3 tokens wherever it starts.
    tables = [replace(table, limit=100) for table in (_table("p0"), none)]
    found = numbers_of({}, recipe, parts=PARTS, tables={0.0: tables})
    assert found.keys() == {
        speed_key(name, condition.label)
        for name in ("cost_ratio", "verification_cost", "expected_speedup")
    }
    passes, drafted = 1 + 4, 3 + 4 * 3
    expected = (2 * 4 + 8) / (2 * (4 + 1) + passes + drafted * (0.2 + 0.1))
    number = found[speed_key("expected_speedup", condition.label)]
    assert number.value == pytest.approx(expected)
    assert number.low < expected < number.high
    assert found[speed_key("cost_ratio", condition.label)].value == pytest.approx(0.2)
    assert found[speed_key("verification_cost", condition.label)].value == pytest.approx(0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 1.0},  # not scored
        {"num_speculative_tokens": 4},  # no pass of 5 tokens was timed
        {"batch_sizes": [2]},
    ],
)
def test_nothing_is_expected_of_what_was_neither_scored_nor_timed(changes: dict[str, Any]) -> None:
    recipe = recipe_of(**{"num_speculative_tokens": 3, "cost_model": True, **changes})
    found = numbers_of({}, recipe, parts=PARTS, tables={0.0: [_table("p0"), _table("p1")]})
    assert not any(name.startswith("expected_speedup") for name in found)
    assert any(name.startswith("cost_ratio") for name in found) == ("temperature" in changes)


def test_turns_of_a_conversation_are_one_unit_of_the_expected_speedup() -> None:
    recipe = recipe_of(num_speculative_tokens=3, cost_model=True)
    zeros_S = np.zeros(4)
    whole = [_table(f"c{n}") for n in range(4)]
    none = [sliding_table(f"d{n}", zeros_S, zeros_S, zeros_S, MAX_GAMMA) for n in range(4)]
    alone = [*whole, *none]
    turns = [
        replace(table, example_id=f"mine/{n % 4}/turn-{n // 4}") for n, table in enumerate(alone)
    ]
    numbers = [
        next(
            number
            for name, number in numbers_of({}, recipe, parts=PARTS, tables={0.0: tables}).items()
            if name.startswith("expected")
        )
        for tables in (alone, turns)
    ]
    assert numbers[0].value == pytest.approx(numbers[1].value)
    # Each conversation has a turn that is accepted whole and one that is not: all are alike.
    assert numbers[1].high - numbers[1].low < 1e-6 < numbers[0].high - numbers[0].low
