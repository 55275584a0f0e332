"""The lines of `draftmark doctor`: what this machine has, and how to add what it lacks."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

from draftmark import environment, registry
from draftmark.data.hub import access
from draftmark.data.sources import DATA_VARIABLE, data_directory, data_folder
from draftmark.grading.isolation import bubblewrap
from draftmark.models import cache
from draftmark.models.catalogue import CATALOGUE
from draftmark.models.dtype import resolve_dtype

_EXTRAS = ("vllm", "ray")


def diagnosis_lines(data: Path | None) -> Iterator[str]:
    """Yield the lines of the diagnosis."""
    import torch

    facts = environment.manifest()
    hardware = facts["hardware"]
    yield f"python        {facts['python']}"
    for name, version in facts["versions"].items():
        yield f"{name:13} {version or 'not installed'}"
    yield f"processor     {hardware['processor']}, {hardware['cores']} cores"
    yield f"memory        {hardware['memory_bytes'] / 1e9:.1f} GB"
    yield f"accelerators  {', '.join(hardware['accelerators']) or 'none'}"
    yield f"threads       {torch.get_num_threads()}"
    yield f"training      in {resolve_dtype('auto')}, unless a pair sets its dtype"
    yield f"disk          {shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB free here"
    yield f"hub           {access.describe_access()}"
    yield f"hub cache     {access.cache_folder()}"
    yield f"proxies       {access.describe_proxies()}"
    yield f"sandbox       {_sandbox()}"
    yield f"model cache   {cache.cache_directory()}"
    for name in CATALOGUE:
        folder = cache.cached_model(name)
        source = str(cache.read_record(folder)["source"]) if folder else ""
        yield f"  {name}  {source or f'not fetched; draftmark fetch {name}'}"
    yield f"data          {_data(data)}"
    for extra in _EXTRAS:
        found = importlib.util.find_spec(extra) is not None
        state = "installed" if found else f"missing; {environment.install_hint(extra)}"
        yield f"extra {extra:7} {state}"


def _sandbox() -> str:
    reason = bubblewrap.why_unavailable()
    return f"{reason}; {bubblewrap.INSTALL}" if reason else "bubblewrap isolates programs"


def _data(data: Path | None) -> str:
    named = data or data_directory()
    if named is None:
        return f"no data directory ({DATA_VARIABLE} is not set)"
    found = [registry.find_registered("tasks", name) for name in registry.registered_names("tasks")]
    tasks = [task.name for task in found if (named / data_folder(task)).is_dir()]
    return f"{named}: {', '.join(tasks) or 'no known task in it'}"
