"""What docs/security.md says that draftmark executes, opens and trusts: a test for each claim.

Here are models' code and pickles, names and links that lead elsewhere, and the page's numbers: the
tests of what they bound mostly set smaller ones. The other claims:

- calls of the source (pickles, printing, writing, programs): test_source_calls.py
- programs that models write: grading/test_sandbox_hostile.py, grading/isolation/test_syscalls.py
- git in somebody else's repository: test_environment.py
- code of another repository: pipeline/test_preflight.py
- downloads, their hashes and the hub's token: data/test_hub.py, data/test_hub_rows.py,
  models/test_download.py, models/test_wheel.py
- the judge and its key: grading/test_chat.py, pipeline/stages/test_grades.py
- deadlines and sizes of answers: grading/test_http_client.py, engines/measure/
- counts of servers: engines/measure/test_draft_counters.py
- chat templates: data/test_chat_templates.py; archives and GGUF: data/test_size_limits.py
- files that are not plain: store/test_plain_files.py; Parquet: store/test_parquet_files.py,
  store/test_parquet_probe.py; safetensors: models/test_weight_headers.py
- damage and mutations: store/test_damage.py, test_mutated_files.py, test_mutated_exchange.py,
  models/test_config_shapes.py, data/test_mutated_rows.py
- writing: store/test_files.py, store/test_published_folder.py, store/test_garbage_collection.py,
  store/test_scratch_folder.py; hashes: store/test_bit_flips.py, analysis/test_stored_runs.py
- the terminal: cli/test_exits.py; submissions to a board: analysis/board/test_check.py,
  analysis/board/test_tables.py, pipeline/test_board_rerun.py
"""

import hashlib
import inspect
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from places import ROOT
from stored_runs import run_of

from draftmark import registry
from draftmark.analysis.board import check, counts
from draftmark.analysis.stored_counts import stored_counts
from draftmark.cli.measure_server import measure_server
from draftmark.data import chat_templates, size_limits
from draftmark.data.hub import session
from draftmark.errors import UserError
from draftmark.grading import bounded_exchange, sandbox
from draftmark.grading.chat import ChatModel
from draftmark.grading.http_client import HttpClient
from draftmark.grading.isolation.allowed_calls import ALLOWED
from draftmark.models import weight_headers
from draftmark.models.language_model import load_model, load_tokenizer
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe, suite_members
from draftmark.pipeline.render import render_reports
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.store import parquet_files, parquet_probe, plain_files, run_folder, served_records
from draftmark.store.graph import Node
from draftmark.store.run_folder import load_results
from draftmark.store.store import Store
from draftmark.training import launcher
from draftmark.types import Placement

QUIET = Progress(quiet=True)


