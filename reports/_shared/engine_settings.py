"""The settings recorded by engines: those that all arms of all runs share, then the others."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from draftmark.reports._shared.content import escape_markdown, markdown_table
from draftmark.results import Result
from draftmark.store.reading import read_json
from draftmark.store.speed_records import EngineFacts

_ARMS = {"target": "the target alone", "draft": "with a draft"}
Settings = list[tuple[str, dict[str, str]]]  # (arm, dotted name -> setting as JSON)


def engine_settings_section(rows: Sequence[Result], directory: Path) -> str:
    """Return the Markdown section of engine settings, pinned defaults included; empty if none."""
    sections = [
        section
        for engine, settings in _by_engine(rows, directory).items()
        for section in (f"### {escape_markdown(engine)}", *_sections(settings))
    ]
    return "\n\n".join(["## Engine settings", *sections]) if sections else ""


def _by_engine(rows: Sequence[Result], directory: Path) -> dict[str, Settings]:
    found: dict[str, Settings] = {}
    for row in rows:
        files = (directory / row.records).glob("engine*.json") if row.records else ()
        for file in sorted(files):
            stored = read_json(file, EngineFacts)
            by_arm = {"target": stored.target, "draft": stored.draft}
            arms = [(arm, dict(_flat(facts))) for arm, facts in by_arm.items() if facts]
            if arms:
                found.setdefault(stored.engine, []).extend(arms)
    return found


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, value as JSON) of each setting."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, json.dumps(value)


def _sections(settings: Settings) -> Iterator[str]:
    shared: list[str] = []
    differing: list[list[str]] = []
    for name in sorted({name for _, own in settings for name in own}):
        by_arm = [
            dict.fromkeys(own.get(name, "-") for arm, own in settings if arm == which)
            for which in _ARMS
        ]
        if len(values := {value for arm in by_arm for value in arm}) == 1:
            shared.append(f"{name} = {values.pop()}")
        else:
            differing.append(
                [escape_markdown(name), *(escape_markdown(", ".join(arm)) for arm in by_arm)]
            )
    if shared:
        yield f"In every arm of every run: {escape_markdown(', '.join(shared))}."
    if differing:
        yield markdown_table(["what differs", *_ARMS.values()], differing, "lll")
