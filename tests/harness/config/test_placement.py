"""Where a recipe may place a target."""

from typing import Any

import pytest

from draftmark.config.model_sections import DraftInit, Pair
from draftmark.config.recipe import Recipe
from draftmark.config.validation import validate_section
from draftmark.errors import UserError

PAIR: dict[str, Any] = {"name": "p", "target": "t", "draft": {"pruned": [0]}}


@pytest.mark.parametrize(
    ("placement", "memory"),
    [
        ("single", None),
        ("auto", ()),
        ({"cpu": "8GiB", "0": "70GiB"}, (("0", "70GiB"), ("cpu", "8GiB"))),
        ({"cpu": "1.5MB"}, (("cpu", "1.5MB"),)),
    ],
)
def test_limits_are_those_of_the_recipe(placement: Any, memory: Any) -> None:
    pair = validate_section(Pair, {**PAIR, "placement": placement}, "mine.toml")
    assert pair.memory == memory
    again = Pair.model_validate(pair.model_dump(mode="json"))
    assert (again.memory, again.draft) == (memory, DraftInit(pruned=(0,)))
    assert ("placement" in pair.model_dump()) == (placement != "single")


@pytest.mark.parametrize(
    ("placement", "sentence"),
    [
        ("both", "must be 'single', 'auto', or a table of limits"),
        ({}, "must be 'single', 'auto', or a table of limits"),
        (2, "must be 'single', 'auto', or a table of limits"),
        ({"gpu": "8GB"}, "limits 'gpu'; a device is the number of a GPU, or cpu"),
        ({"0": 8}, '0 must be a size such as "70GiB" or "8.5GB", not 8'),
        ({"cpu": "much"}, "cpu must be a size"),
    ],
)
def test_other_placements_are_refused_with_the_choices(placement: Any, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        validate_section(Pair, {**PAIR, "placement": placement}, "mine.toml")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("mine.toml: placement: ")


def test_a_tasks_overrides_keep_the_placement() -> None:
    document = {
        "title": "one",
        "tasks": ("gsm8k",),
        "pairs": ({**PAIR, "draft": {"pruned": (0,)}, "placement": {"cpu": "8GB"}},),
        "methods": ({"name": "kd"},),
        "by_task": {"gsm8k": {"seeds": (3,)}},
    }
    recipe = validate_section(Recipe, document, "mine.toml")
    assert recipe.for_task("gsm8k").pairs[0].placement == {"cpu": "8GB"}
