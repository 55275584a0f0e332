"""Files that someone else may have written, mutated: commands end in a number or in a sentence.

`DRAFTMARK_MUTATIONS=1000` sets the number of mutations of each file.
"""

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mutated_files import Command, Format, distinct_commands, mutate_file, run_in
from mutations import (
    mutated_bytes,
    mutated_json,
    mutated_lines,
    mutated_parquet,
    mutated_toml,
)
from small_runs import small_recipe
from stored_runs import run_of

from draftmark.analysis.stored_runs import SUMMARY, summarise_run, write_summary
from draftmark.pipeline.executor import execute_stages
from draftmark.pipeline.publish import track_run
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.registry import registered_names
from draftmark.results import Number
from draftmark.store.entries import ENTRY, SEAL, checksum_line
from draftmark.store.graph import Job, Node
from draftmark.store.published_folder import publish_folder
from draftmark.store.records import write_rows
from draftmark.store.run_folder import save_results
from draftmark.store.run_locks import lock_run
from draftmark.store.speed_records import Measurement, TimedPass, TimedRun, write_parts
from draftmark.store.store import Store
from draftmark.types import Arm, Decode, Ledger, Round, TimedDecode

RUN = "results/mine-01234567"
EASY = (0.5, 0.6, 0.7, 0.8)
JSON, LINES, PARQUET, BYTES = mutated_json, mutated_lines, mutated_parquet, mutated_bytes
GATE = ("gate", RUN, "--against", "f.json")
OF_OTHERS = {"board", "compare", "gate", "hf_eval_results", "lossless", "trend"}  # no run alone
REPORTS = sorted({*registered_names("reports")} - OF_OTHERS - {"figures"})
SITE = ("site", "results", "--out", "site")


def _drop_hashes(folder: Path, file: Path) -> None:
    (folder / RUN / "results.sha256").unlink()


def _seal_entry(folder: Path, file: Path) -> None:
    (file.parent / SEAL).write_text(checksum_line(file.parent, ENTRY))


def _seal_summary(folder: Path, file: Path) -> None:
    head, _, body = file.read_bytes().partition(b"\n")
    with suppress(ValueError, TypeError):  # its first line was mutated
        seal = {**json.loads(head), "summary": hashlib.sha256(body).hexdigest()}
        file.write_bytes(json.dumps(seal).encode() + b"\n" + body)


def _of_run(name: str, mutate: Any, *commands: Command) -> Format:
    """Return the format of a file of the run's folder, in which hashes do not name damage."""
    return Format(f"{RUN}/{name}", mutate, commands, _drop_hashes)


def _report(*names: str) -> list[Command]:
    return [("report", RUN, name) for name in names]


