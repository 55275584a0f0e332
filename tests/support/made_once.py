"""Expensive inputs of tests, made once in a run of pytest: its other processes read them."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

T = TypeVar("T")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[], T]) -> T:
    """Return the result of `make`, from the first process that asks for `name`.

    The others read a pickle. Raises what `make` raises; then the next process that asks tries.
    """
    folder = shared_folder(factory)
    file = folder / f"{name}.pickle"
    with FileLock(folder / f"{name}.lock"):
        if file.exists():
            found: T = pickle.loads(file.read_bytes())
            return found
        made = make()
        file.write_bytes(pickle.dumps(made))
        return made


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this run of pytest share, and no other run."""
    base = factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-") else base) / "made-once"
    shared.mkdir(exist_ok=True)
    return shared
