"""Hostile names and texts do nothing in any format that any report writes."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from stored_runs import HOSTILE, NUMBER, run_of

from draftmark.registry import find_registered, registered_names
from draftmark.results import Cell, Results

CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
# Of a verdict, of two runs, of a board, in Parquet: their own tests have this.
OTHERS = {"gate", "compare", "board", "counts"}


def hostile_run(directory: Path) -> Results:
    """Return a run with a hostile method, task, pair, title, failure and measurement."""
    results = run_of(directory, {HOSTILE: [[0.5, 0.7]], "kd": [[0.4, 0.6]]})
    first, second = results.results
    numbers = {**first.numbers, f"speedup[{HOSTILE}]": replace(NUMBER, definition=HOSTILE)}
    cell = replace(first.cell, pair=HOSTILE)
    rows = (
        replace(first, cell=cell, numbers=numbers),
        replace(second, failure=HOSTILE),
        replace(second, cell=Cell(HOSTILE, "p", "kd", 0)),
    )
    pairs = [{"name": HOSTILE, "target": HOSTILE, "draft": {}}, *results.recipe["pairs"]]
    recipe = {**results.recipe, "pairs": pairs, "tasks": ["gsm8k", HOSTILE]}
    check = {"name": HOSTILE, "passed": False, "evidence": HOSTILE, "temperature": 0.0}
    where = {"task": HOSTILE, "pair": HOSTILE, "method": HOSTILE, "seed": 0}
    verified = {"engine": HOSTILE, "dtype": HOSTILE, "checks": [{**check, "cell": where}]}
    (directory / "lossless.json").write_text(json.dumps(verified))
    return replace(results, title=HOSTILE, recipe=recipe, results=rows)


def on_hub_rows(results: Results) -> Results:
    """Return results whose rows came from a hub data set with a hostile name."""
    source = {"test": f"hub {HOSTILE}@{HOSTILE}"}
    places = {(row.cell.task, row.cell.pair) for row in results.results}
    data = [{"task": task, "pair": pair, "source": source} for task, pair in places]
    return replace(results, data=tuple(data))


def text_of(files: Mapping[str, str | bytes]) -> dict[str, str]:
    return {name: text for name, text in files.items() if isinstance(text, str)}


@pytest.mark.parametrize("report", sorted(set(registered_names("reports")) - OTHERS))
def test_no_report_lets_a_hostile_name_do_anything(report: str, tmp_path: Path) -> None:
    results = hostile_run(tmp_path)
    if report == "hf_eval_results":  # a report on rows of the hub alone
        results = on_hub_rows(results)
    files = text_of(find_registered("reports", report)(results, tmp_path))

    assert files
    for name, text in files.items():
        assert not CONTROLS.search(text), name
        if name.endswith((".md", ".html", ".svg")):
            assert "<script>alert" not in text, name
        if name.endswith((".csv", ".tsv")):
            assert not re.search(r'(^|,|")=1\+1', text, re.M), name
        if name.endswith(".tex"):
            assert not re.search(r"(?<!\\)\\input\{x\}", text), name
