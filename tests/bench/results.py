"""The results of `make bench`: as JSON, and as Markdown."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from statistics import median
from typing import Any

from draftmark import environment
from tests.bench.frame import MEMORY, Measured, Ratio, Spent

SCHEMA = 1
# The instruction sets that decide how fast a processor multiplies matrices, and in which dtype.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "sve", "bf16")
HEAD = (
    "| comparison | beside | draftmark | the other | times the speed | times the memory |\n"
    "|---|---|---:|---:|---:|---:|"
)


def run_facts() -> dict[str, Any]:
    """Return when, on which commit and on which machine a bench runs."""
    git = environment.git_state() or {"commit": None, "dirty": None}
    return {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git["commit"],
        "dirty": git["dirty"],
        "machine": {**environment.machine_facts(), "flags": processor_flags(Path("/proc/cpuinfo"))},
        "python": python_version(),
        "torch": version("torch"),
        "load": round(os.getloadavg()[0], 1),  # processes that ran beside, in the minute before
    }


def processor_flags(cpuinfo: Path) -> list[str]:
    """Return which of FLAGS the processor has; none where the system does not list flags."""
    if not cpuinfo.exists():
        return []
    lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if line.startswith(("flags", "Features"))]
    held = set(listed[0].partition(":")[2].split()) if listed else set()
    return [flag for flag in FLAGS if flag in held]


def as_json(bench: str, measured: Measured) -> dict[str, Any]:
    """Return a comparison with every repeat of every arm, and the ratios."""
    comparison = measured.comparison
    return {
        "bench": bench,
        "name": comparison.name,
        "facts": dict(comparison.facts),
        "unit": comparison.unit,
        "arms": {name: [asdict(one) for one in spent] for name, spent in measured.spent.items()},
        "ratios": [asdict(ratio) for ratio in measured.ratios],
    }


def table(measured: Sequence[Measured]) -> str:
    """Return comparisons as one table in Markdown, a row for each other arm."""
    return "\n".join([HEAD, *(row for one in measured for row in _rows(one))])


def _rows(measured: Measured) -> list[str]:
    mine, *others = measured.spent
    ratios = {(ratio.other, ratio.quantity): ratio for ratio in measured.ratios}
    unit = measured.comparison.unit
    return [
        f"| {measured.comparison.name} | {other} | {_level(measured.spent[mine], unit)} | "
        f"{_level(measured.spent[other], unit)} | {_shown(ratios, other, 'speed')} | "
        f"{_shown(ratios, other, MEMORY)} |"
        for other in others
    ]


def _level(spent: Sequence[Spent], unit: str) -> str:
    """Return the median of an arm: its rate where amounts are counted, else its seconds."""
    if unit:
        rate = median(one.amount / one.seconds for one in spent)
        return f"{rate:,.0f} {unit}/s" if rate >= 100 else f"{rate:.3g} {unit}/s"
    return f"{median(one.seconds for one in spent):.3g} s"


def _shown(ratios: Mapping[tuple[str, str], Ratio], other: str, quantity: str) -> str:
    ratio = ratios.get((other, quantity))
    if ratio is None:
        return ""
    sign = "≤" if quantity == MEMORY else "≥"
    goal = "" if ratio.goal is None else f" (goal {sign} {ratio.goal:.3g})"
    return f"{ratio}{goal}"
