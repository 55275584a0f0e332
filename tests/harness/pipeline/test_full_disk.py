"""A disk that is full ends a run in one sentence, however stages write, and loses nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

WAYS = ["safetensors", "bytes", "json", "parquet", "map", "checkpoint", "many files", "directories"]
OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


def _why_no_small_disk(folder: Path) -> str:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    try:
        done = subprocess.run([*OWN_MOUNTS, *mount], capture_output=True, text=True)
    except FileNotFoundError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_whatever_was_written_and_what_is_finished_stays(
    tmp_path: Path,
) -> None:
    if reason := _why_no_small_disk(tmp_path):
        pytest.skip(f"no small disk to be had: {reason}")
    done = subprocess.run(
        [
            *OWN_MOUNTS,
            sys.executable,
            str(ROOT / "tests" / "support" / "full_disk.py"),
            str(tmp_path),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert list(said) == [*(f"{way}, jobs 1" for way in WAYS), f"{WAYS[0]}, jobs 2"]
    for way, sentence in said.items():
        assert sentence.startswith(f"The disk of {tmp_path / 'store'} is full (0.00 GB free)"), way
