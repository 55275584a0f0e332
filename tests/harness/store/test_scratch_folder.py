"""Scratch folders: what a killed process left is deleted, what another one uses stays."""

import subprocess
import sys
from pathlib import Path

from draftmark.store.files import scratch_folder

WAITS = """
import sys
from pathlib import Path
from draftmark.store.files import scratch_folder
with scratch_folder(".merging-", Path(sys.argv[1])) as folder:
    (folder / "half").write_text("x")
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_killed_process_leaves_nothing_that_the_next_one_keeps(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / ".merging-link").symlink_to(tmp_path / "precious")
    command = [sys.executable, "-c", WAITS, str(tmp_path)]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdout
    name = running.stdout.readline().strip()

    with scratch_folder(".merging-", tmp_path) as folder:
        beside = _names(tmp_path)
    running.kill()
    running.communicate()
    with scratch_folder(".merging-", tmp_path):
        after = _names(tmp_path)

    assert {name, folder.name} <= beside
    assert name not in after
    assert _names(tmp_path) == {"precious", ".merging-link"}
