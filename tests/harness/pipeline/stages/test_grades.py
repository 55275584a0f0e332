"""The stages of quality: what decides their keys, and a whole run with samples and a judge."""

import gzip
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from judge_server import Answer, says, serve

from draftmark.grading.isolation import bubblewrap
from draftmark.grading.sandbox import Sandbox
from draftmark.models.language_model import load_tokenizer
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.render import render_reports
from draftmark.pipeline.runner import run_experiment
from draftmark.pipeline.save_records import save_records
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.store.graph import Job, Node
from draftmark.store.records import GRADES, TEXTS, read_rows, read_texts, write_texts
from draftmark.store.run_folder import save_results
from draftmark.store.store import Store
from draftmark.types import Text

KEY = "sk-THE-SECRET-0123456789"
RECIPE = """
title = "a small run"
tasks = ["{task}"]
threads = 1
speed = false

[data]
sources = ["directory", "samples"]
train_rows = 4
validation_rows = 2
test_rows = 6

[[pairs]]
name = "tiny"
target = "tiny-target"
draft = {{ pruned = [0, 7] }}

[[methods]]
name = "untrained"

[evaluation]
temperatures = [0]
max_new_tokens = 16
"""
SAMPLES = "[evaluation.samples]\ncount = {count}\ntemperatures = [1.0]\nprompts = 3\n"
JUDGE = """
[evaluation.judge]
endpoint = "{endpoint}"
model = "judge-1"
key_variable = "JUDGE_KEY"
prompts = 4
"""
QUIET = Progress(quiet=True)
Prepare = Callable[..., Plan]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    def prepare_recipe(*parts: str, task: str = "gsm8k", **options: Any) -> Plan:
        path = tmp_path / "small.toml"
        path.write_text(RECIPE.format(task=task) + "\n".join(parts))
        return plan_experiment(load_recipe(str(path)), QUIET, **options)

    return prepare_recipe


def _nodes(prepared: Plan) -> dict[str, Node]:
    (outputs,) = prepared.cells.values()
    return {name: output.node for name, output in outputs.items()}


def _programs(folder: Path) -> Path:
    """Write a data directory of MBPP rows; return it."""
    (folder / "mbpp").mkdir()
    for split, count in {"train": 4, "validation": 2, "test": 6}.items():
        with gzip.open(folder / f"mbpp/{split}.jsonl.gz", "wt") as file:
            for number in range(count):
                text = f"Set x to {number}, for the {split} rows."
                row = {
                    "text": text,
                    "code": f"x = {number}",
                    "test_list": [f"assert x == {number}"],
                }
                file.write(json.dumps(row) + "\n")
    return folder


