"""The report of `make gpu`: report.json and report.md, written anew after every step."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.gpu.steps import Done, Step

HEAD = "| step | result | seconds |\n|---|---|---:|"


def write_report(
    out: Path, facts: Mapping[str, Any], done: Sequence[Done], left: Sequence[Step]
) -> None:
    """Write the report of the steps that are done, and name those that are left."""
    document = {
        **facts,
        "steps": [asdict(one) for one in done],
        "left": [step.name for step in left],
    }
    (out / "report.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "report.md").write_text(as_markdown(facts, done, left), encoding="utf-8")


def as_markdown(facts: Mapping[str, Any], done: Sequence[Done], left: Sequence[Step]) -> str:
    """Return the report as a page: the machine, a line for each step, then each step's table."""
    machine = facts["machine"]
    devices = ", ".join(machine["accelerators"]) or machine["processor"]
    commit = f"{facts['commit']}{' with changes' if facts['dirty'] else ''}"
    small = " Small: as little work as shows that each step runs; no figure is a result." * bool(
        facts["small"]
    )
    lines = [
        f"# draftmark on {devices}",
        "",
        f"{facts['date']}, commit {commit}, torch {facts['torch']}, Python {facts['python']}, "
        f"device {facts['device']}.{small}",
        "",
        HEAD,
        *(f"| {one.step.title} | {one.status} | {one.seconds:.0f} |" for one in done),
        *(f"| {step.title} | not yet run | |" for step in left),
    ]
    return "\n".join([*lines, *(line for one in done for line in _section(one))]) + "\n"


def _section(one: Done) -> list[str]:
    lines = ["", f"## {one.step.title}", ""]
    if one.note:
        lines += [one.note, ""]
    if one.rows:
        lines += [*_table(one.rows), ""]
    if one.reason:
        lines += [f"{one.status.capitalize()}:", "", "```text", one.reason, "```", ""]
    return lines[:-1]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(_cell(row.get(column, '')) for column in columns)} |" for row in rows),
    ]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")
