"""Sweeps: a list for a knob that takes one value is an entry for each value."""

from pathlib import Path

import pytest

from draftmark.errors import UserError
from draftmark.pipeline.recipe_files import load_recipe, stored_recipe
from draftmark.pipeline.sweeps import expand_sweeps
from draftmark.speculation.methods import build_method, takes_list

RECIPE = """
title = "a sweep"
tasks = ["gsm8k"]
[data]
sources = ["samples"]
[[pairs]]
name = "tiny"
target = "tiny-target"
draft = { pruned = [0, 7] }
[[methods]]
name = "kd"
[[methods]]
name = "adaspec"
keep = [0.2, 0.4, 0.8]
[[methods]]
name = "sft"
against = ["kd", "adaspec"]
[by_task.gsm8k.methods.adaspec]
training = { passes = 2 }
"""


def _load(folder: Path, text: str) -> list[tuple[str, object]]:
    (folder / "sweep.toml").write_text(text, "utf-8")
    recipe = load_recipe(str(folder / "sweep.toml"))
    return [(entry.title, entry.knobs.get("keep")) for entry in recipe.methods]


def test_each_value_is_a_labelled_contender(tmp_path: Path) -> None:
    assert _load(tmp_path, RECIPE) == [
        ("kd", None),
        ("adaspec, keep 0.2", 0.2),
        ("adaspec, keep 0.4", 0.4),
        ("adaspec, keep 0.8", 0.8),
        ("sft", None),
    ]


def test_names_of_a_swept_entry_stand_for_all_of_its_values(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(RECIPE, "utf-8")
    recipe = load_recipe(str(tmp_path / "sweep.toml"))
    swept = [f"adaspec, keep {keep}" for keep in (0.2, 0.4, 0.8)]

    assert recipe.method("sft").against == ("kd", *swept)
    assert list(recipe.by_task["gsm8k"].methods) == swept
    assert {entry.sweep for entry in recipe.methods} == {"", "keep"}
    assert len(list(recipe.cells())) == 5
    document = recipe.model_dump(mode="json")
    assert "sweep" not in document["methods"][0]
    assert stored_recipe(document, tmp_path) == recipe


def test_a_list_that_the_knob_itself_takes_is_no_sweep() -> None:
    kinds = {
        (name, knob): takes_list(name, knob)
        for name, knob in (("adaspec", "keep"), ("adaspec", "nonsense"), ("eagle", "tree"))
    }

    assert kinds == {
        ("adaspec", "keep"): False,
        ("adaspec", "nonsense"): None,
        ("eagle", "tree"): True,
    }
    document = {"methods": [{"name": "eagle", "tree": [3, 2]}, {"name": "kd"}]}
    assert expand_sweeps(document) is document
    assert build_method(load_recipe("quickstart").methods[0])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("keep = []", r"keep = \[\] has no value to try"),
        ('keep = [0.2]\nselection = ["gap", "random"]', "lists for keep and selection; sweep one"),
        ('keep = [0.2, "x"]', "adaspec.*keep"),
        ("keep = [0.2, 0.2]", "repeat: .*adaspec, keep 0.2"),
        ("keeep = [0.2]", "knob of method 'adaspec' 'keeep'"),
    ],
)
def test_faulty_sweeps_are_sentences(tmp_path: Path, keys: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        _load(tmp_path, RECIPE.replace("keep = [0.2, 0.4, 0.8]", keys).partition("[by_task")[0])
