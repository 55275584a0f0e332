"""Trackers: those that Accelerate knows, told what is so, and a word where one is missing."""

import json
from pathlib import Path
from typing import get_args

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from draftmark.config.model_sections import Tracker
from draftmark.errors import UserError
from draftmark.training.trackers import JSON_LINES, Journal, check_installed


def test_the_trackers_are_accelerates_and_our_own() -> None:
    assert set(get_args(Tracker)) == {"jsonl", *LOGGER_TYPE_TO_CLASS}


def test_a_missing_package_comes_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    check_installed(["jsonl"])
    with pytest.raises(UserError, match=r"'comet_ml'.*`pip install comet-ml`"):
        check_installed(["jsonl", "comet_ml"])


def test_a_training_on_the_way_is_told_by_its_name_and_a_run_goes_on_in_its_file(
    tmp_path: Path,
) -> None:
    for step in (1, 2):
        journal = Journal.open(["jsonl"], tmp_path / "run", {"passes": 2, "budget": None})
        journal.log({"loss": 0.5}, step)
        journal.aside("reference").log({"loss": 0.25}, step)
        journal.close()

    lines = (tmp_path / "run" / JSON_LINES).read_text("utf-8").splitlines()
    once = [{"settings": {"passes": 2}}, {"step": 1, "loss": 0.5}]
    once.append({"step": 1, "reference/loss": 0.25})
    assert [json.loads(line) for line in lines[:3]] == once
    assert len(lines) == 6


def test_without_trackers_or_without_a_place_nothing_is_written(tmp_path: Path) -> None:
    Journal.open([], tmp_path / "run", {}).log({"loss": 1.0}, 1)
    Journal.open(["jsonl"], None, {}).log({"loss": 1.0}, 1)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_writes_into_the_folder_of_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    journal = Journal.open(["tensorboard"], tmp_path / "run", {"passes": 2.0, "text": "dataset"})
    journal.log({"loss": 0.5}, 1)
    journal.log({"loss": 0.25}, 2)
    journal.close()

    written = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [(event.step, event.value) for event in written.Scalars("loss")] == [(1, 0.5), (2, 0.25)]
