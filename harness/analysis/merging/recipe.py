"""The recipe of a merged result: one that would make all of its cells, as their runs made them.

Where runs trained with different settings, the methods of a run keep its settings as their own; a
task that differs from the others has overrides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from draftmark.analysis.merging.agreement import settings_of
from draftmark.analysis.merging.order import joint_order
from draftmark.analysis.merging.parts import Part
from draftmark.config.recipe import Recipe
from draftmark.config.validation import validate_section
from draftmark.errors import unknown_name_error

Document = dict[str, Any]


def joint_recipe(parts: Sequence[Part], speed: Any, against: str | None) -> Document:
    """Return the recipe of all cells of several runs, which agree; `speed` is its section.

    `against` is the method that others are compared with, by default the first one.
    """
    if len(parts) == 1 and against is None:
        return {**parts[0].record.recipe, "speed": speed}
    recipes = [part.recipe for part in parts]
    titles = joint_order([[entry.title for entry in it.methods] for it in recipes])
    if against is not None:
        if against not in titles:
            raise unknown_name_error("method", against, titles)
        titles = [against, *(title for title in titles if title != against)]
    base = next(it for it in recipes if titles[0] in _titles(it))
    document = base.model_dump(mode="json", exclude={"by_task", "rows"})
    document |= {
        "title": " + ".join(sorted({it.title for it in recipes})),
        "tasks": joint_order([it.tasks for it in recipes]),
        "pairs": _pairs(recipes),
        "methods": [_entry(title, recipes, base) for title in titles],
        "seeds": joint_order([it.seeds for it in recipes]),
        "speed": speed,
    }
    styles = [it.prompting.model_dump(mode="json")["styles"] for it in recipes]
    document["prompting"] = {**document["prompting"], "styles": _union(styles)}
    if rows := _union([it.model_dump(mode="json").get("rows", {}) for it in recipes]):
        document["rows"] = rows
    joint: Recipe = validate_section(Recipe, document, "the merged recipe")
    overrides = {task: _overrides(task, recipes, joint) for task in document["tasks"]}
    document["by_task"] = {task: own for task, own in overrides.items() if own}
    return document


def _titles(recipe: Recipe) -> list[str]:
    return [entry.title for entry in recipe.methods]


def _union(tables: Sequence[Mapping[str, Any]]) -> Document:
    """Return the keys of all tables, each from the first table that has it, sorted."""
    found: Document = {}
    for table in tables:
        found = {**table, **found}
    return dict(sorted(found.items()))


def _pairs(recipes: Sequence[Recipe]) -> list[Document]:
    found = _union([{pair.name: pair for pair in it.pairs} for it in recipes])
    names = joint_order([[pair.name for pair in it.pairs] for it in recipes])
    return [found[name].model_dump(mode="json") for name in names]


def _entry(title: str, recipes: Sequence[Recipe], base: Recipe) -> Document:
    """Return a method's entry, with all training settings of its run that differ from the base."""
    homes = [it for it in recipes if title in _titles(it)]
    entry: Document = homes[0].method(title).model_dump(mode="json")
    if homes[0].training != base.training:
        own = homes[0].training_of(homes[0].method(title)).model_dump(mode="json")
        entry["training"] = _changes(own, base.training.model_dump(mode="json"))
    entry["against"] = joint_order([it.method(title).against for it in homes])
    return entry


def _changes(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> Document:
    return {key: value for key, value in wanted.items() if given.get(key) != value}


def _overrides(task: str, recipes: Sequence[Recipe], joint: Recipe) -> Document:
    """Return what a task has of its own, so that its methods have the settings of their runs."""
    homes = [it for it in recipes if task in it.tasks]
    on_task = [it.for_task(task) for it in homes]
    own = homes[0].by_task.get(task)
    found: Document = own.model_dump(mode="json") if own else {}
    found["seeds"] = joint_order([it.seeds for it in on_task])
    if found["seeds"] == [*joint.seeds]:
        found["seeds"] = None
    data = on_task[0].data.model_dump(mode="json")
    found["data"] = _changes(data, joint.data.model_dump(mode="json"))
    found["methods"] = {}
    given: Recipe = joint.model_copy(update={"by_task": {}})
    training = {**given.training.model_dump(), **(found.get("training") or {})}
    given = validate_section(Recipe, {**given.model_dump(mode="json"), "training": training}, task)
    for entry in given.methods:
        home = next((it for it in on_task if entry.title in _titles(it)), None)
        if home and (changes := _method_changes(home, given, entry.title)):
            found["methods"][entry.title] = changes
    return found if any(found.values()) else {}


def _method_changes(home: Recipe, given: Recipe, title: str) -> Document:
    """Return the keys by which a method of a run differs from that of the merged recipe."""
    wanted, now = (settings_of(it, it.method(title)) for it in (home, given))
    training = _changes(wanted.pop("training"), now.pop("training"))
    changes = _changes(wanted, now)
    return {**changes, "training": training} if training else changes
