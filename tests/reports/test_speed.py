"""The speed report: each measurement in a row, the noise, and why a draft makes things slower."""

import json
from pathlib import Path
from typing import Any

import pytest

from draftmark.reports.speed import REPORT
from draftmark.results import Cell, Number, Result, Results

PLAIN = "gamma=3,engine=transformers,t=0,batch=1,length=natural"
WIDE = "gamma=3,engine=vllm,t=0,batch=8,length=natural"
SPEED = {"blocks": 5, "length": "natural"}
SCORED = {"evaluation": {"num_speculative_tokens": 3, "temperatures": [0.0]}}


def number(value: float, spread: float = 0.05) -> Number:
    return Number(value, value - spread, value + spread, 5, "")


def model(speedup: float, tau: float, c: float, w: float) -> dict[str, Number]:
    return {
        "speedup": number(speedup),
        "predicted_speedup": number(tau / (1 + 3 * (c + w))),
        "overhead": number(tau / (1 + 3 * (c + w)) / speedup),
        "counted_block_efficiency": number(tau),
        "counted_drafted": number(3.0),
        "cost_ratio": number(c),
        "verification_cost": number(w),
    }


def text_of(numbers: dict[str, Number], speed: Any = SPEED, **more: Any) -> str:
    row = Result(Cell("gsm8k", "p", "kd", 0), numbers, None, {}, **more)
    results = Results("r", "A <title>", {"speed": speed, **SCORED}, (row,), (), (), (), (), {})
    return REPORT(results, Path())["speed.md"]


def test_each_measurement_is_a_row_with_its_model_beside_it() -> None:
    numbers = {f"{name}[{PLAIN}]": n for name, n in model(1.3, 2.5, 0.1, 0.02).items()}
    numbers |= {f"speedup[{WIDE}]": number(1.1), "speedup": number(1.3)}
    text = text_of(numbers)
    assert "| kd | transformers | 0 | 1 | 3 | 1.300 [1.250, 1.350] | 1.838" in text
    assert "| kd | vllm | 0 | 8 | 3 | 1.100 [1.050, 1.150] | - | - |" in text
    assert "slower" not in text
    assert "A &lt;title&gt;" in text


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (model(0.8, 1.3, 0.2, 0.0), "0.80, acceptance too low"),
        (model(0.8, 2.0, 0.9, 0.0), "0.80, cost ratio too high"),
        (model(0.98, 2.5, 0.1, 0.0), "0.98 (the interval contains 1), engine overhead"),
        ({"speedup": number(0.7)}, "0.70, reason unknown: no cost model"),
    ],
)
def test_a_draft_that_makes_things_slower_is_named_with_the_reason(
    told: dict[str, Number], reason: str
) -> None:
    text = text_of({f"{name}[{PLAIN}]": n for name, n in told.items()})
    assert f"- kd, transformers, T=0, batch 1, blocks of 3: {reason}" in text


def test_timings_of_the_targets_passes_that_differ_are_said_to() -> None:
    """The drafts of a target time its verifying pass one by one; engines of a draft share it."""

    def text_with(*costs: float) -> str:
        rows = tuple(
            Result(
                Cell("gsm8k", "p", f"kd{i}", 0),
                {
                    f"{name}[{where}]": n
                    for name, n in model(1.3, 2.5, 0.1, w).items()
                    for where in (PLAIN, PLAIN.replace("transformers", "vllm"))
                },
                None,
                {},
            )
            for i, w in enumerate(costs)
        )
        results = Results("r", "A", {"speed": SPEED, **SCORED}, rows, (), (), (), (), {})
        return REPORT(results, Path())["speed.md"]

    assert "each draft: 0.020 to 0.154 at batch 1 and blocks of 3." in text_with(0.1, 0.154, 0.02)
    assert "over repeats in one process" in text_with(0.1)
    assert "timed anew" not in text_with(0.1)