def test_grades_of_programs_that_ran_unisolated_are_served_to_no_safe_run(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _programs(tmp_path)

    def grades(unsafe: bool, task: str = "mbpp") -> str:
        prepared = prepare(
            task=task, data=data if task == "mbpp" else None, sandbox=Sandbox(unsafe)
        )
        return _nodes(prepared)["target grades"].key

    safe = grades(unsafe=False)
    if bubblewrap.why_unavailable() is None:
        assert grades(unsafe=True) == safe  # allowed, and not needed
    monkeypatch.setenv("PATH", "")  # no bubblewrap
    assert grades(unsafe=True) != safe
    assert grades(unsafe=False) == safe
    assert grades(unsafe=True, task="gsm8k") == grades(unsafe=False, task="gsm8k")


def test_a_judge_is_asked_only_if_the_recipe_names_one(prepare: Prepare) -> None:
    assert "verdicts" not in _nodes(prepare())
    assert "verdicts" in _nodes(prepare(JUDGE.format(endpoint="https://x.test/v1")))


def test_the_address_and_the_key_of_a_judge_do_not_decide_its_verdicts(prepare: Prepare) -> None:
    def key(**changes: str) -> str:
        text = JUDGE.format(endpoint="https://x.test/v1")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        return _nodes(prepare(text))["verdicts"].key

    assert key() == key(v1="v2") == key(JUDGE_KEY="OTHER_KEY")
    assert len({key(), key(**{"x.test": "y.test"}), key(**{"judge-1": "j"})}) == 3
    assert len({key(), key(**{"prompts = 4": 'against = "reference"'}), key(**{"4": "3"})}) == 3


@pytest.mark.slow
def test_a_sample_is_the_same_however_many_there_are(prepare: Prepare, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    texts = {}
    for count in (2, 3):
        prepared = prepare(SAMPLES.format(count=count))
        run_experiment(prepared, "small", store, QUIET)
        graded = _nodes(prepared)["samples, draft, t=1"]
        directory = store.load(graded.inputs["texts"]).directory
        texts[count] = read_texts(directory / TEXTS)
        assert len(read_rows(store.load(graded).directory / GRADES)) == 3 * count

    assert texts[3][:6] == texts[2]
    assert len({text.response_ids for text in texts[3][::3]}) == 3


def test_what_is_graded_follows_the_thinking_that_the_prompt_opened(
    prepare: Prepare, tiny_directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_directory, tmp_path / "model")
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text(template.read_text() + "<think>\n")
    node = _nodes(prepare())["target grades"]
    tokenizer = load_tokenizer(tmp_path / "model")
    responses = ["#### 1</think>\n\n#### 2", "#### 3", "<think>#### 4</think>#### 5"]
    texts = [
        Text(f"gsm8k/test/{n}", (1, 2), tuple(tokenizer.encode(response)))
        for n, response in enumerate(responses)
    ]
    write_texts(tmp_path / TEXTS, texts)
    job = Job({"target": tmp_path / "model", "texts": tmp_path}, tmp_path, tmp_path, QUIET)
    assert node.build is not None
    node.build(job)

    graded = read_rows(tmp_path / GRADES)
    assert [row["text"].strip() for row in graded] == ["#### 2", "", "#### 5"]
    assert [row["empty"] for row in graded] == [0, 1, 0]
    assert [row["answered"] for row in graded] == [1, 0, 1]


def _run(prepared: Plan, tmp_path: Path) -> Results:
    results = run_experiment(prepared, "small", Store(tmp_path / "store"), QUIET)
    results = save_records(prepared, results, Store(tmp_path / "store"), tmp_path / "results")
    save_results(results, tmp_path / "results")
    render_reports(results, tmp_path / "results", ["leaderboard"])
    return results


def _holding(text: str, *folders: Path) -> list[Path]:
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert found
    return [path for path in found if text.encode() in path.read_bytes()]


@pytest.fixture
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("JUDGE_KEY", KEY)


def _prefers_the_first(asked: Mapping[str, Any]) -> Answer:
    """Say A, and repeat the key where it should not be: in what is not the verdict."""
    return 200, {**says("A")[1], "debug": asked["authorization"]}


@pytest.mark.slow
@pytest.mark.usefixtures("_key")
def test_a_run_with_samples_and_a_judge_has_their_numbers_and_no_key(
    prepare: Prepare, tmp_path: Path
) -> None:
    with serve(_prefers_the_first) as server:
        prepared = prepare(SAMPLES.format(count=2), JUDGE.format(endpoint=server.endpoint))
        (result,) = _run(prepared, tmp_path).results
    (again,) = _run(prepared, tmp_path).results  # the judge is gone: its verdicts are in the store

    assert result.failure is None
    assert len(server.requests) == 8
    assert {asked["authorization"] for asked in server.requests} == {f"Bearer {KEY}"}
    assert again.numbers == result.numbers
    numbers = {name: number.value for name, number in result.numbers.items()}
    assert (numbers["win_rate"], numbers["judge_flips"], numbers["judge_unclear"]) == (0.5, 1, 0)
    assert result.numbers["win_rate"].n == 4
    assert result.numbers["self_bleu_draft[t=1]"].n == 3
    assert numbers["reference_log_likelihood_draft"] < 0
    files = {path.name for path in (tmp_path / "results/records/00").iterdir()}
    assert {"verdicts.parquet", "draft-samples-t1.parquet", "target-likelihoods.parquet"} <= files
    printed = (tmp_path / "results/leaderboard.md").read_text()
    for title in ("Quality", "Outputs", "Fidelity and diversity", "Judge"):
        assert f"### {title}" in printed
    assert _holding(KEY, tmp_path) == []
    assert _holding("JUDGE_KEY", tmp_path / "store") == []


@pytest.mark.slow
@pytest.mark.usefixtures("_key")
def test_a_judge_that_fails_is_a_reason_and_costs_no_answer_that_came(
    prepare: Prepare, tmp_path: Path
) -> None:
    answers = iter([says("A")] * 3)

    def some(asked: Mapping[str, Any]) -> Answer:
        return next(answers, (401, f"bad key {asked['authorization']}"))

    with serve(some) as server:
        prepared = prepare(JUDGE.format(endpoint=server.endpoint))
        (failed,) = _run(prepared, tmp_path).results
        answers = iter([says("B")] * 8)
        before = len(server.requests)
        (mended,) = _run(prepared, tmp_path).results

    assert failed.failure is not None
    assert "status 401, 'bad key Bearer [key]'" in failed.failure
    assert server.endpoint in failed.failure
    assert mended.failure is None
    assert 5 <= len(server.requests) - before <= 8  # those that came before the failure are kept
    assert _holding(KEY, tmp_path) == []


@pytest.mark.slow
def test_without_the_key_a_run_says_what_to_set(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)

    (result,) = _run(prepare(JUDGE.format(endpoint="http://127.0.0.1:9")), tmp_path).results

    assert "environment variable JUDGE_KEY, which is not set" in str(result.failure)


def test_a_method_without_a_model_is_measured_only_as_a_draft(prepare: Prepare) -> None:
    prepared = prepare(
        '[[methods]]\nname = "prompt_lookup"',
        SAMPLES.format(count=2),
        JUDGE.format(endpoint="http://x.test"),
    )
    outputs = {cell.method: outputs for cell, outputs in prepared.cells.items()}
    lookup, model = outputs["prompt_lookup"], outputs["untrained"]

    alone = {"likelihoods, draft", "samples, draft, t=1", "draft grades", "verdicts"}
    assert {*model} - {*lookup} == alone
    shared = "samples, target, t=1"
    assert lookup[shared].node.key == model[shared].node.key
