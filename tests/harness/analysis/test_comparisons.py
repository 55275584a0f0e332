"""Who is compared with whom is what the recipe plans."""

import numpy as np
import pytest

from draftmark.analysis.comparisons import by_contender, compare_contenders, rank_contenders
from draftmark.analysis.quantities import Quantity, quantity_key
from draftmark.analysis.statistics import over_seeds
from draftmark.config.recipe import Recipe
from draftmark.results import Cell, Number

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
