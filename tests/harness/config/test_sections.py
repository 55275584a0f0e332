"""Measurements of speed: every combination once, and what is as it was has the key that it had."""

from draftmark.config.recipe import Recipe
from draftmark.config.sections import Speed
from draftmark.pipeline.recipe_files import load_recipe


def test_a_measurement_as_it_was_before_there_were_several_keeps_its_settings() -> None:
    (under,) = Speed().conditions()
    assert under.settings() == {
        "engine": "reference",
        "temperature": 0.0,
        "num_speculative_tokens": 4,
        "blocks": 5,
        "prompts_per_block": 4,
        "dtype": "float32",
    }


def test_every_combination_is_a_measurement_of_its_own() -> None:
    speed = Speed(
        engine=("reference", "transformers"),
        num_speculative_tokens=(1, 3, 5),
        temperature=(0.0, 1.0),
        batch_sizes=(1, 8),
    )
    conditions = speed.conditions()
    assert len(conditions) == len({under.label for under in conditions}) == 24
    assert len({under.terms for under in conditions}) == 8
    assert conditions[0] == Speed(num_speculative_tokens=1).conditions()[0]


def test_every_block_fills_its_batch() -> None:
    small, large = Speed(batch_sizes=(1, 8)).conditions()
    assert (small.num_prompts, large.num_prompts) == (20, 40)
    assert large.settings()["batch_size"] == 8


def test_speed_is_measured_at_the_block_length_that_tables_show() -> None:
    document = load_recipe("quickstart").model_dump(mode="json")
    evaluation = {**document["evaluation"], "num_speculative_tokens": 7}
    speed = {"blocks": 5, "prompts_per_block": 1}
    recipe = Recipe(**{**document, "evaluation": evaluation, "speed": speed})
    assert recipe.speed is not None
    assert recipe.speed.num_speculative_tokens == 7
    several = Recipe(
        **{
            **document,
            "evaluation": evaluation,
            "speed": {**speed, "num_speculative_tokens": [1, 7]},
        }
    )
    assert several.headline_speed is not None
    assert several.headline_speed.num_speculative_tokens == 7
    other = Recipe(**{**document, "speed": {**speed, "num_speculative_tokens": [1, 2]}})
    assert other.headline_speed is not None
    assert other.headline_speed.num_speculative_tokens == 1
    assert Recipe(**{**document, "speed": False}).headline_speed is None
