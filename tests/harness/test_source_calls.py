"""What the source may call: who unpickles, prints, writes files and starts programs."""

import ast
from functools import cache
from typing import Any

from places import PACKAGE

# What would run or unpickle what somebody else wrote, by the end of its dotted name.
FORBIDDEN = (
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "read_pickle",
    "joblib.load",
    "dill.loads",
    "shelve.open",
    "marshal.loads",
    "yaml.load",
    "os.system",
    "eval",
    "exec",
)
# The order that a run gives to its own processes, whose hash it tells them besides.
EXEMPT = {
    "training/launcher.py: pickle.loads",
    "pipeline/jobs/worker.py: pickle.loads",  # from a file without a name, open in both processes
    "tasks/samples/expressions.py: eval",  # of the project's own templates, by a developer
}


@cache
def _calls() -> tuple[tuple[str, str, dict[str, Any]], ...]:
    """Return every call in the project: its file, the dotted name, constants among its keywords."""
    folders = (PACKAGE, *(PACKAGE / name for name in ("tasks", "baselines", "reports")))
    return tuple(
        (str(path.relative_to(PACKAGE)), ast.unparse(node.func), _constants(node))
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    )


def _constants(call: ast.Call) -> dict[str, Any]:
    return {it.arg: getattr(it.value, "value", "?") for it in call.keywords if it.arg}


def _files_that_call(names: tuple[str, ...]) -> set[str]:
    """Return the files with calls whose dotted name ends with one of some names."""
    return {file for file, name, _ in _calls() if name.endswith(names)}


def test_nothing_is_unpickled_and_no_text_is_run() -> None:
    found = {
        f"{file}: {name}"
        for file, name, told in _calls()
        if name in FORBIDDEN
        or name.endswith(tuple(f".{each}" for each in FORBIDDEN if "." in each))
        or (name == "torch.load" and told.get("weights_only") is not True)
        or (name.endswith(".load") and told.get("allow_pickle", False) is not False)
        or told.get("shell", False) is not False
    }

    assert found == EXEMPT


# What prints, and who may: anything else would print escape sequences as they are.
PRINTERS = ("print", "typer.echo", "click.echo", "sys.stdout.write", "sys.stderr.write")
MAY_PRINT = {
    "cli/terminal.py",
    "store/parquet_probe.py",  # a word of its own, to the process that started it
    "tasks/samples/measure_target.py",  # these three are run by a developer
    "tasks/samples/build_target.py",
    "tasks/samples/generate.py",
}


def test_all_text_for_the_terminal_goes_one_way() -> None:
    assert {file for file, name, _ in _calls() if name in PRINTERS} == MAY_PRINT


# What writes a file by its path, following a link of that name, by the end of its dotted name.
WRITERS = (
    *(".write_text", ".write_bytes", ".touch", "shutil.copyfile", "shutil.copy", "shutil.copy2"),
    *("shutil.copytree", "shutil.move", "pq.write_table", "save_file", "save_pretrained"),
    *("to_json_file", "tempfile.mkstemp", "NamedTemporaryFile"),
)
OWN_FOLDER = "writes in a folder that the store made new, or removed the links from"
MAY_WRITE = {
    "analysis/board/counts.py": "a Parquet file, through replace_file",
    "models/heads/block_exports.py": OWN_FOLDER,
    "models/heads/saved_head.py": OWN_FOLDER,
    "models/heads/head_exports.py": OWN_FOLDER,
    "models/language_model.py": OWN_FOLDER,
    "pipeline/stages/choose_draft.py": OWN_FOLDER,
    "pipeline/journal.py": "touches in the new folder of an attempt",
    "pipeline/stopping.py": "touches in the new folder of an attempt",
    "training/checkpoints.py": OWN_FOLDER,
    "training/launcher.py": OWN_FOLDER,
    "training/token_selection_log.py": OWN_FOLDER,
    "models/wheel.py": "writes to the user's own cache of models",
    "engines/_meters.py": "writes to /proc",
    "engines/_vllm/states_connector.py": "writes in vLLM's process, in a new folder of its own",
    "grading/isolation/memory.py": "makes a new file of a random name",
    "store/records.py": "a Parquet file, through replace_file",
    "reports/export.py": "a Parquet file, in memory",
    "tasks/samples/build_target.py": "is run by a developer",
}


def test_one_function_writes_the_files_of_runs_stores_and_reports() -> None:
    assert _files_that_call(WRITERS) == MAY_WRITE.keys()


# What starts a process, by the end of its dotted name, and which program it starts.
STARTERS = ("subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output")
MAY_START = {
    "environment.py": "git and nvidia-smi",
    "models/wheel.py": "pip",
    "grading/isolation/bubblewrap.py": "bubblewrap, to see whether it can isolate",
    "grading/sandbox.py": "bubblewrap and setpriv, or Python with --unsafe-code",
    "pipeline/jobs/process.py": "Python for --jobs",
    "training/launcher.py": "Python for several devices",
    "engines/_vllm/child_process.py": "Python for vLLM",
    "store/parquet_probe.py": "Python, to read footers",
}


def test_no_program_is_started_but_those_that_are_named() -> None:
    spawned = {
        f"{file}: {name}"
        for file, name, _ in _calls()
        if name.startswith(("os.exec", "os.spawn", "os.posix_spawn", "os.popen", "pty."))
    }

    assert _files_that_call(STARTERS) == MAY_START.keys()
    assert not spawned
