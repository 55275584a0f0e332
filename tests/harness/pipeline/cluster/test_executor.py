"""On a cluster: workers and machines that die change nothing, and what it lacks is said."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from places import ROOT
from small_runs import small_recipe
from vllm_cases import needs_vllm

from draftmark.cli import main
from draftmark.environment import install_hint
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.store.entries import ENTRY
from draftmark.store.records import DRAFT, TARGET
from draftmark.store.run_folder import load_results
from draftmark.store.store import Store

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason=f"Ray is not installed; {install_hint('ray')}"
)
# Grades are left out: those of six answers take 5 ms, which is less than a kill takes.
KINDS = {"target", "responses", "features", "scores", "likelihoods"}
TRAININGS = {
    "sharded": "processes = 2, sharded = true",
    "live": 'features = "live"',
    "lora": "lora = { rank = 2 }",
}
BY_VLLM = {"responses by vLLM", "features by vLLM"}
WITH_CHILDREN = {"target", "draft sharded, seed 0", *BY_VLLM}  # killed once their processes run
LEDGERS = (DRAFT, TARGET)
DRAFTS = {f"draft {title}, seed 0" for title in TRAININGS}
RECIPE_TOP = "speed = false"
RECIPE = small_recipe((16, 4, 6), [], top=RECIPE_TOP, evaluation="max_new_tokens = 32")
RECIPE += "[pairs.fine_tune]\npasses = 1\nprocesses = 2\nsharded = true\nvalidations = 1\n"
for title, training in TRAININGS.items():
    RECIPE += f'[[methods]]\nname = "kd"\nlabel = "{title}"\ntraining = {{ {training} }}\n'


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "cut.toml"
    path.write_text(RECIPE)
    return path


def _draftmark(recipe: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "draftmark", "run", str(recipe), "--out", str(out)]


@contextmanager
def two_nodes() -> Iterator[subprocess.Popen[str]]:
    """Give a cluster of two nodes; when the block is left, none of its processes is."""
    script = str(ROOT / "tests" / "support" / "two_nodes.py")
    process = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    below: list[psutil.Process] = []
    try:
        yield process
        below = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.communicate(timeout=120)
    _, alive = psutil.wait_procs(below, timeout=30)
    assert alive == []


def _journals(store: Path) -> Iterator[Path]:
    return store.glob("runs/*/*/*.jsonl")


def _events(store: Path) -> list[dict[str, Any]]:
    """Return what a run has told of itself so far."""
    lines = [
        line
        for path in _journals(store)
        for line in path.read_text("utf-8").splitlines(keepends=True)
    ]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _files(store: Path) -> dict[str, dict[str, Any]]:
    """Return the hashes of all results' files, but of the ledgers: they hold times."""
    entries = [json.loads(path.read_text("utf-8")) for path in store.glob(f"*/*/{ENTRY}")]
    return {
        entry["key"]: {name: each for name, each in entry["files"].items() if name not in LEDGERS}
        for entry in entries
    }


def _kind(stage: dict[str, str]) -> str:
    """Return a stage's kind: its name and if vLLM does it, or which draft it trains."""
    by_vllm = " by vLLM" if stage["label"].endswith("by vLLM") else ""
    return stage["label"] if stage["stage"] == "draft" else f"{stage['stage']}{by_vllm}"


def _has_children(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).children())
    return False


