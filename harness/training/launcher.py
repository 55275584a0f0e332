"""Starts the processes that train one draft together, and tells what became of them.

Torch's own launcher starts them on this machine; each does the same work with a share of every
step's rows, and the first one writes. The store is left to the process that started them: what they
write is in the job's folders, which it alone makes a result of. They end with it, however it ends.
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

Work = Callable[[Job, ProcessGroup], None]  # of a module: it is sent by its name

_ORDER, _LOG, _MENDABLE, _BUG = "order.pickle", "processes.log", "mendable.txt", "bug.txt"


def share(work: Work, job: Job, processes: int) -> None:
    """Do the work of a job here, or in several processes that share it.

    Raises UserError if one of them does, or if there are fewer GPUs than processes; RuntimeError
    with the traceback of any other error.
    """
    if processes == 1:
        work(job, ProcessGroup())
        return
    threads = _threads(processes)
    folder = job.scratch
    for name in (_MENDABLE, _BUG):
        (folder / name).unlink(missing_ok=True)
    places = (job.inputs, job.out, job.scratch, job.logs, job.progress.quiet)
    order = pickle.dumps((work, places))
    (folder / _ORDER).write_bytes(order)
    code = _run(folder, hashlib.sha256(order).hexdigest(), processes, threads)
    if (folder / _MENDABLE).exists():
        raise UserError((folder / _MENDABLE).read_text("utf-8"))
    if code:
        said = folder / (_BUG if (folder / _BUG).exists() else _LOG)
        raise RuntimeError(f"one of {processes} processes failed: {said.read_text('utf-8')}")


def _threads(processes: int) -> int:
    """Return how many threads of the processor each of so many processes may have."""
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise UserError(
            f"training.processes = {processes}, but this machine has {torch.cuda.device_count()} "
            "GPUs; lower it."
        )
    return max(1, torch.get_num_threads() // processes)


def _run(folder: Path, order: str, processes: int, threads: int) -> int:
    """Return the exit status of the launcher."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "draftmark.training.launcher"]
    command += [str(folder), order]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # where plug-ins are found
    }
    with (
        (folder / _LOG).open("wb") as log,
        # Progress goes where ours does. Standard input says nothing: it is open as long as we live.
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=2,
            stderr=log,
            env=environment,
            start_new_session=True,  # the first Ctrl-C lets a stage finish: it must not hear it
        ) as it,
    ):
        try:
            return it.wait()
        finally:
            it.terminate()


def _end_with_the_one_that_started_us() -> None:
    def watch() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _read_order(folder: Path, sha256: str) -> tuple[Work, Any]:
    """Return the order whose hash we were told: nobody else's is unpickled."""
    order = (folder / _ORDER).read_bytes()
    if hashlib.sha256(order).hexdigest() != sha256:
        raise RuntimeError(f"{folder / _ORDER} is not the order that was given")
    return pickle.loads(order)  # type: ignore[no-any-return]


def _main(folder: Path, sha256: str) -> None:
    """Do a share of the work that was sent to this process."""
    _end_with_the_one_that_started_us()
    work, (inputs, out, scratch, logs, quiet) = _read_order(folder, sha256)
    team = ProcessGroup.join()
    progress = Progress(Console(highlight=False), quiet=quiet or not team.is_first)
    try:
        work(Job(inputs, out, scratch, progress, logs), team)
    except UserError as error:
        _fail(folder / _MENDABLE, str(error))
    except Exception:
        _fail(folder / _BUG, traceback.format_exc())
    team.leave()


def _fail(path: Path, text: str) -> NoReturn:
    """Say why, unless another process has; end the others with this one."""
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(text)
    sys.stdout.flush()
    os._exit(1)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
