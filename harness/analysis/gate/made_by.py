"""Facts of what made a run's drafts: the drafts' files, the code of methods, plug-in packages.

A gate tests changes of these facts, so it states them and never refuses them. Runs that did not
record a kind of fact lack it altogether; then nothing is known of a difference.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from draftmark.analysis.quantities import DEFINITIONS
from draftmark.analysis.served_counts import DEFINITIONS as SERVED
from draftmark.results import Result, Results
from draftmark.store.entries import files_digest
from draftmark.store.records import DRAFT

KINDS = ("weights", "code", "plugins", "counting")
DRAFTED = "counting.drafted"  # how drafted tokens were counted
WITHIN_TEXTS = "within texts"  # as the first versions counted
_RATE = "draft_acceptance_rate"


def made_by(results: Results) -> dict[str, Any]:
    """Return the facts of each kind that a run recorded."""
    weights = {name: files for name, files in map(draft_files, results.results) if files}
    recorded = {kind: results.manifest.get(kind) for kind in ("code", "plugins")}
    found = {"weights": weights, **recorded, "counting": dict(_counting(results))}
    return {kind: facts for kind, facts in found.items() if facts}


def draft_files(row: Result) -> tuple[str, str | None]:
    """Return a cell's name, and the digest of its draft's files; None without files."""
    entries = (e for e in row.provenance.get("entries", ()) if e["stage"] == "draft")
    files: Mapping[str, Any] = next((entry.get("files") or {} for entry in entries), {})
    weights = {name: facts for name, facts in files.items() if name != DRAFT}
    cell = row.cell
    name = f"{cell.task}/{cell.pair}/{cell.method}/seed {cell.seed}"
    return name, files_digest(weights) if weights else None


def _counting(results: Results) -> Iterator[tuple[str, str]]:
    """Yield how drafted tokens were counted, if anything was drafted."""
    definitions = {
        number.definition
        for row in results.results
        for key, number in row.numbers.items()
        if key.startswith(f"{_RATE}[")
    }
    if SERVED[_RATE] in definitions:
        yield "drafted", "by the server"
    elif definitions:
        yield "drafted", "whole blocks" if DEFINITIONS[_RATE] in definitions else WITHIN_TEXTS


def drafted_counting(facts: Mapping[str, str]) -> str:
    """Return how drafted tokens were counted, from a run's facts; the first versions named none."""
    return str(json.loads(facts.get(DRAFTED, json.dumps(WITHIN_TEXTS))))


def known_to_both(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """True unless a fact is of a kind that one of two runs did not record."""
    kind = name.partition(".")[0]
    if kind not in KINDS:
        return True
    return all(any(other.startswith(f"{kind}.") for other in side) for side in (before, now))
