"""What engines say of themselves: what all arms of all runs share, and what differs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from draftmark.reports._shared.markdown import escape, table
from draftmark.results import Result

_ARMS = {"target": "the target alone", "draft": "with a draft"}
_ABSENT = "-"

Told = list[tuple[str, dict[str, str]]]  # arm, its settings by dotted name, as JSON


def told(rows: Sequence[Result], directory: Path) -> str:
    """Return a section for each engine that left word in the records, pinned defaults among it."""
    sections = [
        section
        for engine, tellings in _by_engine(rows, directory).items()
        for section in (f"### {escape(engine)}", *_sections(tellings))
    ]
    return "\n\n".join(["## What engines were told", *sections]) if sections else ""


def _by_engine(rows: Sequence[Result], directory: Path) -> dict[str, Told]:
    found: dict[str, Told] = {}
    for row in rows:
        files = (directory / row.records).glob("engine*.json") if row.records else ()
        for file in sorted(files):
            said = json.loads(file.read_text("utf-8"))
            mine = found.setdefault(said["engine"], [])
            mine += [(arm, dict(_flat(said[arm]))) for arm in _ARMS if arm in said]
    return {engine: tellings for engine, tellings in found.items() if tellings}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings by their dotted names."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, json.dumps(value)


def _sections(tellings: Told) -> Iterator[str]:
    shared: list[str] = []
    other: list[list[str]] = []
    for name in sorted({name for _, settings in tellings for name in settings}):
        by_arm = [_values(tellings, arm, name) for arm in _ARMS]
        if len(said := {value for values in by_arm for value in values}) == 1:
            shared.append(f"{name} = {said.pop()}")
        else:
            other.append([escape(name), *(escape(", ".join(values)) for values in by_arm)])
    if shared:
        yield f"In every arm of every run: {escape(', '.join(shared))}."
    if other:
        yield table(["what differs", *_ARMS.values()], other, "lll")


def _values(tellings: Told, arm: str, name: str) -> tuple[str, ...]:
    """Return what an arm was told of a setting, each value once, in the order of the runs."""
    return tuple(dict.fromkeys(s.get(name, _ABSENT) for who, s in tellings if who == arm))
