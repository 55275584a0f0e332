"""Reports a training to Accelerate's trackers, which write files or call services.

Trackers change neither the training nor its result.
"""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draftmark.config.model_sections import Tracker as Name
from draftmark.errors import UserError

JSON_LINES = "scalars.jsonl"


def check_installed(names: Sequence[Name]) -> None:
    """Raise UserError for a tracker whose package is missing."""
    for name in names:
        if name != "jsonl" and importlib.util.find_spec(name) is None:
            package = name.replace("_", "-")
            raise UserError(
                f"training.trackers names {name!r}, whose package is not installed; run "
                f"`pip install {package}`, or take 'jsonl', which needs none."
            )


class JsonLines:
    """A tracker that writes a line of settings and a line for each step; a resumed run appends.

    It has the methods of accelerate.tracking.GeneralTracker that a training calls.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / JSON_LINES).open("a", encoding="utf-8")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Write the settings."""
        self._write({"settings": values})

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Write the metrics of a step."""
        self._write({"step": step, **values})

    def finish(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


@dataclass(frozen=True)
class Journal:
    """The trackers of a training, possibly none."""

    trackers: Sequence[Any] = ()  # JsonLines, or accelerate.tracking.GeneralTracker
    prefix: str = ""

    @classmethod
    def open(
        cls, names: Sequence[Name], run: Path | None, settings: Mapping[str, Any]
    ) -> "Journal":
        """Return a journal of the named trackers, with files in `run`; empty if `run` is None."""
        trackers = [_open_tracker(name, run) for name in names] if run else []
        # Accelerate's trackers take plain values or text, and no None.
        plain = {
            name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for name, value in settings.items()
            if value is not None
        }
        for tracker in trackers:
            tracker.store_init_configuration(plain)
        return cls(tuple(trackers))

    def aside(self, name: str) -> "Journal":
        """Return the journal of an auxiliary training; its name prefixes the metrics."""
        return Journal(self.trackers, f"{self.prefix}{name}/")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Report the metrics of a step, counted from 1; step 0 is before training."""
        for tracker in self.trackers:
            tracker.log({f"{self.prefix}{name}": value for name, value in values.items()}, step)

    def close(self) -> None:
        """Close the trackers."""
        for tracker in self.trackers:
            tracker.finish()


def _open_tracker(name: Name, run: Path) -> Any:
    if name == "jsonl":
        return JsonLines(run)
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    tracker = kind(run.name, run.parent) if kind.requires_logging_directory else kind(run.name)
    tracker.start()
    return tracker
