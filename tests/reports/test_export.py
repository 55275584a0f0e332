"""Exports: the same numbers in every format, and text that does nothing in any of them."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from stored_runs import HOSTILE, NUMBER, run_of

from draftmark.reports.export import COMPARISONS, NUMBERS, REPORT
from draftmark.reports.lm_eval import REPORT as LM_EVAL
from draftmark.results import Comparison, Contender, Pooled, Results
from draftmark.store.records import write_rows
from draftmark.store.run_folder import save_results

RATES = [0.5, 0.7]


def run(tmp_path: Path, method: str = "kd", **changes: Any) -> Results:
    results = run_of(tmp_path, {method: [RATES, RATES]})
    who = Contender("gsm8k", "p", method)
    rate = "acceptance_rate[t=0,gamma=4]"
    compared = Comparison(who, "untrained", rate, NUMBER, 0.01, 0.02, 0.05, None)
    pooled = Pooled(who, (0, 1), {rate: NUMBER})
    first, second = results.results
    named = {**first.numbers, "quality_draft[exact_match]": NUMBER, "speedup": NUMBER}
    rows = (replace(first, numbers=named), replace(second, failure="broke", numbers={}))
    return replace(results, results=rows, pooled=(pooled,), comparisons=(compared,), **changes)


def test_csv_parquet_and_json_hold_the_same_rows(tmp_path: Path) -> None:
    files = REPORT(run(tmp_path), tmp_path)
    for name, columns in (("numbers", NUMBERS), ("comparisons", COMPARISONS)):
        of_json = json.loads(files[f"{name}.json"])
        assert pq.read_table(io.BytesIO(files[f"{name}.parquet"])).to_pylist() == of_json
        of_csv = list(csv.DictReader(io.StringIO(str(files[f"{name}.csv"]))))
        assert [
            {column: kind(row[column]) if row[column] else None for column, kind in columns.items()}
            for row in of_csv
        ] == [{k: None if v == "" else v for k, v in row.items()} for row in of_json]


def test_a_row_says_all_that_its_key_does(tmp_path: Path) -> None:
    rows = json.loads(REPORT(run(tmp_path), tmp_path)["numbers.json"])
    pooled, *own = rows
    assert (pooled["seeds"], pooled["quantity"]) == ("0 1", "acceptance_rate")
    assert (pooled["temperature"], pooled["gamma"], pooled["value"]) == (0.0, 4, 0.5)
    by_quantity = {row["quantity"]: row for row in own}
    assert by_quantity["quality_draft"]["of"] == "exact_match"
    assert by_quantity["speedup"]["gamma"] is None
    assert [row["failure"] for row in own if row["failure"]] == ["broke"]


def test_no_results_are_a_header_and_no_rows(tmp_path: Path) -> None:
    empty = replace(run(tmp_path), results=(), pooled=(), comparisons=())
    files = REPORT(empty, tmp_path)
    assert str(files["numbers.csv"]).splitlines() == [",".join(NUMBERS)]
    assert json.loads(files["comparisons.json"]) == []
    assert pq.read_table(io.BytesIO(files["numbers.parquet"])).column_names == list(NUMBERS)
    assert LM_EVAL(empty, tmp_path) == {}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\t=", "\uff1d", "\r="])
def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path, start: str) -> None:
    files = REPORT(run(tmp_path, f"{start}cmd|' /C calc'!A0"), tmp_path)
    methods = [row["method"] for row in csv.DictReader(io.StringIO(str(files["numbers.csv"])))]
    assert methods
    assert all(method.startswith("'") for method in methods)


def test_hostile_text_is_kept_as_data_and_does_nothing(tmp_path: Path) -> None:
    files = REPORT(run(tmp_path, HOSTILE + "\ud800"), tmp_path)
    assert len(str(files["numbers.csv"]).splitlines()) == 7
    assert (
        max(
            len(cell)
            for row in csv.reader([*str(files["numbers.csv"]).splitlines()])
            for cell in row
        )
        < 33_000
    )
    for bad in ("\u202e", "\x1b", "\x00"):
        assert bad not in str(files["numbers.csv"]) + str(files["numbers.json"])
    (method,) = set(pq.read_table(io.BytesIO(files["numbers.parquet"]))["method"].to_pylist())
    assert method == HOSTILE + "?"
    assert json.loads(files["numbers.json"])[0]["method"] == HOSTILE + "\ud800"
    for file, content in LM_EVAL(run(tmp_path, HOSTILE), tmp_path).items():
        folder, name, *rest = Path(file).parts
        assert (folder, rest[1:]) == ("lm_eval", [])
        assert len(name) < 100
        assert content.isascii()


def test_names_that_look_like_paths_stay_below_their_folder(tmp_path: Path) -> None:
    files = LM_EVAL(run(tmp_path, "../../etc/passwd"), tmp_path)
    assert files
    assert all(".." not in file and file.startswith("lm_eval/p__") for file in files)
    other = LM_EVAL(run(tmp_path, "..//../etc/passwd"), tmp_path)
    assert not files.keys() & other.keys()


def test_results_have_the_keys_of_lm_eval(tmp_path: Path) -> None:
    files = LM_EVAL(run(tmp_path), tmp_path)
    document = json.loads(files["lm_eval/p__kd__0/results.json"])
    scores = document["results"]["gsm8k"]
    assert scores["alias"] == "gsm8k"
    assert scores["acceptance_rate,t=0 gamma=4"] == pytest.approx(0.6)
    assert scores["acceptance_rate_stderr,t=0 gamma=4"] == pytest.approx(0.1 / 1.96)
    assert scores["speedup,none"] == 0.5
    assert document["n-samples"]["gsm8k"]["effective"] == 4
    assert {"configs", "versions", "n-shot", "config", "git_hash"} <= document.keys()
    failed = json.loads(files["lm_eval/p__kd__1/results.json"])
    assert failed["results"] == {}
    assert failed["failed"] == {"gsm8k": "broke"}


def test_a_sample_is_a_prompt_with_its_text_scores_and_counts(tmp_path: Path) -> None:
    results = run(tmp_path)
    rows = [
        {
            "arm": "alone",
            "example_id": f"gsm8k/test/{n}",
            "num_tokens": 3,
            "text": f"#{n}\n",
            "exact_match": 1.0,
        }
        for n in range(2)
    ]
    write_rows(tmp_path / "records/00/target-grades.parquet", rows)
    save_results(results, tmp_path)  # with the sums of all that is beside them
    lines = LM_EVAL(results, tmp_path)["lm_eval/p__kd__0/samples_gsm8k.jsonl"].splitlines()
    first = json.loads(lines[0])
    assert len(lines) == 2
    assert (first["doc_id"], first["filtered_resps"], first["exact_match"]) == (0, ["#0\n"], 1.0)
    counts = first["counts"]["t=0"]
    assert counts["accepted"] / counts["tested"] == pytest.approx(0.5, abs=0.01)
    assert first["draft_alone"] is None
