"""`--json`: one document on standard output and nothing else there, with the keys of the docs."""

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run_command
from stored_runs import run_of

from draftmark.pipeline.status import RunStatus, StageStatus, status_document


def document(capsys: pytest.CaptureFixture[str], *command: object, code: int = 0) -> Any:
    outcome = run_command(capsys, *command, "--json")
    assert outcome.code == code, outcome
    assert outcome.out.isascii()
    return json.loads(outcome.out)


def test_list_has_a_description_of_each_name(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "list")
    assert list(found) == ["recipes", "tasks", "methods", "engines", "reports", "models"]
    assert {"gsm8k", "mbpp"} <= found["tasks"].keys()
    assert all(isinstance(text, str) for names in found.values() for text in names.values())
    assert found["recipes"]["quickstart"].endswith("tiny target; time: 4 min, 2 cores")
    assert found["methods"]["kd"].endswith("arXiv 1503.02531); trains: a model")


def test_doctor_has_facts_and_its_lines_are_made_of_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = document(capsys, "doctor", "--data", ".")
    assert {"python", "versions", "hardware", "sandbox", "models", "data", "extras"} <= found.keys()
    assert found["quantised"]["fp8"] == []
    assert found["data"] == {"directory": ".", "tasks": []}
    assert isinstance(found["disk_free_bytes"], int)
    lines = run_command(capsys, "doctor", "--data", ".").out
    assert found["python"] in lines
    assert ".: no known task in it" in lines
    assert "fp8 target" in lines


def test_plan_has_every_stage_and_the_total(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = document(capsys, "plan", "quickstart", "--tasks", "gsm8k", "--out", tmp_path)
    (plan,) = found["plans"]
    stages = plan["stages"]
    assert found["total"]["stages"] == len({stage["key"] for stage in stages})
    to_do = [stage for stage in stages if stage["state"] == "to do"]
    assert found["total"]["to_do"] == len(to_do) > 0
    assert found["total"]["flops"] == pytest.approx(sum(stage["flops"] for stage in to_do))
    assert {"task", "pair", "stage", "label", "key", "state", "seconds"} <= stages[0].keys()
    text = run_command(capsys, "plan", "quickstart", "--tasks", "gsm8k", "--out", tmp_path).out
    assert f"{len(stages)} stages, {len(to_do)} to do" in text


@pytest.mark.parametrize(
    ("end", "state"), [(None, "running"), ("", "finished"), ("it died.", "stopped")]
)
def test_status_has_the_state_and_every_stage(end: str | None, state: str) -> None:
    stages = {
        "a": StageStatus("draft", "draft kd", (), "done", seconds=2.0),
        "b": StageStatus("scores", "acceptance", ("a",), "to do"),
    }
    found = status_document(RunStatus("r", "t", 1.0, 5.0, end, stages=stages))
    assert (found["state"], found["reason"]) == (state, end or "")
    assert [item["state"] for item in found["stages"]] == ["done", "to do"]
    assert found["seconds_left"] is None  # no stage of that kind is done, or the run has ended
    json.dumps(found, allow_nan=False)


def test_status_of_an_unknown_run_is_a_sentence_on_the_other_stream(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outcome = run_command(capsys, "status", tmp_path, "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("draftmark: ")


def test_the_gates_verdict_is_the_document_that_it_writes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, accepted = tmp_path / "run", tmp_path / "accepted.json"
    run_of(folder, {"kd": [[0.5, 0.7, 0.6]]})
    assert run_command(capsys, "bless", folder, accepted, "--reason", "first").code == 0
    found = document(capsys, "gate", folder, "--against", accepted)
    assert (found["verdict"], found["quantity"]) == ("PASS", "acceptance_rate")
    assert found == json.loads((folder / "gate.json").read_text("utf-8"))
    assert (folder / "gate.md").is_file()
    run_of(folder, {"other": [[0.5, 0.7, 0.6]]})
    refused = document(capsys, "gate", folder, "--against", accepted, code=2)
    assert "another recipe" in refused["refused"]
