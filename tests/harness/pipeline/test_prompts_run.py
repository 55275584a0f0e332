"""A run on a file of prompts: conversations, categories, formats, and no grades."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from draftmark.config.recipe import Recipe
from draftmark.data.prompts import encode_prompt
from draftmark.models.files import own_models
from draftmark.models.language_model import load_tokenizer
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.render import render_reports
from draftmark.pipeline.runner import run_experiment
from draftmark.pipeline.save_records import save_records
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.store.records import DECODES, TEXTS, read_decodes, read_texts
from draftmark.store.run_folder import load_results, save_results
from draftmark.store.store import Store
from draftmark.types import Example, Text

QUIET = Progress(quiet=True)
TURNS = [
    {"turns": ["Name a color.", "Name another one."], "category": "names"},
    {"turns": ["What is 2 + 3?"], "category": "sums"},
    {"turns": ["What is 4 + 4?", "And 5 + 5?"], "category": "sums"},
]
RECIPE = """
title = "prompts"
tasks = ["prompts"]
threads = 1
data.test_rows = {rows}
{top}
[rows.prompts]
file = "{file}"
[[pairs]]
name = "tiny"
target = "tiny-target"
draft = {{ pruned = [0, 7] }}
[[methods]]
name = "prompt_lookup"
[[methods]]
name = "untrained"
[evaluation]
temperatures = [0.0]
max_new_tokens = 12
"""
SPEED = "speed = { blocks = 2, prompts_per_block = 2 }"


def _planned(folder: Path, name: str, text: str, rows: int = 3, top: str = "speed = false") -> Plan:
    (folder / name).write_text(text, "utf-8")
    path = folder / f"{name}.toml"
    path.write_text(RECIPE.format(file=name, rows=rows, top=top), "utf-8")
    return plan_experiment(load_recipe(str(path)), QUIET)


def _lines(rows: Sequence[Any]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store, Results, Path]:
    """Return a run on three conversations, with speed, and its folder with all records."""
    folder = tmp_path_factory.mktemp("prompts")
    plan, store = _planned(folder, "rows.jsonl", _lines(TURNS), top=SPEED), Store(folder / "store")
    results = run_experiment(plan, "prompts", store, QUIET)
    results = save_records(plan, results, store, folder / "run")
    save_results(results, folder / "run")
    return plan, store, load_results(folder / "run"), folder / "run"


def _texts(plan: Plan, store: Store) -> dict[str, Text]:
    nodes = {
        output.node.key: output.node
        for outputs in plan.cells.values()
        for output in outputs.values()
        if output.field == "texts"
    }
    (node,) = nodes.values()
    return {text.example_id: text for text in read_texts(store.load(node).directory / TEXTS)}


def test_a_later_prompt_holds_the_targets_own_answer(
    run: tuple[Plan, Store, Results, Path],
) -> None:
    texts = _texts(*run[:2])
    tokenizer = load_tokenizer(own_models()["tiny-target"])
    assert list(texts) == [
        *("prompts/test/0/turn-1", "prompts/test/0/turn-2", "prompts/test/1"),
        *("prompts/test/2/turn-1", "prompts/test/2/turn-2"),
    ]
    for row, asked in ((0, TURNS[0]["turns"]), (2, TURNS[2]["turns"])):
        first, second = (texts[f"prompts/test/{row}/turn-{turn}"] for turn in (1, 2))
        answer = tokenizer.decode(first.response_ids, skip_special_tokens=True)
        messages = [
            {"role": "user", "content": asked[0]},
            {"role": "assistant", "content": answer},
            {"role": "user", "content": asked[1]},
        ]
        assert second.prompt_ids == encode_prompt(tokenizer, Example("x", tuple(messages)))
        assert answer


def test_engines_decode_the_same_prompts(run: tuple[Plan, Store, Results, Path]) -> None:
    plan, store, results, _ = run
    texts = _texts(plan, store)
    decodes = [
        item.decode
        for outputs in plan.cells.values()
        for output in outputs.values()
        if output.field == "speeds"
        for item in read_decodes(store.load(output.node).directory / DECODES)
    ]

    assert {decode.example_id for decode in decodes} == set(list(texts)[:4])
    for decode in decodes:
        text = texts[decode.example_id]
        assert decode.num_prompt_tokens == len(text.prompt_ids)
        assert decode.token_ids == text.response_ids
    assert all(row.numbers["identical"].value == 1 for row in results.results)


def test_a_conversation_is_one_prompt_and_categories_add_up(
    run: tuple[Plan, Store, Results, Path],
) -> None:
    numbers = run[2].results[0].numbers
    whole = numbers["block_efficiency[t=0,gamma=4]"]
    parts = {
        name: numbers[f"block_efficiency_by_category[t=0,gamma=4,category={name}]"]
        for name in ("names", "sums")
    }
    macro = numbers["block_efficiency_macro_mean[t=0,gamma=4]"]

    assert whole.n == 3
    assert {name: part.n for name, part in parts.items()} == {"names": 1, "sums": 2}
    assert parts["names"].low is None  # one conversation of two turns has no interval
    assert macro.value == pytest.approx(sum(part.value for part in parts.values()) / 2)
    assert run[2].data[0]["categories"] == {"names": 2, "sums": 3}
    assert run[2].data[0]["graded"] is False


def test_what_has_no_reference_has_no_quality(run: tuple[Plan, Store, Results, Path]) -> None:
    _, _, results, folder = run
    names = {name.partition("[")[0] for row in results.results for name in row.numbers}
    render_reports(results, folder, ["leaderboard", "export", "site", "tables"])
    board = (folder / "leaderboard.md").read_text("utf-8")
    table = next(line for line in board.splitlines() if line.startswith("| method |"))

    assert not [name for name in names if "quality" in name or "reference" in name]
    assert "quality" not in table
    assert "speedup" in table
    assert "### Block efficiency by category" in board
    assert "| macro mean |" in board
    assert "rows.jsonl, format turns" in board
    exported = (folder / "numbers.csv").read_text("utf-8")
    assert "block_efficiency_by_category" in exported
    assert "category=sums" in exported
    (page,) = (folder / "site" / "tables").iterdir()
    assert "Block efficiency by category" in page.read_text("utf-8")


def test_five_formats_of_the_same_prompts_give_the_same_table(tmp_path: Path) -> None:
    asked = ["Name a color.", "What is 2 + 3?"]
    files = {
        "text.txt": "".join(f"{text}\n" for text in asked),
        "messages.jsonl": _lines(
            [{"messages": [{"role": "user", "content": text}]} for text in asked]
        ),
        "prompt.jsonl": _lines([{"prompt": text} for text in asked]),
        "turns.jsonl": _lines([{"turns": [text]} for text in asked]),
        "sharegpt.jsonl": _lines(
            [{"conversations": [{"from": "human", "value": text}]} for text in asked]
        ),
    }
    store, tables = Store(tmp_path / "store"), []
    for number, (name, text) in enumerate(files.items()):
        plan = _planned(tmp_path, name, text, rows=2)
        if number:  # every stage of the first one serves the others
            assert not store.missing(plan.nodes)
        results = run_experiment(plan, "prompts", store, QUIET)
        tables.append([row.numbers for row in results.results])

    assert tables[0][0]["block_efficiency[t=0,gamma=4]"].n == 2
    assert all(table == tables[0] for table in tables)


def test_methods_that_train_on_gold_answers_say_that_there_are_none(tmp_path: Path) -> None:
    from draftmark.errors import UserError

    (tmp_path / "rows.jsonl").write_text(_lines(TURNS), "utf-8")
    files = {split: str(tmp_path / "rows.jsonl") for split in ("train", "validation", "test")}
    document = load_recipe("quickstart").model_dump(mode="json")
    document |= {"tasks": ["prompts"], "rows": {"prompts": {"file": files}}, "speed": False}
    document["data"] |= {"train_rows": 3, "validation_rows": 3, "test_rows": 3}
    with pytest.raises(UserError, match="train rows of prompts have no gold answers"):
        plan_experiment(Recipe(**document), QUIET)
    document["training"] |= {"text": "target"}
    assert plan_experiment(Recipe(**document), QUIET).cells
