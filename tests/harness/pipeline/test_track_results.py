"""Results in trackers: each cell's numbers, with what they mean."""

import json
import re
from dataclasses import replace
from pathlib import Path

from stored_runs import NUMBER, run_of

from draftmark.pipeline.track_results import track_results
from draftmark.training.trackers import JSON_LINES


def test_each_cell_is_a_step_with_its_numbers_and_the_settings_define_them(tmp_path: Path) -> None:
    results = run_of(tmp_path / "run", {"kd (a)": [[0.5, 0.7]], "lk": [[0.6, 0.6]]})
    failed = replace(results.results[1], failure="it broke")
    results = replace(results, results=(results.results[0], failed))
    track_results(results, ("jsonl",), tmp_path / "logs")
    first, *steps = map(json.loads, (tmp_path / "logs" / JSON_LINES).read_text().splitlines())
    assert first["settings"]["definition.acceptance_rate"] == NUMBER.definition
    (step,) = steps
    name = "gsm8k/p/kd_a/seed0/acceptance_rate_t_0_gamma_4"
    assert step[name] == results.results[0].numbers["acceptance_rate[t=0,gamma=4]"].value
    assert (step[f"{name}.low"], step[f"{name}.high"]) == (NUMBER.low, NUMBER.high)
    assert all(re.fullmatch(r"[\w./-]+", key) for key in step)


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    track_results(run_of(tmp_path / "run", {"kd": [[0.5]]}), (), tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
