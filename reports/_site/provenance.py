"""The stages behind a page: a line for each, and the settings, inputs and files of all as text."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from draftmark.reports._site.paragraphs import Paragraphs
from draftmark.results import Result
from draftmark.text import printable_paragraphs

LONGEST_SETTINGS = 200_000  # characters
_STORED = ("stage", "key", "settings", "inputs", "files", "manifest")
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
