"""The command line: exit codes, and one sentence for what a person can mend."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import pytest
from commands import Outcome, run_command
from places import PACKAGE

from draftmark import registry
from draftmark.analysis.stored_runs import SUMMARY
from draftmark.cli import run
from draftmark.models.cache import model_directory
from draftmark.models.catalogue import CATALOGUE
from draftmark.pipeline import experiment, runner
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.results import Cell, Result, Results
from draftmark.store.entries import ENTRY
from draftmark.store.run_folder import RESULTS, SUMS, save_results
from draftmark.store.store import Store

MANIFEST = {
    "versions": {},
    "git": None,
    "hardware": {"processor": "x", "cores": 1, "accelerators": []},
}


Command = Callable[..., Outcome]


@pytest.fixture
def draftmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Return the command, run in an empty folder without a network or a model cache."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DRAFTMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DRAFTMARK_DATA", raising=False)

    return partial(run_command, capsys)


def _results(failure: str | None = None) -> Results:
    recipe = load_recipe("quickstart").model_dump(mode="json")
    row = Result(Cell("gsm8k", "p", "kd", 0), {}, None, {}, failure)
    return Results("mine", "A title", recipe, (row,), (), (), (), (), MANIFEST)


def _mended(outcome: Outcome) -> str:
    """Return the sentence of a command that a person has to mend: exit code 2, no traceback."""
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("draftmark: ")
    assert last.endswith(".")
    return last


def _files() -> list[Path]:
    """Return all files but the sums beside results, and what a store notes of runs."""
    return sorted(
        path
        for path in Path().rglob("*")
        if path.is_file() and path.name != SUMS and not {"holds", "locks"} & {*path.parts}
    )


def test_the_list_has_everything_that_can_be_named(draftmark: Command) -> None:
    outcome = draftmark("list")

    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert all(len(line) <= 80 and "…" not in line for line in lines)
    shown = [" ".join(line.split()) for line in lines]
    groups = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert groups == ["recipes", "tasks", "methods", "engines", "reports", "models"]
    for described in (
        "quickstart 4 min, 2 cores Plain KD on a tiny target",
        "csd_gpt2 2.4 h, H100 CSD, GPT-2 0.1B for GPT-2 1.5B",
        "gsm8k GSM8K: grade-school mathematics in words",
        "kd a model KD: knowledge distillation on fixed text",
        "prompt_lookup nothing Prompt lookup decoding: copies from the text so far",
        "vllm make vllm vLLM in a process: models, heads and prompt lookup",
        "leaderboard The leaderboard in Markdown: the verdict, then the methods",
        "smollm2-135m-instruct HuggingFaceTB/SmolLM2-135M-Instruct on the hub",
    ):
        assert described in shown


def test_the_list_has_a_line_for_each_name(draftmark: Command) -> None:
    names = [*registry.recipe_names(), *CATALOGUE]
    for group in get_args(registry.Group):
        names += registry.registered_names(group)
    found = [line.split()[0] for line in draftmark("list").out.splitlines() if line[0] == " "]
    assert sorted(found) == sorted(names)


def test_a_long_description_of_a_plug_in_is_cut_to_its_line() -> None:
    entries = [("methods", "trains", "how"), ("  kd", "-", "of a package with " + "a name " * 20)]
    _, line = run._aligned(entries)
    assert len(line) <= 80
    assert line.startswith("  kd     -       of a package with a name")
    assert line.endswith("…")


@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_unknown_recipe_is_one_sentence(draftmark: Command, command: str) -> None:
    sentence = _mended(draftmark(command, "quickstrat"))

    assert "Unknown recipe 'quickstrat'. Did you mean 'quickstart'" in sentence
    assert _files() == []


@pytest.mark.parametrize("command", ["run", "plan", "doctor"])
@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_data_folder_that_is_none_is_one_sentence(
    draftmark: Command, command: str, kind: str
) -> None:
    if kind == "file":
        Path("file").touch()
    recipe = [] if command == "doctor" else ["quickstart"]

    sentence = _mended(draftmark(command, *recipe, "--data", kind))

    assert f"no folder '{kind}'" in sentence
    assert [path.name for path in _files()] == (["file"] if kind == "file" else [])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("gsm8k", "gsm9k"), "Unknown task 'gsm9k'"),
        (("samples", "directory"), "No source has the"),
        (("train_rows = 256", "train_rows = 999999"), "lower data.train_rows"),
        (("tiny-target", "tiny-targit"), "No model 'tiny-targit'"),
    ],
)
def test_a_mistake_in_a_recipe_stops_before_anything_is_written(
    draftmark: Command, change: tuple[str, str], sentence: str
) -> None:
    path = Path("mine.toml")
    path.write_text(_quickstart().replace(*change))

    assert sentence in _mended(draftmark("run", path))
    assert [file.name for file in _files()] == ["mine.toml"]


def _quickstart() -> str:
    return (PACKAGE / "baselines" / "recipes" / "quickstart.toml").read_text("utf-8")


def test_an_unknown_model_is_one_sentence(draftmark: Command) -> None:
    assert "smollm2-135m-instruct" in _mended(draftmark("fetch", "smollm3"))


@pytest.mark.parametrize("option", ["--out", "--store"])
def test_a_place_that_cannot_be_written_to_stops_before_anything_runs(
    draftmark: Command, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(runner, "run_experiment", lambda *_: pytest.fail("ran"))
    Path("file").touch()
    places = {"--out": "results", "--store": "store", option: "file/inside"}

    outcome = draftmark("run", "quickstart", *(item for pair in places.items() for item in pair))

    assert "Cannot write to" in _mended(outcome)


def test_a_plan_writes_nothing_and_says_what_is_to_do(draftmark: Command) -> None:
    outcome = draftmark("plan", "quickstart")

    assert outcome.code == 0
    assert "draft kd, seed 0" in outcome.out
    assert "stages, " in outcome.out
    assert " to do: " in outcome.out
    assert list(Path.cwd().iterdir()) == []


def test_a_plan_survives_an_entry_that_was_cut_short(draftmark: Command) -> None:
    store = Store(Path("store"))
    node = experiment.plan_experiment(load_recipe("quickstart"), Progress(quiet=True)).nodes[-1]
    store.directory(node).mkdir(parents=True)
    (store.directory(node) / ENTRY).write_text('{"key": ')

    assert draftmark("plan", "quickstart", "--store", "store").code == 0


def test_a_failed_cell_is_a_row_and_exit_code_1(
    draftmark: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        runner, "run_experiment", lambda *_: _results("draft kd, seed 0: Mend this.")
    )

    outcome = draftmark("run", "quickstart")

    assert outcome.code == 1
    assert "draft kd, seed 0: Mend this." in outcome.out
    shown = [path for path in _files() if "store" not in path.parts]
    written = {RESULTS, SUMMARY, "quickstart.toml", "leaderboard.md", "answer.txt"}
    assert {path.name for path in shown} == written


def test_reports_are_rendered_again(draftmark: Command) -> None:
    save_results(_results(), Path("mine"))

    outcome = draftmark("report", "mine", "leaderboard")

    assert (outcome.code, outcome.out) == (0, f"Written: {Path('mine/leaderboard.md')}\n")


@pytest.mark.parametrize("option", ["--cost-ratio", "--verification-cost"])
def test_a_cost_below_nothing_is_one_sentence(draftmark: Command, option: str) -> None:
    save_results(_results("no luck"), Path("mine"))

    sentence = _mended(draftmark("what-if", "mine", option, "-0.5"))

    assert f"A {option[2:].replace('-', ' ')} of -0.5 is not possible" in sentence
    assert [path.name for path in _files()] == [RESULTS]


def test_what_if_names_a_failed_cell_though_there_is_nothing_to_draw(draftmark: Command) -> None:
    save_results(_results("no luck"), Path("mine"))

    outcome = draftmark("what-if", "mine")

    assert outcome.code == 0
    assert "Failed: no luck" in outcome.out
    assert {path.name for path in _files()} == {RESULTS, "what_if.md"}


def test_a_report_that_cannot_be_written_keeps_the_others_and_is_named(
    draftmark: Command,
) -> None:
    save_results(_results(), Path("mine"))

    outcome = draftmark("report", "mine", "gate", "leaderboard")

    assert (outcome.code, outcome.out) == (2, f"Written: {Path('mine/leaderboard.md')}\n")
    assert "Not written: gate: mine has no " in outcome.err


def test_an_unknown_report_writes_none_at_all(draftmark: Command) -> None:
    save_results(_results(), Path("mine"))

    sentence = _mended(draftmark("report", "mine", "leaderboard", "leaderbord"))

    assert "Unknown report 'leaderbord'. Did you mean 'leaderboard'" in sentence
    assert [path.name for path in _files()] == [RESULTS]


def test_a_style_needs_figures_and_a_known_name(draftmark: Command) -> None:
    save_results(_results(), Path("mine"))

    without = _mended(draftmark("report", "mine", "--style", "icml"))
    assert "--style is for the report figures" in without
    unknown = _mended(draftmark("report", "mine", "figures", "--style", "icmm"))
    assert "Unknown style 'icmm'. Did you mean 'icml'? Known: acl, icml, neurips." in unknown
    assert [path.name for path in _files()] == [RESULTS]


@pytest.mark.parametrize("command", ["report", "reconcile", "what-if"])
@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_results_is_one_sentence(
    draftmark: Command, folder: str, command: str
) -> None:
    assert f"{folder} has no results.json" in _mended(draftmark(command, folder))
    assert _files() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace('"manifest"', '"manifesto"'),
        lambda text: text.replace('"numbers": {}', '"numbers": [1]'),
    ],
)
def test_results_that_do_not_read_are_one_sentence(
    draftmark: Command, change: Callable[[str], str]
) -> None:
    save_results(_results(), Path("mine"))
    file = Path("mine") / RESULTS
    file.write_text(change(file.read_text()))

    assert "is damaged" in _mended(draftmark("report", "mine"))
    assert [path.name for path in _files()] == [RESULTS]


def test_a_full_disk_is_one_sentence(draftmark: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runner, "run_experiment", full)

    assert "is full" in _mended(draftmark("run", "quickstart"))


def test_a_bug_keeps_its_traceback_has_a_code_of_its_own_and_says_where_to_report_it(
    draftmark: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any) -> None:
        raise ZeroDivisionError("a bug \x1b[2J")

    monkeypatch.setattr(runner, "run_experiment", bug)
    outcome = draftmark("run", "quickstart")

    assert outcome.code == 70  # 1 is the gate's FAIL
    assert "Traceback (most recent call last)" in outcome.err
    assert "ZeroDivisionError: a bug \ufffd[2J" in outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("draftmark: This is a bug. Please report it at https://")


def test_the_doctor_says_what_is_missing_and_how_to_get_it(draftmark: Command) -> None:
    outcome = draftmark("doctor", "--data", ".")

    assert outcome.code == 0
    assert "is not asked: HF_HUB_OFFLINE is set" in outcome.out
    assert "not fetched; draftmark fetch smollm2-135m-instruct" in outcome.out
    assert "no known task in it" in outcome.out


def test_the_doctor_marks_what_is_there_and_what_is_missing(draftmark: Command) -> None:
    first, *lines = draftmark("doctor", "--data", ".").out.splitlines()
    states = {line[10:].split("  ")[0]: line[:9].split() for line in lines if line[10] != " "}

    assert states["torch"] == ["\u2713", "OK"]
    assert states["data"] == ["\u2717", "missing"]
    assert states["processor"] == []
    missing = sum(line.startswith("\u2717") for line in lines)
    assert first.split() == f"draftmark {missing} missing; each line says how to add it".split()
    assert "\x1b" not in "".join(lines)


def test_the_version_is_printed(draftmark: Command) -> None:
    assert draftmark("--version") == Outcome(0, f"draftmark {metadata.version('draftmark')}\n", "")


def test_a_module_run_shows_the_name_of_the_command() -> None:
    command = [sys.executable, "-m", "draftmark", "plan", "--help"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("Usage: draftmark plan ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_the_names_of_commands(
    draftmark: Command, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("_DRAFTMARK_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", "draftmark re")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "draftmark re")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")

    outcome = draftmark()

    assert {"report", "reconcile"} <= set(re.findall(r"[a-z]+", outcome.out))
    assert "gate" not in outcome.out


def test_a_shell_completes_the_names_of_cached_models(
    draftmark: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("org/one@x", "org/two@y"):
        model_directory(name).mkdir(parents=True)
    monkeypatch.setenv("_DRAFTMARK_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "draftmark models rm org/o")
    monkeypatch.setenv("COMP_CWORD", "3")

    assert draftmark().out.split() == ["org/one@x"]


def test_the_console_script_ends_in_one_sentence(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("draftmark")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "draftmark"]

    done = subprocess.run(
        [*command, "report", "nowhere"], cwd=tmp_path, capture_output=True, text=True
    )

    assert _mended(Outcome(done.returncode, done.stdout, done.stderr)).count(".") >= 1


def _rows_of_gsm8k(*answers: str) -> None:
    for split in ("train", "validation", "test"):
        path = Path("data", "gsm8k", f"{split}.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"question": f"{split} {n}?", "answer": text} for n, text in enumerate(answers)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_data_that_is_sound_is_counted(draftmark: Command) -> None:
    _rows_of_gsm8k("#### 1", "#### 2")

    outcome = draftmark("data", "check", "--data", "data")

    assert outcome.code == 0
    assert outcome.out.count("2 rows, 2 examples, 0 left out, 0 malformed, 0 repeated") == 3


def test_malformed_rows_are_all_printed_and_the_exit_code_says_so(draftmark: Command) -> None:
    _rows_of_gsm8k("#### 1", "two", "three")

    outcome = draftmark("data", "check", "gsm8k", "--data", "data")

    assert outcome.code == 1
    assert outcome.out.count("the answer has no '#### <number>'") == 6


def test_the_check_of_an_unknown_task_is_one_sentence(draftmark: Command) -> None:
    assert "Did you mean 'gsm8k'" in _mended(draftmark("data", "check", "gsm9k"))
