"""The diagnosis of `draftmark doctor`: what this machine has, and how to add what it lacks."""

import importlib.util
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draftmark import environment, registry
from draftmark.data.hub import access
from draftmark.data.sources import DATA_VARIABLE, data_directory, data_folder
from draftmark.grading.isolation import bubblewrap
from draftmark.models import cache
from draftmark.models.catalogue import CATALOGUE
from draftmark.models.dtype import resolve_dtype
from draftmark.models.quantised import PACKAGES, missing_packages

_EXTRAS = ("vllm", "ray")


@dataclass(frozen=True)
class Line:
    """A line of the diagnosis. `has`: True, False or, where nothing can be missing, None."""

    name: str
    text: str
    has: bool | None = None


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
        "quantised": {method: missing_packages(method) for method in PACKAGES},
    }


def diagnosis_lines(facts: Mapping[str, Any]) -> list[Line]:
    """Return the lines of the diagnosis; the first says how many things are missing."""
    lines = [*_machine(facts), _sandbox(facts["sandbox"]), *_models(facts), *_extras(facts)]
    missing = sum(line.has is False for line in lines)
    words = f"{missing} missing; each line says how to add it" if missing else "nothing is missing"
    return [Line("draftmark", words), *lines]


def _machine(facts: Mapping[str, Any]) -> Iterator[Line]:
    hardware = facts["hardware"]
    yield Line("python", facts["python"])
    for name, version in facts["versions"].items():
        yield Line(name, version or "not installed", bool(version))
    yield Line("processor", f"{hardware['processor']}, {hardware['cores']} cores")
    yield Line("memory", f"{hardware['memory_bytes'] / 1e9:.1f} GB")
    yield Line("accelerators", ", ".join(hardware["accelerators"]) or "none")
    yield Line("threads", f"{facts['threads']}")
    yield Line("training", f"in {facts['training_dtype']}, unless a pair sets its dtype")
    yield Line("disk", f"{facts['disk_free_bytes'] / 1e9:.1f} GB free here")
    yield Line("hub", facts["hub"])
    yield Line("hub cache", facts["hub_cache"])
    yield Line("proxies", facts["proxies"])


def _models(facts: Mapping[str, Any]) -> Iterator[Line]:
    yield Line("model cache", facts["model_cache"])
    for name, source in facts["models"].items():
        text = source or f"not fetched; draftmark fetch {name}"
        yield Line(f"model {name}", text, bool(source))


def _extras(facts: Mapping[str, Any]) -> Iterator[Line]:
    yield _data_line(facts["data"])
    for extra, found in facts["extras"].items():
        text = "installed" if found else f"not installed; {environment.install_hint(extra)}"
        yield Line(f"extra {extra}", text, found)
    for method, missing in facts["quantised"].items():
        text = f"pip install {' '.join(missing)}" if missing else "loads here"
        yield Line(f"{method} target", text, not missing)


def _sandbox(sandbox: Mapping[str, Any]) -> Line:
    missing = f"{sandbox['reason']}; {bubblewrap.INSTALL}"
    works = sandbox["works"]
    return Line("sandbox", "bubblewrap isolates programs" if works else missing, works)


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


def _data_line(data: Mapping[str, Any]) -> Line:
    if data["directory"] is None:
        return Line("data", f"no data directory ({DATA_VARIABLE} is not set)", False)
    tasks = ", ".join(data["tasks"])
    return Line("data", f"{data['directory']}: {tasks or 'no known task in it'}", bool(tasks))