FORMATS = {
    "results": _of_run(
        "results.json",
        JSON,
        *_report(*REPORTS),
        ("what-if", RUN),
        ("compare", RUN, "results/other"),
        ("compare", "results/other", RUN),
        ("trend", "results"),
        SITE,
        ("bless", RUN, "f.json", "--reason", "x"),
        ("power", RUN),
        ("store", "ls"),
    ),
    "results in figures": _of_run("results.json", JSON, *_report("figures")),
    "gated results": _of_run("results.json", JSON, GATE),
    "summary": Format(f"{RUN}/{SUMMARY}", LINES, (("trend", "results"), SITE), _seal_summary),
    "checksums": Format(f"{RUN}/results.sha256", BYTES, _report("leaderboard")),
    "tables": _of_run(
        "records/00/tables-t0.parquet",
        PARQUET,
        GATE,
        ("power", RUN),
        *_report("site", "counts", "lm_eval", "reconcile"),
        ("compare", RUN, "results/other"),
    ),
    "examples": _of_run("records/00/examples-t0.parquet", PARQUET, *_report("site")),
    "grades": _of_run(
        "records/00/target-grades.parquet", PARQUET, *_report("lm_eval", "counts", "export")
    ),
    "decodes": _of_run("records/00/decodes.parquet", PARQUET, *_report("speed", "leaderboard")),
    "timed runs": _of_run("records/00/runs.parquet", PARQUET, *_report("speed", "counts")),
    "timed passes": _of_run(
        "records/00/parts.parquet", PARQUET, *_report("speed"), ("what-if", RUN)
    ),
    "engine": _of_run("records/00/engine.json", JSON, *_report("speed")),
    "accepted numbers": Format(
        "f.json",
        JSON,
        (GATE, ("power", RUN, "--against", "f.json"), ("bless", RUN, "f.json", "--reason", "x")),
    ),
    "gate": Format(f"{RUN}/gate.json", JSON, _report("gate")),
    "lossless": Format(f"{RUN}/lossless.json", JSON, _report("lossless")),
    "journal": Format("results/store/runs/mine-01234567/*/*.jsonl", LINES, (("status", RUN),)),
    "hold": Format(
        "results/store/holds/*.json", JSON, (("store", "ls"), ("store", "gc", "--dry-run"))
    ),
    "entry": Format(
        "results/store/stage/*/entry.json",
        JSON,
        (("store", "ls"), ("store", "verify"), ("store", "gc", "--dry-run"), ("status", RUN)),
        _seal_entry,
    ),
    "mark of a site": Format("site/.draftmark", BYTES, (SITE,)),
    "recipe": Format("mine.toml", mutated_toml, (("plan", "mine.toml"),)),
}
SLOW = {"results in figures"}
NAMES = [pytest.param(it, marks=pytest.mark.slow) if it in SLOW else it for it in FORMATS]
SPEED = {
    "engine": "reference",
    "num_speculative_tokens": 4,
    "temperature": 0.0,
    "blocks": 2,
    "batch_sizes": [1],
    "length": "natural",
    "cost_model": True,
}


def _speed_records(folder: Path) -> None:
    arms: tuple[Arm, ...] = ("target", "draft")
    decodes = [
        TimedDecode(
            arm,
            block,
            0,
            Decode(
                f"gsm8k/test/{block}", (5, 6, 7), 3, (Round(2, 1), Round(2, 0)), 0.1, 0.2, "stop"
            ),
        )
        for arm in arms
        for block in range(2)
    ]
    runs = [
        TimedRun(arm, block, repeat, 0.3) for arm in arms for block in range(2) for repeat in (0, 1)
    ]
    facts = {"engine": "reference", "draft": {"threads": 1}, "target": {"threads": 1}}
    Measurement(decodes, runs, facts).save(folder)
    write_parts(folder, [TimedPass(arm, 0, 1, 8, width, 0.01) for arm in arms for width in (1, 2)])


def _results(directory: Path) -> None:
    """Write a run with everything that reports read."""
    run = run_of(directory, {"kd": [EASY, EASY], "csd": [EASY]}, temperatures=(0.0, 1.0), length=40)
    stored = load_recipe("quickstart").model_dump(mode="json")
    recipe = {**stored, **run.recipe, "speed": stored["speed"], "training": stored["training"]}
    rows = tuple(replace(row, **_more()) for row in run.results)
    texts = [{"example_id": f"gsm8k/test/{n}", "prompt": "Q", "pieces": ["a"] * 40} for n in (0, 1)]
    write_rows(directory / "records/00/examples-t0.parquet", texts)
    grades = [{"example_id": f"gsm8k/test/{n}", "text": "x", "exact_match": 1.0} for n in range(4)]
    write_rows(directory / "records/00/target-grades.parquet", grades)
    _speed_records(directory / "records" / "00")
    results = replace(run, recipe=recipe, results=rows)
    save_results(results, directory)
    write_summary(summarise_run(results), directory)
    for file in ("gate.json", "lossless.json"):
        (directory / file).write_text(json.dumps(OUTCOMES[file]))


