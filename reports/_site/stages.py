"""The table of the stages behind a page."""

import re
from collections.abc import Iterable

from draftmark.analysis.titles import terms_title
from draftmark.reports._shared.content import Entry, RowName, Table
from draftmark.reports._site.folding import PageTable, plain_table
from draftmark.reports._site.provenance import Stage

_TERMS = re.compile(r"\bgamma=\d+(,\w+=[\w.]+)+")  # as older runs have them in labels
_HEADER = ("stage", "what", "key", "seconds", "commit", "machine")


def stages_table(stages: Iterable[Stage]) -> PageTable | None:
    """Return the table of stages; None without any."""
    rows = [_row(stage) for stage in stages]
    return plain_table(Table(_HEADER, rows, "lllrll")) if rows else None


def _row(stage: Stage) -> list[Entry]:
    manifest = stage.get("manifest") or {}
    git, hardware = manifest.get("git") or {}, manifest.get("hardware") or {}
    cores = hardware.get("cores")
    machine = [hardware.get("processor"), f"{cores} cores" if cores else ""]
    return [
        RowName(stage["stage"]),
        _TERMS.sub(lambda terms: terms_title(terms[0]), stage["label"]),
        stage["key"][:12],
        f"{stage.get('seconds') or 0:.1f}",
        f"{git.get('commit', '')[:12]}{' with changes' if git.get('dirty') else ''}",
        ", ".join(filter(None, machine)),
    ]
