"""Who is compared with whom is what the recipe plans."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from draftmark.analysis.comparisons import by_contender, compare_contenders, rank_contenders
from draftmark.analysis.quantities import Quantity, quantity_key
from draftmark.analysis.significance import sign_flip_p, t_test
from draftmark.analysis.statistics import estimate_effect, over_seeds
from draftmark.config.recipe import Recipe
from draftmark.results import Cell, Comparison, Number

NAME = quantity_key("acceptance_rate", 0.0, 4)
RATES = {"kd": 0.5, "adaspec": 0.6, "random": 0.4}


def _recipe(**against: list[str]) -> Recipe:
    methods = [{"name": "kd", "label": title, "against": against.get(title, [])} for title in RATES]
    return Recipe.model_validate(
        {
            "title": "three",
            "tasks": ["gsm8k"],
            "pairs": [{"name": "p", "target": "t", "draft": {"pruned": [0]}}],
            "methods": methods,
        }
    )


def _quantity(rate: float) -> Quantity:
    tested_B = np.array([10.0, 20.0, 30.0, 40.0])
    noise_B = np.array([1.0, -1.0, 0.5, -0.5])
    return Quantity((rate * tested_B + noise_B, tested_B), "accepted / tested", tuple("abcd"))


def _compared(recipe: Recipe) -> dict[tuple[str, str], float]:
    cells = {
        Cell(task="gsm8k", pair="p", method=title, seed=0): {NAME: _quantity(rate)}
        for title, rate in RATES.items()
    }
    found = compare_contenders(by_contender(cells), recipe)
    return {(item.contender.method, item.against): item.difference.value for item in found}


def test_all_are_compared_with_the_first_unless_the_recipe_says_otherwise() -> None:
    assert _compared(_recipe()) == {
        ("adaspec", "kd"): pytest.approx(0.1),
        ("random", "kd"): pytest.approx(-0.1),
    }


def test_a_method_is_compared_with_those_that_its_entry_names() -> None:
    assert _compared(_recipe(adaspec=["kd", "random"], kd=["random"])) == {
        ("kd", "random"): pytest.approx(0.1),
        ("adaspec", "kd"): pytest.approx(0.1),
        ("adaspec", "random"): pytest.approx(0.2),
        ("random", "kd"): pytest.approx(-0.1),
    }


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_single_prompt_compares_and_ranks_nothing(seeds: tuple[int, ...]) -> None:
    efficiency = quantity_key("block_efficiency", 0.0, 4)
    rates = {
        Cell("gsm8k", "p", title, seed): {
            name: Quantity((np.array([rate + seed]), np.ones(1)), "x", ("a",))
            for name in (NAME, efficiency)
        }
        for title, rate in RATES.items()
        for seed in seeds
    }
    contenders = by_contender(rates)
    assert compare_contenders(contenders, _recipe()) == rank_contenders(contenders, _recipe()) == ()
    for each in contenders.values():
        values = [quantities[NAME].counts[0][0] for quantities in each.values()]
        number = over_seeds([quantities[NAME].counts for quantities in each.values()], "x")
        assert number == Number(pytest.approx(np.mean(values)), None, None, 1, "x", 1.0)


def _flags(seeds: list[list[int]]) -> dict[int, dict[str, Quantity]]:
    prompts = tuple(str(number) for number in range(len(seeds[0])))
    return {
        seed: {"quality_draft": Quantity((np.array(row, float), np.ones(len(row))), "x", prompts)}
        for seed, row in enumerate(seeds)
    }


def _p_of_flags(first: list[list[int]], second: list[list[int]]) -> float:
    [found] = _compared_flags(first, second)
    return found.p_value


def _compared_flags(first: list[list[int]], second: list[list[int]]) -> tuple[Comparison, ...]:
    sides = {"kd": second, "adaspec": first}
    cells = {
        Cell("gsm8k", "p", title, seed): found
        for title, seeds in sides.items()
        for seed, found in _flags(seeds).items()
    }
    return compare_contenders(by_contender(cells), _recipe())


def test_one_seed_of_yes_and_no_has_mcnemars_p_and_several_have_the_seeds_spread_as_well() -> None:
    """Six prompts are won and none is lost: p is that of six signs, in one seed and in three."""
    won, lost = [1] * 6 + [0, 1] * 4, [0] * 6 + [0, 1] * 4
    assert _p_of_flags([won], [lost]) == pytest.approx(2 / 2**6)
    assert _p_of_flags([won] * 3, [lost] * 3) == pytest.approx(2 / 2**6)
    none = [[0] * 8 + [1] * 6, [0] * 14, [0] * 14]
    spread = [[1] * 14, [1] * 2 + [0] * 12, [1] * 2 + [0] * 12]
    counts = [[(np.array(row, float), np.ones(14)) for row in side] for side in (spread, none)]
    of_seeds = t_test(estimate_effect(*counts, paired_seeds=True)).p_value
    of_prompts = sign_flip_p(*([top for top, _ in side] for side in counts))
    assert of_prompts < 0.05 < of_seeds
    assert _p_of_flags(spread, none) == pytest.approx(of_seeds)


def test_sides_with_other_numbers_of_seeds_have_the_seeds_spread_and_say_how_they_are_paired() -> (
    None
):
    won, lost = [1] * 6 + [0, 1] * 4, [0] * 6 + [0, 1] * 4
    one, two = [won], [lost, [0] * 6 + [1] * 8]
    counts = [[(np.array(row, float), np.ones(14)) for row in side] for side in (one, two)]
    of_seeds = t_test(estimate_effect(*counts)).p_value
    of_prompts = sign_flip_p(*([top for top, _ in side] for side in counts))
    assert _p_of_flags(one, two) == pytest.approx(max(of_seeds, of_prompts))
    assert of_seeds > of_prompts
    for first, second, and_seeds in ((one, two, ""), (one, one, ""), (two, two, " and seeds")):
        [found] = _compared_flags(first, second)
        assert found.difference.definition.endswith(f"paired on prompts{and_seeds}")


def test_a_score_that_is_no_yes_or_no_for_one_method_has_the_t_test() -> None:
    graded = _flags([[1] * 6])
    partly = {
        0: {
            "quality_draft": replace(
                graded[0]["quality_draft"], counts=(np.full(6, 0.4) + np.arange(6) / 50, np.ones(6))
            )
        }
    }
    cells = {
        Cell("gsm8k", "p", title, seed): found
        for title, seeds in {"kd": partly, "adaspec": graded}.items()
        for seed, found in seeds.items()
    }
    [found] = compare_contenders(by_contender(cells), _recipe())
    counts = [[seeds[0]["quality_draft"].counts] for seeds in (graded, partly)]
    assert found.p_value == t_test(estimate_effect(*counts)).p_value


def test_no_p_is_below_what_two_prompts_allow_and_no_interval_has_no_width() -> None:
    """1 of 2 tokens against 0 of 2 on both prompts."""
    cells = {
        Cell("gsm8k", "p", title, 0): {
            NAME: Quantity((np.full(2, top), np.full(2, 2.0)), "x", ("a", "b"))
        }
        for title, top in {"kd": 0.0, "adaspec": 1.0}.items()
    }
    [found] = compare_contenders(by_contender(cells), _recipe())
    assert found.p_value == found.adjusted_p == 0.5
    assert found.difference.value == 0.5
    assert found.difference.low is not None
    assert found.difference.high is not None
    assert found.difference.low < 0
    assert found.difference.high > 0.9
    assert found.prompts_needed == 6


@given(st.lists(st.integers(0, 10), min_size=2, max_size=8))
def test_a_difference_that_is_not_significant_has_0_within_its_interval(tops: list[int]) -> None:
    """Of two prompts that agree a t interval alone would be too sure."""
    tested_B = np.full(len(tops), 10.0)
    other_B = np.full(len(tops), 4.0)
    cells = {
        Cell("gsm8k", "p", title, 0): {
            NAME: Quantity((top_B, tested_B), "x", tuple(map(str, range(len(tops)))))
        }
        for title, top_B in (("kd", other_B), ("adaspec", np.array(tops, dtype=float)))
    }
    (found,) = compare_contenders(by_contender(cells), _recipe())
    assert found.difference.low is not None
    assert found.difference.high is not None
    if found.p_value >= 0.05:
        assert found.difference.low <= 0 <= found.difference.high
    if len(tops) < 6:
        assert found.p_value >= 0.05
        assert found.detectable is None or tops == [4] * len(tops)


def test_contenders_are_ranked_by_block_efficiency_and_share_letters_if_they_do_not_differ() -> (
    None
):
    """adaspec is ahead of kd by what every prompt shows; random differs from kd by noise alone."""
    efficiency = quantity_key("block_efficiency", 0.0, 4)
    noise_B = np.random.default_rng(0).normal(0, 0.05, (3, 40))
    means = {"kd": 2.0, "adaspec": 2.5, "random": 2.0}
    prompts = tuple(str(number) for number in range(40))
    cells = {
        Cell("gsm8k", "p", title, 0): {
            efficiency: Quantity((mean + noise_B[index], np.ones(40)), "x", prompts, (1.0, 5.0))
        }
        for index, (title, mean) in enumerate(means.items())
    }
    contenders = by_contender(cells)
    ranked = [
        (item.contender.method, item.letters) for item in rank_contenders(contenders, _recipe())
    ]
    assert ranked[0] == ("adaspec", "a")
    assert sorted(ranked[1:]) == [("kd", "b"), ("random", "b")]
    two = {item: seeds for item, seeds in contenders.items() if item.method != "random"}
    assert [item.letters for item in rank_contenders(two, _recipe())] == ["a", "b"]
    alone = {item: seeds for item, seeds in contenders.items() if item.method == "kd"}
    assert rank_contenders(alone, _recipe()) == ()


def test_letters_are_of_tests_at_a_level_that_all_pairs_share() -> None:
    """Each of three pairs is tested at 0.05 / 3: p = 0.03 is then no difference."""
    efficiency = quantity_key("block_efficiency", 0.0, 4)
    spread_B = np.array([-1.0, 1.0] * 10)
    error = np.std(spread_B, ddof=1) / 20**0.5
    behind = error * float(stats.t.isf(0.03 / 2, 19))
    tops = {"kd": 0 * spread_B, "random": 0 * spread_B, "adaspec": spread_B + behind}
    prompts = tuple(map(str, range(20)))
    cells = {
        Cell("gsm8k", "p", title, 0): {
            efficiency: Quantity((5 + top_B, np.ones(20)), "x", prompts, (1.0, 17.0))
        }
        for title, top_B in tops.items()
    }
    contenders = by_contender(cells)
    assert [it.letters for it in rank_contenders(contenders, _recipe())] == ["a", "a", "a"]
    two = {item: seeds for item, seeds in contenders.items() if item.method != "random"}
    assert [it.letters for it in rank_contenders(two, _recipe())] == ["a", "b"]


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(2, 6))
def test_the_interval_of_the_distance_from_the_first_has_0_inside_exactly_if_letters_are_shared(
    seed: int, num_prompts: int, num_methods: int
) -> None:
    efficiency = quantity_key("block_efficiency", 0.0, 4)
    draws = np.random.default_rng(seed)
    prompts = tuple(map(str, range(num_prompts)))
    cells = {
        Cell("gsm8k", "p", f"m{number}", 0): {
            efficiency: Quantity(
                (draws.normal(2 + 0.03 * number, 0.05, num_prompts), np.ones(num_prompts)),
                "x",
                prompts,
                (1.0, 5.0),
            )
        }
        for number in range(num_methods)
    }
    first, *others = rank_contenders(by_contender(cells), _recipe())
    assert first.behind is None
    for item in others:
        number = item.behind
        assert number is not None
        assert number.low is not None
        assert number.value >= 0
        assert (number.low <= 0) == bool(set(item.letters) & set(first.letters))


def test_what_one_of_two_methods_was_not_measured_for_is_not_compared() -> None:
    efficiency = quantity_key("block_efficiency", 0.0, 4)
    cells = {
        Cell("gsm8k", "p", "kd", 0): {NAME: _quantity(0.5)},
        Cell("gsm8k", "p", "adaspec", 0): {NAME: _quantity(0.6), efficiency: _quantity(0.6)},
    }
    [found] = compare_contenders(by_contender(cells), _recipe())
    assert found.quantity == NAME
    one_seed_without = cells | {
        Cell("gsm8k", "p", "adaspec", 1): {efficiency: _quantity(0.6)},
        Cell("gsm8k", "p", "kd", 1): {NAME: _quantity(0.6)},
    }
    assert compare_contenders(by_contender(one_seed_without), _recipe()) == ()