def _more() -> dict[str, Any]:
    number = Number(1.1, 1.0, 1.2, 5, "a definition")
    names = ("speedup", "cost_ratio", "verification_cost", "quality_target", "pass@2_target[t=1]")
    keys = [f"block_efficiency[t=0,gamma={gamma}]" for gamma in (1, 2, 4)]
    manifest = {"versions": {}, "git": None, "hardware": HARDWARE}
    entry = {"stage": "draft", "label": "kd", "key": "0" * 64, "manifest": manifest}
    return {
        "numbers": dict.fromkeys([*names, *keys, "acceptance_rate[t=0,gamma=4]"], number),
        "ledger": Ledger(steps=3, flops=1e9, train_s=2.0),
        "history": ({"step": 0.0, "validation_acceptance": 0.5, "loss": 1.0},),
        "provenance": {"entries": [{**entry, "settings": {}, "files": {}, "seconds": 1.0}]},
    }


HARDWARE = {"processor": "x", "cores": 2, "accelerators": []}
CELL = {"task": "gsm8k", "pair": "p", "method": "kd", "seed": 0}
CHECK = {"cell": CELL, "temperature": 0.0, "name": "x", "passed": True, "evidence": "y"}
LINE = {
    **{"name": "gsm8k/p/kd/t=0", "verdict": "PASS", "n": 4, "before": 0.5, "now": 0.5},
    **{"difference": 0.0, "low": -0.1, "high": 0.1, "note": ""},
}
OUTCOMES = {
    "lossless.json": {"engine": "reference", "dtype": "float32", "checks": [CHECK]},
    "gate.json": {
        **{"verdict": "PASS", "quantity": "acceptance_rate", "gamma": 4, "lines": [LINE]},
        "rule": {"margin": 0.01, "comparisons": 1, "looks": 1},
        **{"differs": ["a"], "notes": ["b"], "sizes": [4]},
    },
}


def _stages() -> list[Node]:
    def build(job: Job) -> None:
        (job.out / "text").write_text("x")

    first = Node("stage", "first", {"n": 1}, {}, code=(), build=build)
    return [first, Node("stage", "second", {"n": 2}, {"before": first}, code=(), build=build)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs, a store, accepted numbers and outcomes."""
    folder = tmp_path_factory.mktemp("base")
    _results(folder / RUN)
    publish_folder(folder / "site", [("index.html", "old")])
    (folder / "mine.toml").write_text(
        small_recipe((4, 2, 2), ["kd", "lk"], evaluation="temperatures = [0]", top="speed = false")
    )
    run_of(folder / "results" / "other", {"kd": [EASY]}, temperatures=(0.0, 1.0), length=40)
    store, nodes = Store(folder / "results" / "store"), _stages()
    with (
        lock_run(store, folder / RUN, nodes),
        track_run(store, "mine-01234567", "a title", nodes) as (journal, stop),
    ):
        execute_stages(nodes, store, Progress(quiet=True), journal=journal, stop=stop)
    return folder


@pytest.fixture(scope="module")
def accepted(base: Path) -> Path:
    from draftmark.cli import gate

    gate.bless(base / RUN, base / "f.json", reason="first")
    return base


@pytest.fixture(scope="module")
def used(accepted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder, which commands may change."""
    return shutil.copytree(accepted, tmp_path_factory.mktemp("used") / "here")


QUICK = [form for name, form in FORMATS.items() if name not in SLOW]


@pytest.mark.parametrize("command", distinct_commands(QUICK), ids=" ".join)
def test_every_command_reads_the_files_as_they_were_written(
    used: Path, capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    outcome = run_in(used, capsys, command)
    assert outcome.code == 0, outcome


@pytest.mark.parametrize("name", NAMES)
def test_a_mutated_file_ends_in_a_number_or_a_sentence(
    accepted: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    mutate_file(FORMATS[name], accepted, tmp_path_factory, capsys)
