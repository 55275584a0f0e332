"""Runs other people's trainers in a process and with packages of their own: `make others`.

A script of theirs reads and writes files in a folder; tests read what it wrote. The packages are in
a folder beside those of the environment, which the process sees and the tests do not.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# `make others` installs here; the variable names another folder.
FOLDER = Path(os.environ.get("DRAFTMARK_TEST_OTHERS") or Path(sys.prefix) / "others")
_SECONDS = 300


def needs_others(*packages: str) -> pytest.MarkDecorator:
    """Return the mark of a test that needs packages of requirements-others.lock."""
    missing = [name for name in packages if not (FOLDER / name).is_dir()]
    return pytest.mark.skipif(
        bool(missing), reason=f"{', '.join(missing)} not in {FOLDER}; run `make others`"
    )


def run_theirs(script: Path, folder: Path) -> None:
    """Run a script with other people's packages; its one argument is the folder.

    Their warnings are theirs. The script fails the test if it fails, with the end of its messages.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(FOLDER),
        "PYTHONWARNINGS": "ignore",
        "HF_HUB_OFFLINE": "1",
        "TORCHDYNAMO_DISABLE": "1",  # specforge compiles a norm, which takes a minute
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
