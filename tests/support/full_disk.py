"""A full disk: a script for a mount namespace, on a disk of a few megabytes.

    python full_disk.py FOLDER

mounts a disk at FOLDER, fills it in each way, and in the first way by a run of two jobs, and prints
the errors as JSON.
Finished entries must stay whole and usable.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from mortal_runs import executor
from safetensors.torch import save_file

from draftmark.errors import UserError
from draftmark.models.mapped_files import map_file
from draftmark.pipeline.executor import execute_stages
from draftmark.progress import Progress
from draftmark.store import garbage_collection
from draftmark.store.graph import Job, Node
from draftmark.store.records import write_rows
from draftmark.store.store import Store, write_json
from draftmark.training.checkpoints import Checkpoint, save_checkpoint
from draftmark.types import Ledger

QUIET = Progress(quiet=True)
DISK_BYTES, MUCH = 4 * 2**20, 8 * 2**20


def _checkpoint(job: Job) -> None:
    model = torch.nn.Linear(MUCH // 4, 1)
    save_checkpoint(
        job.scratch, Checkpoint(1, Ledger(), (), None), model, torch.optim.SGD(model.parameters())
    )


def _map(job: Job) -> None:
    map_file(job.out / "states.bin", MUCH, torch.uint8, create=True).fill_(7)


WAYS: dict[str, Callable[[Job], object]] = {
    "safetensors": lambda job: save_file({"x": torch.zeros(MUCH)}, job.out / "a.safetensors"),
    "bytes": lambda job: (job.out / "a.bin").write_bytes(bytes(MUCH)),
    "json": lambda job: write_json(job.out / "a.json", "x" * MUCH),
    "parquet": lambda job: write_rows(
        job.out / "a.parquet", [{"x": torch.randn(MUCH // 8).tolist()}]
    ),
    "map": _map,
    "checkpoint": _checkpoint,
    "many files": lambda job: [(job.out / str(n)).write_bytes(bytes(9999)) for n in range(999)],
    "directories": lambda job: [(job.out / str(n)).mkdir() for n in range(10**5)],
}


def _small(job: Job) -> None:
    (job.out / "a.bin").write_bytes(bytes(100_000))


def _node(label: str, build: Callable[[Job], object], **inputs: Node) -> Node:
    def run(job: Job) -> None:
        build(job)

    return Node("stage", label, {"label": label}, inputs, code=(), build=run)


def main(folder: Path) -> dict[str, str]:
    """Fill the disk in each way; return the error message of each."""
    options = f"size={DISK_BYTES},nr_inodes=5000"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    store = Store(folder / "store")
    finished = _node("finished", _small)
    assert execute_stages([finished], store, QUIET) == {}
    messages = {}
    for way, jobs in [*((way, 1) for way in WAYS), (next(iter(WAYS)), 2)]:
        name = f"{way}, jobs {jobs}"
        try:
            nodes = [_node(name, WAYS[way], before=finished)]
            failures = executor(jobs)(nodes, Store(store.root), QUIET)
            messages[name] = f"no error: {failures}"
        except UserError as error:
            messages[name] = str(error)
        assert Store(store.root).load(finished)
        assert not any(wrong for _, wrong in garbage_collection.verify_store(store))
        garbage_collection.collect_garbage(store)
        # The space of the unfinished stage is free again.
        assert execute_stages([_node(f"after {name}", _small)], store, QUIET) == {}
    return messages


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
