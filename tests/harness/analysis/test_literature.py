"""Published figures: what is in the files, what damage is told, and which stand beside a run."""

from typing import Any

import pytest

from draftmark.analysis import literature
from draftmark.analysis.literature import Figure, matching_figures, published_figures, read_figures
from draftmark.errors import UserError
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.results import Contender

TABLE = """
[[tables]]
target = "t"
draft = "d"
method = "kd"
called = "KD"
column = "3 epochs"
quantity = "alpha"
definition = "accepted / tested"
unit = "percent"
beside = "acceptance_rate"
source = "table 1"
status = "primary"
values = { gsm8k = 57.58 }
"""
HEAD = 'paper = "P"\nprotocol = "differs."\n'


def _of(pair: str, task: str, method: str, column: str) -> Figure:
    (found,) = (
        figure
        for figure in published_figures()
        if (figure.table.draft, figure.task) == (pair, task)
        and (figure.table.method, figure.table.column) == (method, column)
    )
    return found


def test_every_shipped_figure_loads_and_says_where_it_was_read() -> None:
    assert len(published_figures()) == 2 * 4 * 5 + 2 + 4 * 5 + 3
    assert {figure.table.status for figure in published_figures() if "CSD" in figure.paper} == {
        "secondary"
    }
    assert {figure.table.status for figure in published_figures() if "Ada" in figure.paper} == {
        "primary"
    }


def test_adaspecs_gains_are_those_that_its_table_sums_to() -> None:
    """Over the 20 cells the mean gain is 2.47 points and the median 1.55: of the whole table."""
    pairs = ("pythia-31m", "codegen-350m-mono")
    gains = sorted(
        100 * (_of(pair, task, "adaspec", column).value - _of(pair, task, "kd", column).value)
        for pair in pairs
        for task in ("gsm8k", "alpaca", "mbpp", "cnn_dm", "xsum")
        for column in ("3 epochs", "best epoch")
    )

    assert sum(gains) / 20 == pytest.approx(2.47, abs=0.005)
    assert (gains[9] + gains[10]) / 2 == pytest.approx(1.55, abs=0.005)
    assert gains[-1] == pytest.approx(65.12 - 49.88)


def test_a_figure_is_a_fraction_of_its_percent() -> None:
    (figure,) = read_figures(HEAD + TABLE, "x.toml")

    assert figure.value == pytest.approx(0.5758)
    assert figure.protocol == "differs."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("paper = ", "x.toml is not valid TOML"),
        (HEAD, "tables: Field required"),
        (HEAD + TABLE.replace("57.58", "157.58"), "tables.0.values.gsm8k"),
        (HEAD + TABLE.replace("57.58", '"a"'), "tables.0.values.gsm8k"),
        (HEAD + TABLE.replace("{ gsm8k = 57.58 }", "{}"), "tables.0.values"),
        (HEAD + TABLE.replace("primary", "hearsay"), "tables.0.status"),
        (HEAD + TABLE.replace("source =", "sorce ="), "tables.0.source"),
        (HEAD + TABLE + 'colum = "x"\n', "Unknown key 'tables.0.colum'"),
        (HEAD + TABLE + TABLE, "t, d, kd, 3 epochs, gsm8k has two figures"),
    ],
)
def test_a_damaged_file_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        list(read_figures(text, "x.toml"))

    assert sentence in str(caught.value)
    assert str(caught.value).startswith("x.toml")


def _recipe(target: str, draft: dict[str, Any]) -> dict[str, Any]:
    return {"pairs": [{"name": "mine", "target": target, "draft": draft}]}


@pytest.mark.parametrize(
    ("target", "draft"),
    [
        ("EleutherAI/pythia-1.4b@main", "EleutherAI/pythia-31m@main"),
        ("models/Pythia-1.4B", "/models/pythia-31m/"),
    ],
)
def test_models_are_told_by_their_names_alone(target: str, draft: str) -> None:
    found = matching_figures(
        Contender("gsm8k", "mine", "adaspec"), _recipe(target, {"model": draft})
    )

    assert [(figure.table.column, figure.value) for figure in found] == [
        ("3 epochs", pytest.approx(0.6263)),
        ("best epoch", pytest.approx(0.6828)),
    ]


@pytest.mark.parametrize(
    ("task", "method", "draft"),
    [
        ("gsm8k", "adaspec, random", {"model": "x/pythia-31m@a"}),
        ("other", "adaspec", {"model": "x/pythia-31m@a"}),
        ("gsm8k", "adaspec", {"model": "x/pythia-70m@a"}),
        ("gsm8k", "adaspec", {"model": None, "pruned": [0]}),
    ],
)
def test_another_task_pair_or_method_has_no_figure(
    task: str, method: str, draft: dict[str, Any]
) -> None:
    recipe = _recipe("x/pythia-1.4b@a", draft)

    assert matching_figures(Contender(task, "mine", method), recipe) == []


@pytest.mark.parametrize(
    "name",
    ["adaspec_pythia_3epochs", "adaspec_pythia_best", "adaspec_codegen_best", "adaspec_qwen"],
)
def test_the_papers_recipes_meet_its_figures(name: str) -> None:
    recipe = load_recipe(name)
    document = recipe.model_dump(mode="json")
    met = {
        (cell.task, cell.method)
        for cell in recipe.cells()
        if matching_figures(cell.contender, document)
    }

    assert met == {(task, method) for task in recipe.tasks for method in ("kd", "adaspec")}


def test_csds_recipe_for_gsm8k_meets_its_figures() -> None:
    recipe = load_recipe("csd_gemma")
    document = recipe.model_dump(mode="json")

    met = {cell.method for cell in recipe.cells() if matching_figures(cell.contender, document)}

    assert met == {"kd", "reverse KL", "csd (T,S)"}
    assert literature.published_figures() is published_figures()
