"""Provenance: the rows, target, entries and texts that results come from, as JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from draftmark import registry
from draftmark.config.recipe import Recipe
from draftmark.data.leaks import find_overlaps
from draftmark.environment import package_state
from draftmark.models.shared_vocabulary import SharedVocabulary
from draftmark.pipeline.outputs import Output
from draftmark.pipeline.setting import Setting
from draftmark.store.cell_records import Records
from draftmark.store.entries import entry_facts
from draftmark.store.graph import Node, code_version, json_digest, topological_order
from draftmark.store.records import TARGET, TEXTS, read_texts
from draftmark.store.store import Store
from draftmark.types import Example


def data_facts(settings: Iterable[Setting], store: Store) -> tuple[dict[str, Any], ...]:
    """Return the facts of each task and pair: rows, target, overlaps, fine-tuning."""
    of_tasks: dict[str, list[dict[str, Any]]] = {}  # the pairs of a task share its rows
    facts = []
    for setting in settings:
        task = setting.task.name
        if task not in of_tasks:
            of_tasks[task] = _overlaps(setting)
        tuning = _fine_tuning(setting.target, store)
        facts.append({**_facts(setting), "overlaps": of_tasks[task], "fine_tuning": tuning})
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
        "models": _models(setting),
        **_own_drafts(setting),
        "rows": {split: len(item.examples) for split, item in rows.items()},
        "categories": _categories(setting),
        "graded": setting.task.is_graded,
        "source": {split: item.source for split, item in rows.items()},
        "hub": {split: dict(item.hub_facts) for split, item in rows.items() if item.hub_facts},
        "passed_over": list(rows["test"].passed_over),
        "left_out": {split: dict(item.left_out) for split, item in rows.items()},
        "digest": {split: item.digest for split, item in rows.items()},
        "max_new_tokens": setting.max_new_tokens,
        "end_tokens": sorted(setting.end_tokens),
        "stop": setting.stop,
    }


def _categories(setting: Setting) -> dict[str, int]:
    """Return the number of test examples of each category; empty if none has one."""
    counts = Counter(example.category for example in setting.rows["test"].examples)
    return dict(counts) if set(counts) - {""} else {}


def _models(setting: Setting) -> dict[str, Any]:
    """Return the name, source, commit and files of the target and of the draft, if it has any."""
    nodes = {"target": setting.target_as_given, "draft": setting.init}
    return {role: dict(node.facts) for role, node in nodes.items() if node and node.facts}


def _own_drafts(setting: Setting) -> dict[str, Any]:
    """Return the drafts that entries have of their own, by title, with the facts of each model."""
    own = {
        entry.title: {"draft": entry.draft.describe(), **_origin(setting.inits.get(entry.title))}
        for entry in setting.recipe.methods
        if entry.draft
    }
    return {"drafts": own} if own else {}


def _origin(init: Node | None) -> dict[str, Any]:
    return {"model": dict(init.facts)} if init and init.facts else {}


def _fine_tuning(target: Node, store: Store) -> dict[str, Any] | None:
    """Return the texts, ledger and history of a fine-tuned target; None if it is not tuned."""
    if target.existing_folder or not store.has(target):
        return None
    facts = json.loads((store.load(target).directory / TARGET).read_text("utf-8"))
    texts = texts_behind(target.inputs.values())
    return {"texts": texts, "ledger": facts["ledger"], "history": facts["history"]}


def code_facts(recipe: Recipe) -> dict[str, Any]:
    """Return the code version of each method by its title, and the state of plug-in packages."""
    code = {
        entry.title: code_version(registry.module_name("baselines", entry.name))
        for entry in recipe.methods
    }
    engines = {condition.engine for condition in recipe.speed.conditions()} if recipe.speed else ()
    used: dict[registry.Group, Iterable[str]] = {
        "tasks": recipe.tasks,
        "baselines": [entry.name for entry in recipe.methods],
        "engines": engines,
    }
    plugins = {name: package_state(name) for name in registry.plugin_packages(used)}
    return {"code": code, "plugins": plugins}


def cell_facts(outputs: Mapping[str, Output], store: Store) -> dict[str, Any]:
    """Return the entries of a cell's outputs, and the texts of its draft and its scores.

    `text_digests` has, by temperature, a hash of the token ids of the texts that were scored.
    """
    scores = {output.key: output.node for output in outputs.values() if output.field == "tables"}
    texts = {t: node.inputs["features"].inputs["texts"] for t, node in scores.items()}
    return {
        "entries": [entry_facts(store.load(output.node)) for output in outputs.values()],
        "draft_texts": texts_behind([outputs["draft"].node]),
        "scored_texts": texts_behind(node.inputs["features"] for node in scores.values()),
        "text_digests": {
            f"{t:g}": _text_digest(store.load(node).directory) for t, node in texts.items()
        },
    }


def vocabulary_facts(records: Records, end_tokens: Iterable[int]) -> dict[str, Any]:
    """Return what a draft's shared vocabulary has of the scored texts; empty if it is not shared.

    `tokens_of_texts` maps a temperature to the shared and to all tokens of the responses.
    """
    shared: SharedVocabulary | None = records.draft.get("vocabulary")
    if shared is None:
        return {}
    read = {
        t: [token for text in texts for token in text.response_ids]
        for t, texts in records.texts.items()
    }
    facts = {
        "shared_tokens": shared.size,
        "target_tokens": len(shared.to_draft),
        "shared_end_tokens": sorted(filter(shared.has, end_tokens)),
        "tokens_of_texts": {f"{t:g}": [shared.count(ids), len(ids)] for t, ids in read.items()},
    }
    return {"vocabulary": facts}


def search_facts(records: Records) -> dict[str, Any]:
    """Return the learning rate that was chosen on validation, and its trials; empty without any."""
    names = ("learning_rate", "search")
    return {name: records.draft[name] for name in names if name in records.draft}


@cache
def _text_digest(directory: Path) -> str:
    """Return a hash of the prompts and token ids of stored texts; cells of a task share it."""
    texts = read_texts(directory / TEXTS)
    return json_digest([[text.example_id, text.prompt_ids, text.response_ids] for text in texts])


def texts_behind(nodes: Iterable[Node]) -> list[dict[str, Any]]:
    """Return the texts that nodes depend on, with their rows and writer.

    Texts that a target was fine-tuned on are left out.
    """
    upstream = list(topological_order(nodes))
    targets = topological_order(node for node in upstream if node.stage == "target")
    of_targets = {node.key for node in targets}
    return [
        {
            "label": node.label,
            "key": node.key,
            "rows": node.settings["rows"],
            "writer": _writer(node),
        }
        for node in upstream
        if node.stage == "responses" and node.key not in of_targets
    ]


def _writer(responses: Node) -> str:
    """Return the writer of texts: "dataset" (gold answers), "target" or "draft"."""
    source: str = responses.settings["source"]
    if source != "model":
        return source
    same = responses.inputs["model"].key == responses.inputs["target"].key
    return "target" if same else "draft"
