"""Commands on a read-only file system: a script for a mount namespace.

    python read_only.py FOLDER COMMANDS

binds FOLDER read-only onto itself, runs each of the JSON list's commands there, and prints the exit
code and last line of each as JSON.
"""

import contextlib
import io
import json
import os
import subprocess
import sys

from draftmark.cli import main


def run(command: list[str]) -> tuple[int, str]:
    """Return the exit code of a command, and the last line that it printed."""
    sys.argv = ["draftmark", *command]
    printed, code = io.StringIO(), 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, printed.getvalue().strip().rpartition("\n")[2]


if __name__ == "__main__":
    folder, commands = sys.argv[1], json.loads(sys.argv[2])
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    os.chdir(folder)
    print(json.dumps([run(command) for command in commands]))
