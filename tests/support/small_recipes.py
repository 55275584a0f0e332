"""Recipes as small as they can be with every task, pair, kind of method and stage of theirs.

Models are random ones of the same architecture, each split has two rows, each training one step,
responses have a few tokens. All else, such as losses, LoRA, heads, styles and dtypes, stays. Of
entries that differ in the values of the same keys alone, the first is kept. Every method runs on
the first task, with its speed and at all temperatures; on the others one method that trains, and
those with settings of their own for the task, at the last temperature.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from small_models import save_small_model

from draftmark.config.recipe import MethodEntry, Recipe
from draftmark.pipeline.recipe_files import load_recipe, recipe_of
from draftmark.speculation.methods import build_method

ROWS, NEW_TOKENS, LAYERS = 2, 6, 2
DRAFT_VOCABULARY = 64
# A server of vLLM takes 10 s and more to start, and tests of the engine start one.
CHEAP_ENGINES = {"vllm": "reference"}
# The largest value of a key, wherever it stands in a recipe.
LARGEST: Mapping[str, float] = {
    **dict.fromkeys(("train_rows", "validation_rows", "test_rows"), ROWS),
    **dict.fromkeys(("passes", "reference_passes", "validations", "prompts_per_block"), 1),
    **dict.fromkeys(("blocks", "processes"), 2),
    "draft_vocabulary": DRAFT_VOCABULARY,
    **{"seconds": 0.001, "flops": 1.0},  # of a budget: the step that reaches it is the last
    "steps": 1,
}
ASKED = "What is 1 + 2?\nName a colour.\n"


def small_recipes(name: str, folder: Path) -> list[Recipe]:
    """Return a recipe of draftmark's, small, in two parts if it has several tasks.

    `folder` gets its models and prompts.
    """
    document = _small(load_recipe(name).model_dump(mode="json"), folder)
    recipe = recipe_of(document, name)
    first, *others = recipe.tasks
    parts = [_part(document, [first], _distinct(recipe.methods))]
    if others:
        last = {"temperatures": document["evaluation"]["temperatures"][-1:]}
        evaluation = {**document["evaluation"], **last}
        rest = {**document, "speed": False, "evaluation": evaluation}
        parts.append(_part(rest, others, _named_for(recipe, others)))
    return [recipe_of(part, name) for part in parts]


def _distinct(entries: Sequence[MethodEntry]) -> list[MethodEntry]:
    """Return the first entry of each method with the same keys."""
    kept: dict[Any, MethodEntry] = {}
    for entry in entries:
        keys = (frozenset(entry.knobs), frozenset(entry.training), entry.draft is None)
        kept.setdefault((entry.name, *keys), entry)
    return list(kept.values())


def _named_for(recipe: Recipe, tasks: Sequence[str]) -> list[MethodEntry]:
    """Return the first method that trains, and those with settings of their own for a task."""
    titles = {
        title for task in tasks if task in recipe.by_task for title in recipe.by_task[task].methods
    }
    trained = [entry for entry in recipe.methods if build_method(entry).trains]
    titles.add((trained or recipe.methods)[0].title)
    return [entry for entry in recipe.methods if entry.title in titles]


def _part(
    document: Mapping[str, Any], tasks: Sequence[str], methods: Sequence[MethodEntry]
) -> dict[str, Any]:
    """Return a recipe's document with some of its tasks and methods."""
    titles = [entry.title for entry in methods]
    entries = [entry.model_dump(mode="json") for entry in methods]
    for entry in entries:
        entry["against"] = [title for title in entry["against"] if title in titles]
    styles = {
        task: style for task, style in document["prompting"]["styles"].items() if task in tasks
    }
    own = {
        task: _own(value, titles) for task, value in document["by_task"].items() if task in tasks
    }
    prompting = {**document["prompting"], "styles": styles}
    return {**document, "tasks": tasks, "methods": entries, "prompting": prompting, "by_task": own}


def _own(overrides: Mapping[str, Any], titles: Sequence[str]) -> dict[str, Any]:
    methods = {title: own for title, own in overrides["methods"].items() if title in titles}
    return {**overrides, "methods": methods}


def _small(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    document = _bounded(given)
    document["data"]["sources"] = ["samples"]
    document["seeds"], document["threads"] = document["seeds"][:1], 1
    document["evaluation"]["max_new_tokens"] = NEW_TOKENS
    if "rows" in document:
        document["rows"] = {task: _rows(folder) for task in document["rows"]}
    for own in document["by_task"].values():
        own["data"] = {}
    layers = _layers(document)
    for entry in document["methods"]:
        if "from_layer" in entry:
            entry["from_layer"] = layers - 1  # the last, as in the recipe
    for pair in document["pairs"]:
        for place, key in ((pair, "target"), (pair["draft"], "model")):
            if place[key] is not None:
                place[key] = _small_model(place[key], folder, layers)
    if speed := document["speed"]:
        speed |= _cheap(speed)
        document["data"]["test_rows"] = max(ROWS, speed["blocks"] * max(speed["batch_sizes"]))
    return cast(dict[str, Any], document)


def _bounded(value: Any, key: str = "") -> Any:
    """Return a part of a recipe without a number above the largest of its key."""
    match value:
        case dict():
            return {each: _bounded(inner, each) for each, inner in value.items()}
        case list():
            return [_bounded(inner, key) for inner in value]
        case int() | float() if key in LARGEST:
            return min(value, LARGEST[key])
    return value


def _layers(document: Mapping[str, Any]) -> int:
    """Return the number of layers of models: more than the draft that is cut out of them has."""
    places = [place.get("draft") for place in (*document["pairs"], *document["methods"])]
    cut = [layer for draft in places if draft for layer in draft["pruned"] or ()]
    return max(LAYERS, *(layer + 2 for layer in cut)) if cut else LAYERS


def _small_model(reference: str, folder: Path, layers: int) -> str:
    short = reference.partition("@")[0].rpartition("/")[2]
    return save_small_model(reference, folder / f"{short}-{layers}", layers)


def _rows(folder: Path) -> dict[str, Any]:
    file = folder / "asked.txt"
    if not file.exists():
        file.write_text(ASKED, encoding="utf-8")
    return {"file": dict.fromkeys(("train", "validation", "test"), str(file))}


def _cheap(speed: Mapping[str, Any]) -> dict[str, Any]:
    named = [speed["engine"]] if isinstance(speed["engine"], str) else speed["engine"]
    lengths = speed["num_speculative_tokens"]
    return {
        "engine": list(dict.fromkeys(CHEAP_ENGINES.get(engine, engine) for engine in named)),
        "batch_sizes": sorted({min(size, ROWS) for size in speed["batch_sizes"]}),
        "num_speculative_tokens": lengths[:2] if isinstance(lengths, list) else lengths,
    }
