"""The pictures of measured results are drawn from their published pages."""

import importlib.util

import pytest
from places import in_repository

from draftmark.reports._figures.run import DrawnRun

spec = importlib.util.spec_from_file_location(
    "draw_measured", in_repository("tools/draw_measured.py")
)
assert spec
assert spec.loader
draw_measured = importlib.util.module_from_spec(spec)
spec.loader.exec_module(draw_measured)


def test_the_picture_of_the_front_has_six_methods_two_tasks_and_both_temperatures() -> None:
    found = draw_measured.front_results().comparisons
    assert len(found) == 6 * 2 * 2
    assert {item.against for item in found} == {"kd"}
    (lk,) = (
        item
        for item in found
        if (item.contender.task, item.contender.method) == ("gsm8k", "lk")
        and "t=1" in item.quantity
    )
    number = lk.difference
    assert (number.value, number.low, number.high, number.n) == (0.010, 0.007, 0.013, 48)
    assert lk.adjusted_p == 0.001


@pytest.mark.parametrize(
    ("task", "unmoved"),
    [
        ("gsm8k", ["adaspec, kd's compute", "dld", "sft"]),
        ("xsum", ["adaspec, kd's compute", "adaspec, random tokens", "dld"]),
    ],
)
def test_drafts_that_stayed_at_their_start_are_those_that_the_page_names(
    task: str, unmoved: list[str]
) -> None:
    results = draw_measured.read_results(task)
    assert (
        sorted(item.method for item in DrawnRun(results, draw_measured.FOLDER).unmoved) == unmoved
    )
