"""Launches the processes that train one draft together.

Torch's own launcher starts the workers on this machine; each does the same work on its share of
every step's rows. The first worker writes to the job's folders; only the parent commits them to
the store. Workers exit when the parent does, however the parent ends.
"""

import hashlib
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from draftmark.errors import UserError
from draftmark.progress import Progress
from draftmark.store.graph import Job
from draftmark.training.process_group import ProcessGroup

Work = Callable[[Job, ProcessGroup], None]  # pickled by name, so it must be at module level

_ORDER, _LOG, _USER_ERROR, _BUG = "order.pickle", "processes.log", "user_error.txt", "bug.txt"


def run_shared(work: Work, job: Job, processes: int) -> None:
    """Run the work of a job in this process, or in several that share it.

    Raises UserError if a process does, or if there are fewer GPUs than processes; RuntimeError with
    the traceback of any other error.
    """
    if processes == 1:
        work(job, ProcessGroup())
        return
    folder = job.scratch
    for name in (_USER_ERROR, _BUG):
        (folder / name).unlink(missing_ok=True)
    order = pickle.dumps((work, (job.inputs, job.out, folder, job.logs, job.progress.quiet)))
    (folder / _ORDER).write_bytes(order)
    code = _run(folder, hashlib.sha256(order).hexdigest(), processes)
    if (folder / _USER_ERROR).exists():
        raise UserError((folder / _USER_ERROR).read_text("utf-8"))
    if code:
        reason = folder / (_BUG if (folder / _BUG).exists() else _LOG)
        raise RuntimeError(f"one of {processes} processes failed: {reason.read_text('utf-8')}")


def _threads(processes: int) -> int:
    """Return the number of CPU threads of each process; raises UserError if GPUs are too few."""
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise UserError(
            f"training.processes = {processes}, but this machine has {torch.cuda.device_count()} "
            "GPUs; lower it."
        )
    return max(1, torch.get_num_threads() // processes)


def _run(folder: Path, order: str, processes: int) -> int:
    """Return the exit status of the launcher."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "draftmark.training.launcher"]
    command += [str(folder), order]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(_threads(processes)),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # for plug-ins
    }
    with (
        (folder / _LOG).open("wb") as log,
        # Workers print progress to this stderr. Their stdin closes when this process ends.
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=2,
            stderr=log,
            env=environment,
            start_new_session=True,  # the first Ctrl-C lets workers finish their stage
        ) as launcher,
    ):
        try:
            return launcher.wait()
        finally:
            launcher.terminate()


def _exit_with_parent() -> None:
    def watch() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _read_order(folder: Path, sha256: str) -> tuple[Work, Any]:
    """Return the pickled work and folders; raises RuntimeError if the file has another hash."""
    order = (folder / _ORDER).read_bytes()
    if hashlib.sha256(order).hexdigest() != sha256:
        raise RuntimeError(f"{folder / _ORDER} is not the file that the parent wrote")
    return pickle.loads(order)  # type: ignore[no-any-return]


def _main(folder: Path, sha256: str) -> None:
    """Run this process's share of the work."""
    _exit_with_parent()
    work, (inputs, out, scratch, logs, quiet) = _read_order(folder, sha256)
    team = ProcessGroup.join()
    progress = Progress(Console(highlight=False), quiet=quiet or not team.is_first)
    try:
        work(Job(inputs, out, scratch, progress, logs), team)
    except UserError as error:
        _fail(folder / _USER_ERROR, str(error))
    except Exception:
        _fail(folder / _BUG, traceback.format_exc())
    team.leave()


def _fail(path: Path, text: str) -> NoReturn:
    """Write the reason, unless another process has; then exit, so the launcher ends the others."""
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(text)
    sys.stdout.flush()
    os._exit(1)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
