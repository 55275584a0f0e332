"""Finds recipes and reads them: those that come with draftmark by name, others by path.

A suite is a file with a title and the names of recipes, which run one after the other.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from draftmark import registry
from draftmark.config.recipe import Recipe
from draftmark.config.validation import Section, parse_toml, validate_section
from draftmark.errors import UserError, unknown
from draftmark.speculation.build_method import build_method


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with draftmark."""
    folder = resources.files("draftmark.baselines") / "recipes"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml"))


class Suite(Section):
    """Recipes that belong together, as the tables of a paper do."""

    title: str
    recipes: Annotated[tuple[str, ...], Field(min_length=1)]


def members(name_or_path: str) -> tuple[str, ...]:
    """Return the recipes of a suite, in its order; of a recipe, itself alone.

    Raises UserError as `load_recipe` does, and for a suite's recipe that there is not.
    """
    document, origin = _document(name_or_path)
    if "recipes" not in document:
        return (name_or_path,)
    suite: Suite = validate_section(Suite, document, origin)
    for name in suite.recipes:
        if name not in recipe_names():
            raise unknown(f"recipe in {origin}", name, recipe_names())
    return suite.recipes


def load_recipe(name_or_path: str, *, tasks: Sequence[str] | None = None) -> Recipe:
    """Return the recipe called so, or the one in a TOML file; on other `tasks` if any are given.

    Raises UserError with the known names, or with the key that is wrong and the nearest known one.
    """
    document, origin = _document(name_or_path)
    if "recipes" in document:
        several = ", ".join(validate_section(Suite, document, origin).recipes)
        raise UserError(f"{origin} is a suite: name one of its recipes, {several}.")
    if tasks is not None:
        document = _narrowed(document, tasks)
    recipe: Recipe = validate_section(Recipe, document, origin)
    _check_names(recipe)
    return recipe


def stored_recipe(document: Mapping[str, Any], directory: Path) -> Recipe:
    """Return the recipe in the results of a run; raises UserError if draftmark cannot read it."""
    recipe: Recipe = validate_section(Recipe, document, f"the recipe in {directory}")
    _check_names(recipe)
    return recipe


def _document(name_or_path: str) -> tuple[dict[str, Any], str]:
    """Return what a recipe or suite says, and what it is called in messages."""
    text, origin = _read(name_or_path)
    return parse_toml(text, origin), origin


def _read(name_or_path: str) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UserError(f"There is no recipe file {name_or_path!r}; check the path.")
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} does not read: {error}; mend or replace it.") from error
    if name_or_path not in recipe_names():
        raise unknown("recipe", name_or_path, recipe_names())
    file = resources.files("draftmark.baselines") / "recipes" / f"{name_or_path}.toml"
    return file.read_text(encoding="utf-8"), f"recipe {name_or_path!r}"


def _narrowed(document: dict[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    """Return a recipe on other tasks, without what it says of those that are left out."""
    told: dict[str, Any] = {**document, "tasks": list(tasks)}
    match document:
        case {"by_task": {**own}}:
            told["by_task"] = {name: own[name] for name in own if name in tasks}
    match document:
        case {"prompting": {"styles": {**styles}, **others}}:
            kept = {name: styles[name] for name in styles if name in tasks}
            told["prompting"] = {**others, "styles": kept}
    return told


def _check_names(recipe: Recipe) -> None:
    """Raise UserError now for whatever a run would stumble over later by name."""
    for task in recipe.tasks:
        registry.find("tasks", task)
        told = recipe.for_task(task)
        for entry in told.methods:
            build_method(entry)
            told.training_of(entry)
    engines = registry.names("engines")
    for engine in recipe.speed.engines if recipe.speed else ():
        if engine not in engines:
            raise unknown("engine", engine, engines)
