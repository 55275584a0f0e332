"""Speed measurements in a merged result: of one machine and one version of each engine, or none.

Every speedup is of two arms on one machine, but tables set the speedups of methods side by side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from draftmark.analysis import expected_speed, predicted_speedup, speeds
from draftmark.analysis.merging.parts import Part
from draftmark.results import Number, Result
from draftmark.store.records import DECODES
from draftmark.store.speed_records import ENGINE, PARTS, RUNS

_NAMES = {
    *speeds.DEFINITIONS,
    *predicted_speedup.DEFINITIONS,
    *expected_speed.DEFINITIONS,
}
_FILES = tuple(name.partition(".")[0] for name in (DECODES, RUNS, ENGINE, PARTS))


@dataclass(frozen=True)
class KeptSpeed:
    """The `speed` section of a merged recipe, or why speeds of several runs are left out."""

    section: Mapping[str, Any] | None
    left_out: str = ""

    def row(self, row: Result) -> Result:
        """Return a row, without its speeds if they are left out."""
        if not self.left_out:
            return row
        return replace(
            row, numbers=without_speed(row.numbers), speed_failures={}, speed_refusals={}
        )

    def has_file(self, name: str) -> bool:
        """True if a file of a cell's records is kept."""
        stem = name.partition(".")[0]
        return not (self.left_out and any(_is_of(stem, kind) for kind in _FILES))


def _is_of(stem: str, kind: str) -> bool:
    """True if a file is of a kind, or of that kind for a later speed condition: "runs-2"."""
    return stem == kind or stem.removeprefix(f"{kind}-").isdigit()


def kept_speed(parts: Sequence[Part]) -> KeptSpeed:
    """Return the speeds that runs may have in one table."""
    timed = [part for part in parts if part.record.timed_on]
    if not timed:
        return KeptSpeed(next((s for s in map(_section, parts) if s is not None), None))
    differing = dict(_differing(timed))
    if not differing:
        return KeptSpeed(_section(timed[0]))
    named = "; ".join(f"{name} {' and '.join(found)}" for name, found in differing.items())
    runs = ", ".join(sorted({part.record.title for part in timed}))
    return KeptSpeed(
        None,
        "speed measurements are left out, as they are not of one machine, engine version and "
        f"settings: {named} ({runs})",
    )


def _section(part: Part) -> Mapping[str, Any] | None:
    section: Mapping[str, Any] | None = part.record.recipe.get("speed")
    return section


def _differing(timed: Sequence[Part]) -> Iterator[tuple[str, list[str]]]:
    """Yield each machine, version or setting that runs do not share, with its values."""
    values: dict[str, set[str]] = {}
    for part in timed:
        settings = {f"speed.{name}": [str(v)] for name, v in (_section(part) or {}).items()}
        for name, several in {**part.record.timed_on, **settings}.items():
            values.setdefault(name, set()).update(several)
    for name, found in values.items():
        if len(found) > 1:
            yield name, sorted(found)


def without_speed(numbers: Mapping[str, Number]) -> dict[str, Number]:
    """Return the numbers that no machine decides."""
    return {key: it for key, it in numbers.items() if key.partition("[")[0] not in _NAMES}
