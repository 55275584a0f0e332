"""Measurements of speed: every combination once, and what is as it was has the key that it had."""

from draftmark.config.sections import Speed


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
