"""The stages behind a page: a line for each, and the settings, inputs and files of all as text."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from draftmark.analysis.titles import terms_title
from draftmark.reports._site.paragraphs import Paragraphs
from draftmark.results import Result
from draftmark.text import printable_paragraphs

LONGEST_SETTINGS = 200_000  # characters
_STORED = ("stage", "key", "settings", "inputs", "files", "manifest")
_TERMS = re.compile(r"\bgamma=\d+(,\w+=[\w.]+)+")  # as older runs have them in labels
Stage = Mapping[str, Any]


def stages_of(row: Result) -> Sequence[Stage]:
    """Return the stored stages that a result is of."""
    stages: Sequence[Stage] = row.provenance.get("entries", ())
    return stages


def shared_stages(rows: Iterable[Result]) -> dict[str, Stage]:
    """Return the stages that several results are of, by key."""
    every = [stage for row in rows for stage in stages_of(row)]
    counts = Counter(stage["key"] for stage in every)
    return {stage["key"]: stage for stage in every if counts[stage["key"]] > 1}


def stage_line(stage: Stage) -> dict[str, str]:
    """Return the texts of a stage's line in a table."""
    manifest = stage.get("manifest") or {}
    git, hardware = manifest.get("git") or {}, manifest.get("hardware") or {}
    return {
        "stage": stage["stage"],
        "label": _TERMS.sub(lambda terms: terms_title(terms[0]), stage["label"]),
        "key": stage["key"][:12],
        "seconds": f"{stage.get('seconds') or 0:.1f}",
        "commit": f"{git.get('commit', '')[:12]}{' with changes' if git.get('dirty') else ''}",
        "machine": f"{hardware.get('processor', '')}, {hardware.get('cores', '?')} cores",
    }


def settings_text(stages: Sequence[Stage]) -> Paragraphs:
    """Return settings, inputs, files and manifests of stages as JSON; like manifests stand once."""
    stored: list[dict[str, Any]] = [{name: it.get(name) for name in _STORED} for it in stages]
    first: dict[str, str] = {}  # manifest -> key of the first stage with it
    for stage in stored:
        manifest = json.dumps(stage["manifest"])
        if manifest in first:
            stage["manifest"] = f"that of stage {first[manifest]}"
        first.setdefault(manifest, stage["key"][:12])
    text = ",\n".join(map(_stage_text, stored))
    return Paragraphs(printable_paragraphs(text, LONGEST_SETTINGS))


def _stage_text(stage: Stage) -> str:
    """Return a stage as JSON with a line for each field."""
    fields = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in stage.items()]
    return "{\n" + ",\n".join(fields) + "\n}"
