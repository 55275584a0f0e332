"""What results rest on: the rows and the target of each task and pair, the texts behind a stage."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from draftmark.data.leaks import find_overlaps
from draftmark.pipeline.setting import Setting
from draftmark.store.graph import Node, topological
from draftmark.store.records import TARGET
from draftmark.store.store import Store
from draftmark.types import Example


def data_facts(settings: Iterable[Setting], store: Store) -> tuple[dict[str, Any], ...]:
    """Return what the cells of each task and pair have in common, as JSON."""
    found: dict[str, list[dict[str, Any]]] = {}  # the pairs of a task share its rows
    facts = []
    for setting in settings:
        task = setting.task.name
        if task not in found:
            found[task] = _overlaps(setting)
        shared = {"overlaps": found[task], "fine_tuning": _fine_tuning(setting.target, store)}
        facts.append(_facts(setting) | shared)
    return tuple(facts)


def _overlaps(setting: Setting) -> list[dict[str, Any]]:
    groups: dict[str, tuple[Example, ...]] = {
        "few-shot" if split == "prompt" else split: item.examples
        for split, item in setting.rows.items()
        if split != "test"
    }
    return [asdict(overlap) for overlap in find_overlaps(groups, setting.rows["test"].examples)]


def _facts(setting: Setting) -> dict[str, Any]:
    rows = setting.rows
    return {
        "task": setting.task.name,
        "task_version": setting.task.version,
        "pair": setting.pair.name,
        "target": setting.pair.target,
        "target_digest": setting.target.settings["digest"],
        "draft": setting.pair.draft.describe(),
        "rows": {split: len(item.examples) for split, item in rows.items()},
        "source": {split: item.source for split, item in rows.items()},
        "left_out": {split: dict(item.left_out) for split, item in rows.items()},
        "digest": {split: item.digest for split, item in rows.items()},
        "max_new_tokens": setting.max_new_tokens,
        "end_tokens": sorted(setting.end_tokens),
        "stop": setting.stop,
    }


def _fine_tuning(target: Node, store: Store) -> dict[str, Any] | None:
    """Return how a target was fine-tuned: texts, ledger, history; None of one as given."""
    if target.given or not store.has(target):
        return None
    made = json.loads((store.load(target).directory / TARGET).read_text("utf-8"))
    texts = texts_behind(target.inputs.values())
    return {"texts": texts, "ledger": made["ledger"], "history": made["history"]}


def texts_behind(nodes: Iterable[Node]) -> list[dict[str, Any]]:
    """Return every set of texts that some nodes are made of: its rows, and who wrote it.

    What a target was fine-tuned on is not among them.
    """
    found = list(topological(nodes))
    targets = topological(node for node in found if node.stage == "target")
    of_targets = {node.key for node in targets}
    return [
        {
            "label": node.label,
            "key": node.key,
            "rows": node.settings["rows"],
            "writer": _writer(node),
        }
        for node in found
        if node.stage == "responses" and node.key not in of_targets
    ]


def _writer(responses: Node) -> str:
    """Return who wrote a stage of texts: "dataset" (gold answers), "target" or "draft"."""
    source: str = responses.settings["source"]
    if source != "model":
        return source
    same = responses.inputs["model"].key == responses.inputs["target"].key
    return "target" if same else "draft"
