"""The facts of rows in a merged result hold those of all its runs, whichever run comes first."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from board_runs import board_run

from draftmark.analysis.merging.joint_data import joint_data
from draftmark.analysis.merging.parts import open_parts

OF_TEST = {
    "rows": {"test": 4},
    "digest": {"test": "1"},
    "source": {"test": "samples"},
    "left_out": {"test": {}},
    "hub": {"test": {"commit": "a"}},
}
OF_TRAIN = {
    "rows": {"train": 8},
    "digest": {"train": "2"},
    "source": {"train": "file"},
    "left_out": {"train": {"empty": 1}},
    "hub": {"train": {"commit": "b"}},
}
BOTH = {fact: {**OF_TRAIN[fact], **of_test} for fact, of_test in OF_TEST.items()}


@pytest.mark.parametrize("trained_first", [True, False])
def test_a_run_that_trains_nothing_hides_no_facts_of_training_rows(
    trained_first: bool, tmp_path: Path
) -> None:
    board_run(tmp_path / "run", {"kd": (0.6,)})
    (part,) = open_parts({tmp_path / "run": tmp_path / "run"})
    own: dict[str, Any] = {"task": "gsm8k", "pair": "tiny", "overlaps": []}
    parts = [
        replace(part, record=replace(part.record, data=(MappingProxyType({**own, **facts}),)))
        for facts in (BOTH, OF_TEST)
    ]
    joined = joint_data(parts if trained_first else parts[::-1])["gsm8k", "tiny"]
    assert {fact: joined[fact] for fact in BOTH} == BOTH