def _torment(
    process: subprocess.Popen[Any], store: Path, kinds: set[str], kill_node: Callable[[], object]
) -> None:
    """Kill a worker in a stage of each kind, and a node after the first training began again."""
    struck: dict[str, str] = {}  # stages whose worker was killed, and their kinds
    survived: set[str] = set()  # kinds of which such a stage began again
    while process.poll() is None:
        time.sleep(0.03)
        events = _events(store)
        stages = {s["key"]: _kind(s) for e in events for s in e.get("stages", ())}
        starts = [event for event in events if event["event"] == "start"]
        began = Counter(event["key"] for event in starts)
        over = {event["key"] for event in events if event["event"] == "done"}
        again = {stage for key, stage in struck.items() if began[key] > 1}
        if again & DRAFTS and not survived & DRAFTS:
            kill_node()
        survived |= again
        waiting = {stage for key, stage in struck.items() if key not in over}
        for event in starts:
            key, stage = event["key"], stages[event["key"]]
            new = key not in struck and key not in over and stage not in survived | waiting
            if new and (stage not in WITH_CHILDREN or _has_children(event["pid"])):
                struck[key] = stage
                waiting.add(stage)
                with suppress(ProcessLookupError):
                    os.kill(event["pid"], signal.SIGKILL)
    assert survived >= kinds


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_killed_in_every_stage_and_a_node_once_leave_the_results_as_they_were(
    recipe: Path, tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python)  # so workers have imported what they need
    with two_nodes() as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None

        def kill_node() -> None:
            cluster.stdin.write("kill\n")
            cluster.stdin.flush()

        _run_tormented(recipe, tmp_path, cluster, KINDS | DRAFTS, kill_node)
        assert cluster.stdout.readline() == "killed\n"


@needs_ray
@needs_vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_killed_while_vllm_writes_and_reads_leave_the_results_as_they_were(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    path, settings = tmp_path / "cut.toml", "temperatures = [0]\nmax_new_tokens = 8\n"
    settings += '[responses]\nengine = "vllm"\n[features]\nengine = "vllm"\n'
    path.write_text(small_recipe((4, 2, 4), ["untrained"], top=RECIPE_TOP, evaluation=settings))
    with two_nodes() as cluster:
        _run_tormented(path, tmp_path, cluster, BY_VLLM, lambda: None)


def _run_tormented(
    recipe: Path,
    folder: Path,
    cluster: subprocess.Popen[str],
    kinds: set[str],
    kill_node: Callable[[], object],
) -> None:
    """Run a recipe on a cluster while its workers are killed; hold it to a run that is not."""
    quiet, calm, out = Progress(quiet=True), Store(folder / "calm"), folder / "out"
    expected = run_experiment(plan_experiment(load_recipe(str(recipe)), quiet), "cut", calm, quiet)
    assert cluster.stdout is not None
    address = cluster.stdout.readline().strip()
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [*_draftmark(recipe, out), "--cluster", address],
            env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},  # as the cluster
            stdout=said,
            stderr=said,
        )
    _torment(process, out / "store", kinds, kill_node)
    assert process.returncode == 0, (folder / "said.txt").read_text()

    assert _files(out / "store") == _files(calm.root)
    found = load_results(next(out.glob("cut-*")))
    assert [row.numbers for row in found.results] == [row.numbers for row in expected.results]


def test_a_cluster_without_ray_ends_in_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(sys, "argv", ["draftmark", "run", "quickstart", "--cluster", "local"])

    with pytest.raises(SystemExit) as stop:
        main.main()

    assert stop.value.code == 2
    said = capsys.readouterr().err
    hint = install_hint("ray")
    assert said == f"draftmark: --cluster needs Ray, which is not installed; run `{hint}`.\n"


def test_jobs_on_a_cluster_are_a_mistake_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "quickstart", "--cluster", "local", "--jobs", "2"]
    monkeypatch.setattr(sys, "argv", ["draftmark", *arguments])

    with pytest.raises(SystemExit) as stop:
        main.main()

    assert stop.value.code == 2
    assert "--jobs 2 counts stages of this machine" in capsys.readouterr().err


@needs_ray
def test_an_address_where_nobody_listens_ends_in_a_sentence(recipe: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"

    done = subprocess.run(
        [*_draftmark(recipe, tmp_path / "out"), "--cluster", address],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert f"There is no Ray cluster at '{address}'" in done.stderr
    assert "Traceback" not in done.stderr
