"""The cost model of measured parts: what it predicts, and overhead as its residual."""

import math
from dataclasses import replace

import pytest

from draftmark.analysis.cost_model import predictions
from draftmark.config.sections import SpeedCondition
from draftmark.results import Number
from draftmark.store.speed_records import TimedPass

GAMMA = 3
UNDER = SpeedCondition("reference", 0.0, GAMMA, 5, 4, "float32")
# 100 passes of blocks of 3 that give 250 tokens, in 5 runs.
COUNTS = {"runs": [5.0], "tokens": [250.0], "passes": [100.0], "drafted": [300.0]}
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
    told = parts(**changes)  # type: ignore[arg-type]
    return {name: n.value for name, n in predictions(UNDER, told, COUNTS, MEASURED)}


def test_the_terms_are_in_plain_passes_and_the_prediction_is_the_cost_models() -> None:
    found = values()
    assert found["cost_ratio"] == pytest.approx(0.25)
    assert found["verification_cost"] == pytest.approx(0.1)
    assert found["predicted_speedup"] == pytest.approx(250 / (100 + 300 * (0.25 + 0.1)))
    assert found["overhead"] == pytest.approx(found["predicted_speedup"] / 1.5)


def test_the_interval_of_the_overhead_has_the_spread_of_both() -> None:
    exact = {name: n for name, n in predictions(UNDER, parts(), COUNTS, MEASURED)}
    assert exact["overhead"].high == pytest.approx(exact["overhead"].value * 2.0 / 1.5)
    noisy = [*parts(), *(replace(part, repeat=2) for part in parts(draft=0.9) if part.repeat == 0)]
    found = {name: n for name, n in predictions(UNDER, noisy, COUNTS, MEASURED)}
    halves = [
        math.log((found[name].high or 0) / found[name].value)
        for name in ("overhead", "predicted_speedup")
    ]
    assert halves[0] == pytest.approx(math.hypot(halves[1], math.log(2.0 / 1.5)))


def test_a_drifting_clock_does_not_widen_ratios() -> None:
    for name, number in predictions(UNDER, parts(), COUNTS, MEASURED):
        if name in ("cost_ratio", "predicted_speedup"):
            assert number.low == pytest.approx(number.high)


def test_prefill_of_both_models_counts_once_for_each_run() -> None:
    found = values(prefills=True)
    alone, together = 5 * 8 + 250 * 2, 5 * (8 + 2) + 100 * 2 + 300 * (0.5 + 0.2)
    assert found["predicted_speedup"] == pytest.approx(alone / together)


def test_a_proposal_costs_each_of_its_tokens_alike() -> None:
    told = [
        p if p.who == "target" else TimedPass("draft", p.repeat, 1, 10, 4, 4.0) for p in parts()
    ]
    found = {name: n.value for name, n in predictions(UNDER, told, COUNTS, None)}
    assert found["cost_ratio"] == pytest.approx(1.0 / (2.0 * 2**0.5))
    assert "overhead" not in found


def test_nothing_is_said_of_batch_sizes_that_were_not_timed() -> None:
    widened = SpeedCondition("reference", 0.0, GAMMA, 5, 4, "float32", batch_size=8)
    assert list(predictions(widened, parts(), COUNTS, MEASURED)) == []
    alone = [part for part in parts() if part.who == "target"]
    assert list(predictions(UNDER, alone, COUNTS, MEASURED)) == []
