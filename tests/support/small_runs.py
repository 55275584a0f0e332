"""Recipes of runs that take seconds: two layers of the tiny target, on sample rows."""

from collections.abc import Sequence


def small_recipe(
    rows: tuple[int, int, int],
    methods: Sequence[str],
    *,
    top: str = "",
    rows_per_batch: int = 4,
    evaluation: str,
) -> str:
    """Return a recipe; `rows`: training, validation and test rows; `top`: its top-level keys.

    `evaluation`: the keys of that section, and the sections after it.
    """
    return "\n".join(
        [
            'title = "a small run"\ntasks = ["gsm8k"]\nthreads = 1',
            top,
            '[data]\nsources = ["samples"]',
            "train_rows = {}\nvalidation_rows = {}\ntest_rows = {}".format(*rows),
            '[[pairs]]\nname = "tiny"\ntarget = "tiny-target"\ndraft = { pruned = [0, 7] }',
            f"[training]\npasses = 2\nrows_per_batch = {rows_per_batch}\nlearning_rate = 3e-3",
            *(f'[[methods]]\nname = "{name}"' for name in methods),
            f"[evaluation]\n{evaluation}\n",
        ]
    )