class _Bomb:
    """What a pickle may hold: a call, made as it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_an_order_that_the_run_did_not_give_is_not_unpickled(tmp_path: Path) -> None:
    bomb = pickle.dumps(_Bomb(tmp_path / "went off"))
    (tmp_path / launcher._ORDER).write_bytes(bomb)

    with pytest.raises(RuntimeError, match="is not the file that the parent wrote"):
        launcher._read_order(tmp_path, hashlib.sha256(b"the order").hexdigest())

    assert not (tmp_path / "went off").exists()
    launcher._read_order(tmp_path, hashlib.sha256(bomb).hexdigest())
    assert (tmp_path / "went off").exists()  # the bomb is one


RECIPE = """
title = "x"
tasks = ["gsm8k"]
speed = false
[data]
sources = ["samples"]
train_rows = 4
validation_rows = 2
test_rows = 2
[[pairs]]
name = "p"
target = "{target}"
draft = {{ pruned = [0] }}
trust_remote_code = {trust}
[[methods]]
name = "untrained"
"""


def _recipe(folder: Path, target: Path, trust: str = "false") -> str:
    path = folder / "mine.toml"
    path.write_text(RECIPE.format(target=target, trust=trust))
    return str(path)


def test_a_model_of_pickled_weights_alone_is_refused_before_they_are_opened(
    tmp_path: Path, tiny_directory: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_directory, model)
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(tmp_path / "went off")))

    with pytest.raises(UserError, match=r"no other \.safetensors file"):
        plan_experiment(load_recipe(_recipe(tmp_path, model)), QUIET)
    with pytest.raises(UserError, match="cannot be loaded by transformers"):
        load_model(model)
    assert not (tmp_path / "went off").exists()


CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path({mark!r}).touch()

class OwnConfig(LlamaConfig):
    model_type = {kind!r}

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def _with_code(tmp_path: Path, tiny: Path, kind: str) -> tuple[Path, Path]:
    """Return a model folder with code of its own, and what is there once that has run."""
    model, mark = tmp_path / f"own_{kind}", tmp_path / "ran"
    shutil.copytree(tiny, model)
    (model / "own.py").write_text(CODE.format(mark=str(mark), kind=kind))
    config = json.loads((model / "config.json").read_text())
    config |= {
        "model_type": kind,
        "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
    }
    (model / "config.json").write_text(json.dumps(config))
    return model, mark


@pytest.fixture
def _own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers put the code that it copies where the test ends with it."""
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.mark.usefixtures("_own_modules")
def test_code_that_comes_with_a_model_runs_only_at_the_recipes_word(
    tmp_path: Path, tiny_directory: Path
) -> None:
    model, mark = _with_code(tmp_path, tiny_directory, "of_its_own")

    with pytest.raises(UserError, match=r"code of its own.*trust_remote_code = true"):
        load_model(model)
    load_tokenizer(model)  # which is of a kind that transformers knows
    assert not mark.exists()
    load_model(model, Placement(trust_remote_code=True))
    assert mark.exists()  # so it would have been seen


@pytest.mark.usefixtures("_own_modules")
def test_a_family_that_transformers_knows_is_loaded_without_the_code_beside_it(
    tmp_path: Path, tiny_directory: Path
) -> None:
    model, mark = _with_code(tmp_path, tiny_directory, "llama")

    assert type(load_model(model).model).__module__.startswith("transformers.models.llama")
    assert not mark.exists()


@pytest.mark.parametrize("word", ['"true"', "1", '"yes"', "[true]"])
def test_only_true_is_the_recipes_word(tmp_path: Path, tiny_directory: Path, word: str) -> None:
    with pytest.raises(UserError, match=r"pairs\.0\.trust_remote_code"):
        load_recipe(_recipe(tmp_path, tiny_directory, word))


OUTSIDE = ("../x", "/etc/passwd", "..", ".", "a/../../x", "x\x00", "~", "samples/tiny-target")


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_where_names_are_looked_up(name: str) -> None:
    for group in ("tasks", "baselines", "engines", "reports"):
        with pytest.raises(UserError, match="Unknown"):
            registry.find_registered(group, name)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="Unknown recipe"):
        suite_members(name)


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_trackers_write_stays_in_the_store(tmp_path: Path, name: str) -> None:
    node = Node("draft", f"draft {name}, seed 0", {}, {}, code=())

    assert Store(tmp_path).logs(node).resolve().parent == (tmp_path / "logs").resolve()


def test_names_of_pairs_and_methods_name_no_files(tmp_path: Path) -> None:
    """Not even where a report writes a folder for each: they stay below the run's own."""
    results = run_of(tmp_path / "run", {"kd": [(0.5, 0.6)]})
    cell = Cell("gsm8k", "../../out", "/tmp/out", 0)
    hostile = replace(results, results=(replace(results.results[0], cell=cell),))

    for file in render_reports(hostile, tmp_path / "run", ["lm_eval", "tables", "export"]):
        assert file.resolve().is_relative_to((tmp_path / "run").resolve())
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_links_in_a_run_folder_are_not_followed(tmp_path: Path) -> None:
    results = run_of(tmp_path / "run", {"kd": [(0.5, 0.6)]})
    precious, folder = tmp_path / "precious.md", tmp_path / "folder"
    precious.write_text("mine")
    folder.mkdir()
    (tmp_path / "run" / "tables.tex").symlink_to(precious)
    for name in ("lm_eval", "block"):
        (tmp_path / "run" / name).symlink_to(folder)

    files = render_reports(results, tmp_path / "run", ["tables"])
    for other, name in ((results, "lm_eval"), (replace(results, verification="block"), "tables")):
        with pytest.raises(UserError, match="leads out of"):
            render_reports(other, tmp_path / "run", [name])

    assert precious.read_text() == "mine"
    assert list(folder.iterdir()) == []
    assert all(not file.is_symlink() for file in files)


