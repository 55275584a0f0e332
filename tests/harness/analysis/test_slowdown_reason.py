"""Which term takes the speedup: each one where the others are as they should be."""

from dataclasses import replace

import pytest

from draftmark.analysis.slowdown_reason import Terms, why_slower

GOOD = Terms(2.5, 3.0, 0.1, 0.02, 1, 1.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"overhead": 3.0},
            "engine overhead: a drafted token saves 0.50 of a plain pass",
        ),
        ({"tokens_per_pass": 1.2}, "acceptance too low"),
        ({"cost_ratio": 0.7}, "cost ratio too high"),
        ({"verification_cost": 0.9, "batch_size": 16}, "batch too large"),
        ({"verification_cost": 0.9}, "verification too dear"),
        ({"tokens_per_pass": 1.0, "drafted_per_pass": 0.0}, "nothing is drafted"),
    ],
)
def test_the_reason_is_the_term_that_is_wrong(changes: dict[str, float], reason: str) -> None:
    assert why_slower(replace(GOOD, **changes)).startswith(reason)  # type: ignore[arg-type]


def test_noise_below_zero_is_no_gift() -> None:
    assert replace(GOOD, verification_cost=-0.2).cost == GOOD.cost_ratio
