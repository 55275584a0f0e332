"""Alpaca: how a row becomes a prompt, which rows have no answer, what is graded."""

import re

import pytest

from draftmark.tasks.alpaca import TASK, left_out, to_example


def _row(output: str, extra: str = "") -> dict[str, str]:
    return {"instruction": "Name a colour.", "input": extra, "output": output}


@pytest.mark.parametrize(
    ("extra", "content"),
    [
        ("", "Name a colour."),
        (" \n", "Name a colour."),
        ("As in a rainbow.", "Name a colour.\n\nAs in a rainbow."),
        ("Noinput", "Name a colour.\n\nNoinput"),
    ],
)
def test_the_input_if_there_is_one_is_below_the_instruction(extra: str, content: str) -> None:
    example = to_example("alpaca/test/17", _row("Red.", extra))

    assert example.id == "alpaca/test/17"
    assert example.messages == ({"role": "user", "content": content},)
    assert example.reference == "Red."


@pytest.mark.parametrize("row", [{"instruction": "a", "output": "b"}, _row("b") | {"input": None}])
def test_a_row_whose_input_is_no_text_is_malformed(row: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no text in column 'input'"):
        to_example("alpaca/test/0", row)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "empty output"),
        (" \n", "empty output"),
        ("<nooutput>", "placeholder for an output"),
        ("<No output>", "placeholder for an output"),
        ("<nooutput> A model cannot draw.", "placeholder for an output"),
        ("No output required", "placeholder for an output"),
        ("<noinput>", "placeholder for an output"),
        ("\N{SMILING FACE WITH OPEN MOUTH}", "output that ROUGE cannot read"),
        ("... --- ...", "output that ROUGE cannot read"),
        ("<noinput>\nA title", None),
        ("There is no output.", None),
        ("No.", None),
        ("7", None),
    ],
)
def test_rows_without_an_answer_to_compare_with_are_left_out(
    output: str, reason: str | None
) -> None:
    assert left_out(_row(output)) == reason


def test_the_gold_answer_is_right_and_another_is_not() -> None:
    example = to_example("alpaca/test/0", _row("Red is a colour."))

    assert TASK.grade(example, "Red is a colour.")[TASK.headline] == 1.0
    assert TASK.grade(example, "Blue")[TASK.headline] == 0.0


def test_the_splits_cut_from_the_one_upstream_split_are_disjoint() -> None:
    assert TASK.hub.splits == {
        "train": "train[:-5200]",
        "validation": "train[-5200:-2600]",
        "test": "train[-2600:]",
    }
    rows = range(52_002)
    taken = []
    for slicing in TASK.hub.splits.values():
        start, stop = re.fullmatch(r"train\[(-?\d*):(-?\d*)\]", slicing).groups()  # type: ignore[union-attr]
        taken += rows[slice(int(start) if start else None, int(stop) if stop else None)]
    assert sorted(taken) == list(rows)
    assert len(TASK.hub.revision) == 40
