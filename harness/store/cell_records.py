"""All that was recorded of a cell, read from the folders of its results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from draftmark.config.sections import SpeedCondition
from draftmark.store.acceptance_tables import read_tables
from draftmark.store.records import DRAFT, GRADES, LIKELIHOODS, TABLES, VERDICTS, read_rows
from draftmark.store.speed_records import Measurement, TimedPass, read_parts
from draftmark.types import AcceptanceTable, Ledger


@dataclass(frozen=True)
class Records:
    """The records of a cell."""

    ledger: Ledger
    tables: Mapping[float, Sequence[AcceptanceTable]]  # by temperature
    target_grades: Sequence[Mapping[str, Any]]
    draft_grades: Sequence[Mapping[str, Any]]
    decode_grades: Sequence[Mapping[str, Any]]
    # Of the "target" and, if it is a model, of the "draft"; samples also by temperature.
    likelihoods: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    samples: Mapping[tuple[str, float], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    verdicts: Sequence[Mapping[str, Any]] = ()
    history: Sequence[Mapping[str, float]] = ()
    # Of speed: those measurements that did not fail.
    speeds: Mapping[SpeedCondition, Measurement] = field(default_factory=dict)
    floors: Mapping[SpeedCondition, Measurement] = field(default_factory=dict)
    parts: Sequence[TimedPass] = ()

    @classmethod
    def load(
        cls,
        *,
        draft: Path,
        target_grades: Path,
        scores: Mapping[float, Path],
        draft_grades: Path | None,
        decode_grades: Path | None,
        likelihoods: Mapping[str, Path],
        samples: Mapping[tuple[str, float], Path],
        verdicts: Path | None,
        speeds: Mapping[SpeedCondition, Path],
        floors: Mapping[SpeedCondition, Path],
        parts: Path | None,
    ) -> "Records":
        """Return the records in the folders of a cell's results."""
        facts = json.loads((draft / DRAFT).read_text("utf-8"))
        return cls(
            ledger=Ledger(**facts["ledger"]),
            tables={t: read_tables(path / TABLES) for t, path in scores.items()},
            target_grades=read_rows(target_grades / GRADES),
            draft_grades=read_rows(draft_grades / GRADES) if draft_grades else (),
            decode_grades=read_rows(decode_grades / GRADES) if decode_grades else (),
            likelihoods={who: read_rows(path / LIKELIHOODS) for who, path in likelihoods.items()},
            samples={which: read_rows(path / GRADES) for which, path in samples.items()},
            verdicts=read_rows(verdicts / VERDICTS) if verdicts else (),
            history=facts.get("history", ()),
            speeds={under: Measurement.load(path) for under, path in speeds.items()},
            floors={under: Measurement.load(path) for under, path in floors.items()},
            parts=read_parts(parts) if parts else (),
        )
