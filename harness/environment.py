"""The manifest: versions, commit and hardware. Every artifact and every result carries one."""

import json
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

PACKAGES = ("draftmark", "torch", "transformers", "tokenizers", "pyarrow", "numpy", "scipy")
_SOURCE = Path(__file__).resolve().parent.parent
_MAKE_TARGETS = ("vllm", "ray")


def manifest() -> dict[str, Any]:
    """Return the manifest of this process as JSON, without names of people or hosts."""
    return {**_lasting_facts(), "threads": _threads()}


@cache
def _lasting_facts() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "git": git_state(),
        "hardware": {**machine_facts(), "memory_bytes": _memory_bytes()},
    }


@cache
def machine_facts() -> dict[str, Any]:
    """Return the hardware that decides speed: processor, cores, accelerators."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": _cores(),
        "accelerators": _accelerators(),
    }


def git_state() -> dict[str, Any] | None:
    """Return the commit of draftmark's source and if it is changed; None outside a checkout."""
    return _commit(_SOURCE) if _repository(_SOURCE) == _SOURCE else None


def project_state() -> dict[str, Any] | None:
    """Return the commit of the working directory's repository; None for draftmark's own.

    Untracked files, such as results, do not count as changes.
    """
    root = _repository(Path.cwd())
    return None if root in (None, _SOURCE) else _commit(root, "--untracked-files=no")


def added_files(folder: Path) -> list[str]:
    """Return the files below a folder in the order in which its repository's branch got them.

    What a merge adds counts as added by the merge, whatever its commits are dated. Empty outside a
    repository.
    """
    log = ("log", "--first-parent", "-m", "--reverse", "--diff-filter=A", "--no-renames")
    named = ("--name-only", "--format=", "-z", "--relative", "--", ".")
    found = _git(folder, *log, *named)
    return [name for name in (found or "").replace("\n", "\0").split("\0") if name]


def package_state(name: str) -> dict[str, Any]:
    """Return a package's version, and its commit if it is editable or was installed from git."""
    package = distribution(name)
    origin = json.loads(package.read_text("direct_url.json") or "{}")  # PEP 610
    state: dict[str, Any] = {"version": package.version}
    if commit := origin.get("vcs_info", {}).get("commit_id"):
        return {**state, "commit": commit}
    url = urlsplit(origin.get("url", ""))
    folder = Path(url2pathname(url.path))
    if url.scheme == "file" and (root := _repository(folder)) and (found := _commit(root)):
        state |= {"commit": found["commit"], "dirty": found["dirty"]}
    return state


def install_hint(extra: str) -> str:
    """Return the command that installs an extra: by make in a checkout, else by pip."""
    if extra in _MAKE_TARGETS and (_SOURCE / "Makefile").exists():
        return f"make {extra}"
    return f"pip install 'draftmark[{extra}]'"


def _repository(folder: Path) -> Path | None:
    """Return the root of the git repository that contains a folder, or None."""
    root = _output("git", "-C", str(folder), "rev-parse", "--show-toplevel")
    return Path(root).resolve() if root else None


def _commit(root: Path, *status_options: str) -> dict[str, Any] | None:
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {
        "commit": commit,
        "date": _git(root, "show", "-s", "--format=%cI", "HEAD"),
        "dirty": bool(_status(root, *status_options)),
    }


def _status(root: Path, *options: str) -> str | None:
    """Return the changed files of a repository."""
    return _git(root, "status", "--porcelain", *options)


def _git(folder: Path, *words: str) -> str | None:
    """Return what git prints about a folder, or None.

    The repository may be somebody else's: its settings start no monitor of files and no check of
    signatures, nothing is fetched, and no lock is taken, which a killed run would leave.
    """
    safely = ("-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
    return _output("git", "--no-optional-locks", *safely, "-C", str(folder), *words)


def _output(*command: str) -> str | None:
    environment = {**os.environ, "GIT_ALLOW_PROTOCOL": ""}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=10, env=environment, errors="replace", check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _threads() -> int | None:
    """Return torch's threads if torch is loaded: a manifest must not load it."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else None


def _accelerators() -> list[str]:
    """Return the names of NVIDIA devices from the driver, which needs no torch."""
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names.splitlines() if names else []
