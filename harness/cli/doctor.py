"""The diagnosis of `draftmark doctor`: what this machine has, and how to add what it lacks."""

import importlib.util
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from draftmark import environment, registry
from draftmark.data.hub import access
from draftmark.data.sources import DATA_VARIABLE, data_directory, data_folder
from draftmark.grading.isolation import bubblewrap
from draftmark.models import cache
from draftmark.models.catalogue import CATALOGUE
from draftmark.models.dtype import resolve_dtype

_EXTRAS = ("vllm", "ray")


def diagnosis(data: Path | None) -> dict[str, Any]:
    """Return what this machine has, as JSON."""
    import torch

    facts = environment.manifest()
    return {
        "python": facts["python"],
        "versions": facts["versions"],
        "hardware": facts["hardware"],
        "threads": torch.get_num_threads(),
        "training_dtype": str(resolve_dtype("auto")),
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
        "hub": access.describe_access(),
        "hub_cache": str(access.cache_folder()),
        "proxies": access.describe_proxies(),
        "sandbox": {"works": not (reason := bubblewrap.why_unavailable()), "reason": reason or ""},
        "model_cache": str(cache.cache_directory()),
        "models": {name: _source(name) for name in CATALOGUE},
        "data": _data(data),
        "extras": {name: importlib.util.find_spec(name) is not None for name in _EXTRAS},
    }


def diagnosis_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the diagnosis."""
    hardware, sandbox = facts["hardware"], facts["sandbox"]
    yield f"python        {facts['python']}"
    for name, version in facts["versions"].items():
        yield f"{name:13} {version or 'not installed'}"
    yield f"processor     {hardware['processor']}, {hardware['cores']} cores"
    yield f"memory        {hardware['memory_bytes'] / 1e9:.1f} GB"
    yield f"accelerators  {', '.join(hardware['accelerators']) or 'none'}"
    yield f"threads       {facts['threads']}"
    yield f"training      in {facts['training_dtype']}, unless a pair sets its dtype"
    yield f"disk          {facts['disk_free_bytes'] / 1e9:.1f} GB free here"
    yield f"hub           {facts['hub']}"
    yield f"hub cache     {facts['hub_cache']}"
    yield f"proxies       {facts['proxies']}"
    isolates = "bubblewrap isolates programs"
    yield f"sandbox       {isolates if sandbox['works'] else _install_sandbox(sandbox['reason'])}"
    yield f"model cache   {facts['model_cache']}"
    for name, source in facts["models"].items():
        yield f"  {name}  {source or f'not fetched; draftmark fetch {name}'}"
    yield f"data          {_data_line(facts['data'])}"
    for extra, found in facts["extras"].items():
        state = "installed" if found else f"missing; {environment.install_hint(extra)}"
        yield f"extra {extra:7} {state}"


def _install_sandbox(reason: str) -> str:
    return f"{reason}; {bubblewrap.INSTALL}"


def _source(name: str) -> str | None:
    """Return where a model of the catalogue was fetched from; None if it is not here."""
    folder = cache.cached_model(name)
    return str(cache.read_record(folder)["source"]) if folder else None


def _data(data: Path | None) -> dict[str, Any]:
    """Return the data directory, None without one, and the tasks with rows in it."""
    named = data or data_directory()
    if named is None:
        return {"directory": None, "tasks": []}
    found = [registry.find_registered("tasks", name) for name in registry.registered_names("tasks")]
    tasks = [task.name for task in found if (named / data_folder(task)).is_dir()]
    return {"directory": str(named), "tasks": tasks}


def _data_line(data: Mapping[str, Any]) -> str:
    if data["directory"] is None:
        return f"no data directory ({DATA_VARIABLE} is not set)"
    return f"{data['directory']}: {', '.join(data['tasks']) or 'no known task in it'}"
