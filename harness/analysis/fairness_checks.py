"""The cells of a task and pair, as checks of fairness look at them, and how findings name them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from draftmark.config.recipe import Recipe
from draftmark.config.sections import SpeedCondition
from draftmark.results import Cell, Finding, Result, Severity
from draftmark.store.speed_records import Measurement


@dataclass(frozen=True)
class Group:
    """The cells of one task and pair that have numbers."""

    recipe: Recipe
    rows: Sequence[Result]
    speeds: Mapping[Cell, Mapping[SpeedCondition, Measurement]]
    data: Mapping[str, Any]

    def finding(self, severity: Severity, text: str, /, **facts: Any) -> Finding:
        """Return a finding about this task and pair."""
        return Finding(severity, f"{self.data['task']}, {self.data['pair']}", text, facts)

    @property
    def trained(self) -> list[Result]:
        """The cells whose draft was trained."""
        return [row for row in self.rows if row.ledger and row.ledger.steps]


def differing(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, of settings by owner, those that differ: setting -> owner -> value."""
    names = dict.fromkeys(name for settings in values.values() for name in settings)
    by_name = {name: {owner: s.get(name) for owner, s in values.items()} for name in names}
    return {
        name: owners
        for name, owners in by_name.items()
        if any(value != next(iter(owners.values())) for value in owners.values())
    }


def listed(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return settings by owner in words, each value cut where it is long."""
    return "; ".join(
        f"{name} {', '.join(f'{value!s:.40} ({owner})' for owner, value in owners.items())}"
        for name, owners in found.items()
    )


def name_of(row: Result) -> str:
    """Return what findings call a cell of a task and pair."""
    return f"{row.cell.method} (seed {row.cell.seed})"


Check = Callable[[Group], Iterator[Finding]]
