"""The lines of `draftmark doctor`: what this machine has, and how to add what it lacks."""

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from draftmark import environment, registry
from draftmark.data.hub import access
from draftmark.data.sources import DATA_VARIABLE, data_directory, data_folder
from draftmark.grading.isolation import bubblewrap
from draftmark.models import cache
from draftmark.models.catalogue import CATALOGUE
from draftmark.models.dtype import resolve_dtype

_EXTRAS = ("vllm", "ray")


@dataclass(frozen=True)
class Line:
    """A line of the diagnosis. `has`: True, False or, where nothing can be missing, None."""

    name: str
    text: str
    has: bool | None = None


def diagnosis_lines(data: Path | None) -> list[Line]:
    """Return the lines of the diagnosis; the first says how many things are missing."""
    lines = [*_machine(), *_network(), _sandbox(), *_models(), _data(data), *_extras()]
    missing = sum(line.has is False for line in lines)
    words = f"{missing} missing; each line says how to add it" if missing else "nothing is missing"
    return [Line("draftmark", words), *lines]


def _machine() -> Iterator[Line]:
    import torch

    facts = environment.manifest()
    hardware = facts["hardware"]
    yield Line("python", facts["python"])
    for name, version in facts["versions"].items():
        yield Line(name, version or "not installed", bool(version))
    yield Line("processor", f"{hardware['processor']}, {hardware['cores']} cores")
    yield Line("memory", f"{hardware['memory_bytes'] / 1e9:.1f} GB")
    yield Line("accelerators", ", ".join(hardware["accelerators"]) or "none")
    yield Line("threads", f"{torch.get_num_threads()}")
    yield Line("training", f"in {resolve_dtype('auto')}, unless a pair sets its dtype")
    yield Line("disk", f"{shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB free here")


def _network() -> Iterator[Line]:
    yield Line("hub", access.describe_access())
    yield Line("hub cache", str(access.cache_folder()))
    yield Line("proxies", access.describe_proxies())


def _models() -> Iterator[Line]:
    yield Line("model cache", str(cache.cache_directory()))
    for name in CATALOGUE:
        folder = cache.cached_model(name)
        source = str(cache.read_record(folder)["source"]) if folder else ""
        yield Line(f"model {name}", source or f"not fetched; draftmark fetch {name}", bool(folder))


def _extras() -> Iterator[Line]:
    for extra in _EXTRAS:
        found = importlib.util.find_spec(extra) is not None
        text = "installed" if found else f"not installed; {environment.install_hint(extra)}"
        yield Line(f"extra {extra}", text, found)


def _sandbox() -> Line:
    reason = bubblewrap.why_unavailable()
    text = f"{reason}; {bubblewrap.INSTALL}" if reason else "bubblewrap isolates programs"
    return Line("sandbox", text, not reason)


def _data(data: Path | None) -> Line:
    named = data or data_directory()
    if named is None:
        return Line("data", f"no data directory ({DATA_VARIABLE} is not set)", False)
    found = [registry.find_registered("tasks", name) for name in registry.registered_names("tasks")]
    tasks = [task.name for task in found if (named / data_folder(task)).is_dir()]
    return Line("data", f"{named}: {', '.join(tasks) or 'no known task in it'}", bool(tasks))
