"""A Python that has imported what takes long: each program that it runs is a fork of one process.

A fresh interpreter needs 5 s of processor time to import torch, transformers and draftmark, and
vLLM 7 s more. `shared_python` gives an executable to be used in the place of `sys.executable`,
also by code that starts Python itself, if `sys.executable` is replaced by it.

The executable is a small process that stands for a fork. The fork gets its open files, variables,
folder and arguments; the process ends as the fork ends, and the fork is killed with all that it
started when the process is. Signals are not passed on, and variables that modules read as they are
imported are those of pytest: what a test says of these needs an interpreter of its own.
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import fork_server
import pytest
from made_once import made_once

# What runs, benches and trainings import.
OF_RUNS = ("draftmark.pipeline.publish", "draftmark.engines.reference", "draftmark.baselines.kd")
OF_VLLM = (
    "vllm",
    "vllm.v1.engine.llm_engine",
    "vllm.v1.worker.cpu_worker",
    "vllm.model_executor.layers.quantization.compressed_tensors.utils",
)


@contextmanager
def shared_python(
    factory: pytest.TempPathFactory, name: str, modules: Sequence[str], **variables: str
) -> Iterator[str]:
    """Yield the executable that stands for Python, one for all processes of this run of pytest.

    The first of them starts a process that imports `modules`, with additional variables; `name` is
    that of these modules.
    """
    start = partial(_start, modules, variables)
    folder = made_once(factory, f"python for {name}", start)
    with socket.socket(socket.AF_UNIX) as holding:
        try:
            holding.connect(str(folder / "socket"))
        except OSError:  # those who held it have ended
            folder = start()
            holding.connect(str(folder / "socket"))
        holding.sendall(fork_server.HOLD)
        yield str(folder / "python")


def _start(modules: Sequence[str], variables: dict[str, str]) -> Path:
    """Start the process that forks; return its folder when it has imported the modules."""
    folder = Path(tempfile.mkdtemp(prefix="forks"))
    command = [sys.executable, "-P", fork_server.__file__, str(folder), *modules]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with (folder / "log").open("w+") as log:
        done = subprocess.run(
            command,
            env={**os.environ, **paths, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
        log.seek(0)
        assert done.returncode == 0, log.read()[-2000:]
    return folder
