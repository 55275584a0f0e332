"""Recipe files: recipes of draftmark are read by name, others by path.

A suite is a file with a title and the names of recipes, which run one after the other.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from draftmark import registry
from draftmark.config.paths import with_paths
from draftmark.config.recipe import Recipe
from draftmark.config.validation import Section, parse_toml, validate_section
from draftmark.errors import UserError, unknown_name_error
from draftmark.pipeline.sweeps import expand_sweeps
from draftmark.registry import recipe_names
from draftmark.speculation.methods import build_method
from draftmark.store.plain_files import read_plain
from draftmark.store.reading import explained
from draftmark.text import decode_text


class Suite(Section):
    """Recipes that run together, such as those of a paper's tables."""

    title: str
    recipes: Annotated[tuple[str, ...], Field(min_length=1)]


def suite_members(name_or_path: str) -> tuple[str, ...]:
    """Return the names of a suite's recipes in order, or the name of a single recipe.

    Raises UserError as `load_recipe` does, and if the suite names an unknown recipe.
    """
    document, origin = _document(name_or_path)
    if "recipes" not in document:
        return (name_or_path,)
    suite: Suite = validate_section(Suite, document, origin)
    for name in suite.recipes:
        if name not in recipe_names():
            raise unknown_name_error(f"recipe in {origin}", name, recipe_names())
    return suite.recipes


def load_recipe(name_or_path: str, *, tasks: Sequence[str] | None = None) -> Recipe:
    """Return the recipe with a name or in a TOML file, restricted to `tasks` if given.

    Raises UserError for an unknown recipe, key, task, method or engine, with the known names, and
    for an invalid value.
    """
    document, origin = _document(name_or_path)
    if name_or_path.endswith(".toml"):
        document = with_paths(document, Path(name_or_path).parent)
    if "recipes" in document:
        names = ", ".join(validate_section(Suite, document, origin).recipes)
        raise UserError(f"{origin} is a suite: name one of its recipes, {names}.")
    if tasks is not None:
        document = with_tasks(document, tasks)
    return recipe_of(expand_sweeps(document), origin)


def stored_recipe(document: Mapping[str, Any], directory: Path) -> Recipe:
    """Return the recipe that a run's results store; raises UserError if it is not valid."""
    return recipe_of(document, f"the recipe in {directory}")


def recipe_of(document: Mapping[str, Any], origin: str) -> Recipe:
    """Return the recipe of a document without sweeps; raises UserError as `load_recipe` does."""
    recipe: Recipe = validate_section(Recipe, document, origin)
    _check_names(recipe)
    return recipe


def _document(name_or_path: str) -> tuple[dict[str, Any], str]:
    """Return the document of a recipe or suite, and its name for error messages."""
    text, origin = _read(name_or_path)
    return parse_toml(text, origin), origin


def _read(name_or_path: str) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UserError(f"There is no recipe file {name_or_path!r}; check the path.")
        with explained(path, "fix or replace it"):
            return decode_text(read_plain(path)), str(path)
    if name_or_path not in recipe_names():
        raise unknown_name_error("recipe", name_or_path, recipe_names())
    file = resources.files("draftmark.baselines") / "recipes" / f"{name_or_path}.toml"
    return file.read_text(encoding="utf-8"), f"recipe {name_or_path!r}"


def with_tasks(document: dict[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    """Return a recipe document with these tasks, without the settings of other tasks."""
    changed: dict[str, Any] = {**document, "tasks": list(tasks)}
    match document:
        case {"by_task": {**own}}:
            changed["by_task"] = {name: own[name] for name in own if name in tasks}
    match document:
        case {"prompting": {"styles": {**styles}, **others}}:
            kept = {name: styles[name] for name in styles if name in tasks}
            changed["prompting"] = {**others, "styles": kept}
    match document:
        case {"rows": {**rows}}:
            changed["rows"] = {name: rows[name] for name in rows if name in tasks}
    return changed


def _check_names(recipe: Recipe) -> None:
    """Raise UserError for an unknown task, method, knob or engine, before anything runs."""
    for task in recipe.tasks:
        registry.find_registered("tasks", task)
        on_task = recipe.for_task(task)
        for entry in on_task.methods:
            build_method(entry)
            on_task.training_of(entry)
    engines = registry.registered_names("engines")
    for engine in recipe.speed.engines if recipe.speed else ():
        if engine not in engines:
            raise unknown_name_error("engine", engine, engines)