@pytest.mark.parametrize("place", ["..", "/", "../other/records/00", "records/../../other"])
def test_records_are_read_from_the_runs_own_folder_alone(tmp_path: Path, place: str) -> None:
    results = run_of(tmp_path / "run", {"kd": [(0.5, 0.6)]})
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    hostile = replace(results, results=(replace(results.results[0], records=place),))

    with pytest.raises(UserError, match="leads out of"):
        stored_counts(hostile, tmp_path / "run")
    assert stored_counts(load_results(tmp_path / "run"), tmp_path / "run")


def _mib(size: int) -> str:
    return f"{size // 2**20} MiB"


def _gib(size: int) -> str:
    return f"{size // 2**30} GiB"


def _numbers() -> list[str]:
    """Return what the page says, with the numbers of the code."""
    calls = [sum(row[place] is not None for row in ALLOWED.values()) for place in (0, 1)]
    limits, judge = sandbox.Limits(), HttpClient("http://127.0.0.1")
    attempts = {4: "four"}[len(ChatModel(judge, "m").waits_s) + 1]
    whole, line = _mib(bounded_exchange.MAX_BYTES), _mib(bounded_exchange.MAX_LINE)
    server_s = inspect.signature(measure_server).parameters["timeout"].default
    footer_s = {60: "a minute"}[parquet_probe._SECONDS]
    hub_s = {60.0: "a minute"}[session.GRACE_S]
    return [
        f"the {calls[0]} system calls that Python's standard library needs",
        f"({calls[1]} on aarch64)",
        f"of a process {_mib(limits.memory_bytes)} of addresses",
        f"and {sandbox._OPEN_FILES} open files",
        f"of a program {limits.processes} processes and {_mib(limits.scratch_bytes)} of files",
        f"more than {limits.files:,} files is ended",
        f"| {limits.cpu_s} s of a processor, {limits.wall_s:g} s |",
        f"{_mib(limits.file_bytes)} of output",
        f"for {chat_templates.TIMEOUT_S:g} s a prompt at most",
        f"| a judge's reply | {judge.timeout_s:g} s, {attempts} attempts | {whole} |",
        f"by default {server_s} s | {whole}, a line of a stream {line} |",
        f"read in linear time | {whole} |",
        f"a packet; {hub_s}, and longer while {session.SLOWEST // 1000} kB a second come",
        f"a list {_mib(session.MAX_LIST_BYTES)};",
        f"drafts of more than {served_records.MAX_BLOCK} tokens",
        f"more than {_gib(plain_files._GIANT)} that is mostly a hole",
        f"{_gib(plain_files.MAX_TEXT)} of JSON and {_gib(size_limits.MAX_UNPACKED)} of rows",
        f"It has {weight_headers._MAX_HEADER // 10**6} MB at most",
        f"{parquet_files.MAX_VALUES // 10**6} million values",
        f"{_gib(parquet_files.MAX_BYTES)} in all",
        f"with {_gib(parquet_probe._BYTES)} and {footer_s} for a file",
        f"number of results (below {run_folder._MOST:g})".replace("e+", "e"),
        f"sizes beyond {counts.MAX_BYTES // 10**6} MB are refused",
        f"with {counts.MAX_ROWS:,} rows at most",
        f"{check._MOST_LINES} lines of faults at most",
    ]


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    page = " ".join((ROOT / "docs" / "security.md").read_text("utf-8").split())

    assert [said for said in _numbers() if said not in page] == []
