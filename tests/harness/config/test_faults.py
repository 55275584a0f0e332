"""A thousand recipes with one fault each: one sentence that names the key, never a traceback."""

from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import settings_faults
from hypothesis import given
from hypothesis import strategies as st

from draftmark.errors import UserError
from draftmark.pipeline.recipe_files import load_recipe, suite_members


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes") / "mine.toml"


def test_the_recipe_without_a_fault_loads(recipe: Path) -> None:
    recipe.write_text(settings_faults.toml(settings_faults.WHOLE), encoding="utf-8")

    assert len(list(load_recipe(str(recipe)).cells())) == (2 + 1) * 2 * 3


def test_each_of_a_thousand_faults_is_one_sentence_that_names_its_key(recipe: Path) -> None:
    kinds: Counter[str] = Counter()
    for fault in settings_faults.faults(1000, seed=0):
        recipe.write_text(fault.toml, encoding="utf-8")
        with pytest.raises(UserError) as caught:
            load_recipe(str(recipe))
        message = str(caught.value)
        assert message.endswith("."), message
        assert message.isprintable(), message
        assert fault.key in message, (fault.kind, message)
        kinds[fault.kind] += 1
    assert kinds.total() == 1000
    assert len(kinds) == len(settings_faults.KINDS)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "a = " + "{b = " * 5000,
        "recipes = 3",
        'title = "x"\nrecipes = []',
        'title = "x"\nrecipes = [1]',
        'title = "x"\nrecipes = ["../quickstart"]',
        "\x00",
        "\ufeff\u202e = 1",
        "",
    ],
)
def test_no_file_ends_in_a_traceback(recipe: Path, text: str) -> None:
    recipe.write_text(text, encoding="utf-8")

    with pytest.raises(UserError, match=r"mine\.toml"):
        load_recipe(str(recipe))
    if "recipes" in text:
        with pytest.raises(UserError, match="recipe"):
            suite_members(str(recipe))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_recipe_with_a_byte_order_mark_is_read(recipe: Path, encoding: str) -> None:
    text = settings_faults.toml(settings_faults.WHOLE)
    recipe.write_text(text, encoding="utf-8")
    plain = load_recipe(str(recipe))
    recipe.write_text(text, encoding=encoding)

    assert load_recipe(str(recipe)) == plain


@given(st.binary(max_size=60))
def test_no_bytes_end_in_a_traceback(recipe: Path, data: bytes) -> None:
    recipe.write_bytes(data)

    with pytest.raises(UserError, match=r"mine\.toml"):
        load_recipe(str(recipe))


@given(st.data())
def test_a_recipe_that_is_cut_or_spoiled_is_one_sentence_or_a_recipe(
    recipe: Path, data: st.DataObject
) -> None:
    text = bytearray(settings_faults.toml(settings_faults.WHOLE).encode())
    start = data.draw(st.integers(0, len(text) - 1))
    text[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
    recipe.write_bytes(text)

    with suppress(UserError):
        load_recipe(str(recipe))
