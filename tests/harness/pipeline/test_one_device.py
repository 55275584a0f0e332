"""Every tensor is on the model's device: all methods run on a device that tests make up.

What is held here is where tensors are. Kernels, bfloat16 under autocast and random streams of CUDA
are not: `make gpu` runs them.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from draftmark import registry

NO_KERNEL = {"domino"}  # torch has no GRU for a device of another's making


def _run(kind: str, folder: Path, python: str) -> dict[str, Any]:
    """Return the results by method of a run in a process of its own."""
    program = ROOT / "tests" / "support" / "pretended_run.py"
    command = [python, str(program), str(folder), kind]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    rows: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return rows


@pytest.mark.slow
def test_every_method_trains_and_scores_on_one_device(tmp_path: Path, python: str) -> None:
    rows = _run("all", tmp_path, python)

    assert set(registry.registered_names("baselines")) - NO_KERNEL <= set(rows)
    assert {method: row["failure"] for method, row in rows.items() if row["failure"]} == {}
    assert all(row["numbers"] for row in rows.values())


@pytest.mark.slow
def test_every_drafter_decodes_on_one_device(tmp_path: Path, python: str) -> None:
    rows = _run("decoding", tmp_path, python)

    assert {method: row["failure"] for method, row in rows.items() if row["failure"]} == {}
    assert all(row["numbers"]["identical"] == 1 for row in rows.values())


def test_a_loss_with_a_tensor_left_on_the_cpu_fails(tmp_path: Path, python: str) -> None:
    row = _run("fault", tmp_path, python)["kd"]

    assert "aten.mul.Tensor" in row["failure"]
    assert "on the CPU, beside tensors on pretended" in row["failure"]
