"""The records of a cell, as analysis reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from draftmark.config.sections import SpeedCondition
from draftmark.store.speed_records import Measurement, TimedPass
from draftmark.types import AcceptanceTable, Text

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Records:
    """The stored records of a cell; a field that the recipe does not ask for is empty.

    Temperatures key tables and texts, models ("target" or "draft") key likelihoods; both together
    key samples.
    """

    draft: Mapping[str, Any] = field(default_factory=dict)  # ledger, validation history ...
    tables: Mapping[float, Sequence[AcceptanceTable]] = field(default_factory=dict)
    texts: Mapping[float, Sequence[Text]] = field(default_factory=dict)  # that were scored
    target_grades: Rows = ()
    draft_grades: Rows = ()
    decode_grades: Rows = ()
    likelihoods: Mapping[str, Rows] = field(default_factory=dict)
    samples: Mapping[tuple[str, float], Rows] = field(default_factory=dict)
    verdicts: Rows = ()
    # Speed measurements that did not fail.
    speeds: Mapping[SpeedCondition, Measurement] = field(default_factory=dict)
    floors: Mapping[SpeedCondition, Measurement] = field(default_factory=dict)
    parts: Sequence[TimedPass] = ()
