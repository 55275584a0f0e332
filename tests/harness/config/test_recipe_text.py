"""Recipes written as TOML are the same recipes when they are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.config.recipe import Recipe
from draftmark.config.recipe_text import recipe_toml
from draftmark.config.validation import parse_toml, validate_section
from draftmark.pipeline.recipe_files import load_recipe, suite_members
from draftmark.registry import recipe_names

RECIPES = [name for name in recipe_names() if suite_members(name) == (name,)]


def reread(recipe: Recipe) -> Recipe:
    document = parse_toml(recipe_toml(recipe), "the copy")
    again: Recipe = validate_section(Recipe, document, "the copy")
    return again


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_reads_as_it_was_written(name: str) -> None:
    recipe = load_recipe(name)
    again = reread(recipe)
    assert again == recipe
    assert again.model_dump(mode="json") == recipe.model_dump(mode="json")


def test_every_default_written_out_is_the_same_recipe() -> None:
    recipe = load_recipe(RECIPES[0])
    whole = Recipe.model_validate(recipe.model_dump())
    assert reread(whole).model_dump() == recipe.model_dump()


def test_a_section_that_false_removes_stays_removed() -> None:
    recipe = load_recipe(RECIPES[0]).model_copy(update={"speed": None})
    assert "speed = false" in recipe_toml(recipe)
    assert reread(recipe).speed is None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_written_whole(text: str) -> None:
    recipe = Recipe.model_validate(
        {
            "title": text,
            "tasks": ["prompts"],
            "pairs": [{"name": "p", "target": "t", "draft": {"model": "m"}}],
            "methods": [{"name": "suffix"}],
            "rows": {"prompts": {"file": "f", "columns": {"prompt": [text, "b"]}}},
        }
    )
    assert reread(recipe) == recipe
