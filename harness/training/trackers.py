"""Tells Accelerate's trackers how a training goes: in files or services of their own.

What they are told changes nothing of the training, and is no part of its result.
"""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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


class Tracker(Protocol):
    """What is asked of accelerate.tracking.GeneralTracker."""

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Note the settings of the run."""

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Note numbers of a step."""

    def finish(self) -> None:
        """Write what is still held."""


class JsonLines:
    """A line for each step, and one for the settings; an interrupted run goes on in the file."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / JSON_LINES).open("a", encoding="utf-8")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Write the settings."""
        self._write({"settings": values})

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Write numbers of a step."""
        self._write({"step": step, **values})

    def finish(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


@dataclass(frozen=True)
class Journal:
    """What is told how a training goes. Without trackers, nothing is."""

    trackers: Sequence[Tracker] = ()
    prefix: str = ""

    @classmethod
    def open(
        cls, names: Sequence[Name], run: Path | None, settings: Mapping[str, Any]
    ) -> "Journal":
        """Return a journal of the trackers so called; those that write files do so in `run`."""
        trackers = [_opened(name, run) for name in names] if run else []
        for tracker in trackers:
            tracker.store_init_configuration(_told(settings))
        return cls(tuple(trackers))

    def aside(self, name: str) -> "Journal":
        """Return the journal of a training on the way, whose numbers bear its name."""
        return Journal(self.trackers, f"{self.prefix}{name}/")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Tell numbers of a step, counted from 1; of step 0 are those before training."""
        for tracker in self.trackers:
            tracker.log({f"{self.prefix}{name}": value for name, value in values.items()}, step)

    def close(self) -> None:
        """Have the trackers write what they still hold."""
        for tracker in self.trackers:
            tracker.finish()


def _opened(name: Name, run: Path) -> Tracker:
    if name == "jsonl":
        return JsonLines(run)
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    tracker: Any = kind(run.name, run.parent) if kind.requires_logging_directory else kind(run.name)
    tracker.start()
    return tracker  # type: ignore[no-any-return]


def _told(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as trackers take them: those that are set, plain values or text."""
    return {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in settings.items()
        if value is not None
    }