def test_arms_of_other_lengths_are_flagged_and_have_no_speedup() -> None:
    text = text_of({f"same_length[{PLAIN}]": number(0.75)})
    assert "| none: 25% of texts differ in length with the draft |" in text


def test_times_memory_and_energy_stand_beside_where_they_were_told() -> None:
    draft, target = f"arm=draft,{PLAIN}", f"arm=target,{PLAIN}"
    numbers = {
        f"speedup[{PLAIN}]": number(1.2),
        f"first_token_s[{target}]": number(0.1),
        f"first_token_s[{draft}]": number(0.2),
        f"peak_bytes[{draft}]": Number(2e9, None, None, 5, ""),
    }
    text = text_of(numbers)
    assert "first token, ms, alone | first token, ms, with draft |" in text
    assert "| 100.00 [50.00, 150.00] | 200.00 [150.00, 250.00] | 2.000 |" in text
    assert "energy" not in text


def test_the_noise_floor_says_whether_it_holds_one_and_how_wide_it_is() -> None:
    floors = {
        "noise_floor[engine=transformers,t=0,batch=1,length=fixed]": number(1.01, 0.02),
        "noise_floor[engine=vllm,t=0,batch=8,length=fixed]": number(1.2, 0.02),
    }
    text = text_of(floors)
    assert "| transformers | 0 | 1 | 1.010 [0.990, 1.030] | 4.0% | yes |" in text
    assert "| vllm | 0 | 8 | 1.200 [1.180, 1.220] | 4.0% | **no** |" in text


def test_what_failed_is_listed_and_a_run_without_speed_says_so() -> None:
    assert "| kd | gamma=3 | It \\| hung. |" in text_of(
        {}, speed_failures={"gamma=3": "It | hung."}
    )
    assert "| kd | gamma=8 | Not here. |" in text_of({}, speed_refusals={"gamma=8": "Not here."})
    assert "nothing was timed" in text_of({}, speed=None)


def test_a_run_from_before_there_were_fixed_lengths_still_reads() -> None:
    assert "Texts end where the target ends them." in text_of({}, speed={"blocks": 5})


@pytest.mark.parametrize(("blocks", "few"), [(4, True), (5, False)])
def test_so_few_blocks_that_they_tell_little_are_said_to(blocks: int, few: bool) -> None:
    text = text_of({}, speed={"blocks": blocks})
    assert f"95% interval over {blocks} blocks." in text
    assert ("So few blocks tell little" in text) == few


def test_what_arms_were_told_is_shared_by_all_or_stands_in_a_table(tmp_path: Path) -> None:
    for number, gamma in ((0, 1), (1, 3)):
        alone = {"sampling": {"top_p": 1.0, "stop": []}, "drafted": None}
        told = {"engine": "vllm", "target": alone, "draft": {**alone, "drafted": gamma}}
        (tmp_path / f"engine-{number}.json").write_text(json.dumps(told), encoding="utf-8")
    row = Result(Cell("gsm8k", "p", "kd", 0), {}, None, {}, records=".")
    results = Results("r", "t", {"speed": SPEED, **SCORED}, (row,), (), (), (), (), {})
    text = REPORT(results, tmp_path)["speed.md"]
    assert (
        r"In every arm of every run: sampling.stop = \[\], sampling.top_p = 1.0."
        in text.replace(r"\_", "_")
    )
    assert "| drafted | null | 1, 3 |" in text


def test_a_setting_that_one_arm_lacks_is_no_shared_one(tmp_path: Path) -> None:
    told = {"engine": "transformers", "target": {"sample": False}, "draft": {"threshold": 0.0}}
    (tmp_path / "engine.json").write_text(json.dumps(told), encoding="utf-8")
    row = Result(Cell("gsm8k", "p", "kd", 0), {}, None, {}, records=".")
    results = Results("r", "t", {"speed": SPEED, **SCORED}, (row,), (), (), (), (), {})
    text = REPORT(results, tmp_path)["speed.md"]
    assert "In every arm" not in text
    assert "| sample | false | - |" in text
    assert "| threshold | - | 0.0 |" in text
