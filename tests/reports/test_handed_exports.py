"""Exports in the formats of others, each read by the code that reads it there, or by its schema."""

import csv
import io
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from stored_runs import HOSTILE, run_of

from draftmark.analysis.quantities import DEFINITIONS, acceptance_quantities
from draftmark.analysis.summary import quantity_number
from draftmark.config.sections import Evaluation
from draftmark.errors import UserError
from draftmark.reports.every_eval_ever import REPORT as EVERY_EVAL_EVER
from draftmark.reports.hf_eval_results import REPORT as HF
from draftmark.reports.model_card import REPORT as CARD
from draftmark.reports.speculators import REPORT as SPECULATORS
from draftmark.results import Results
from draftmark.speculation.blocks import VLLM, block_counts
from draftmark.store.acceptance_tables import read_tables
from draftmark.store.cell_records import Records

DATA = {
    "task": "gsm8k",
    "pair": "p",
    "task_version": 1,
    "target": "org/target",
    "target_digest": "0",
    "draft": "model d",
    "rows": {"test": 4},
    "source": {"test": "hub openai/gsm8k@740312a"},
    "digest": {"test": "1" * 64},
    "overlaps": [],
}


class _Recipe:
    evaluation = Evaluation(temperatures=(0.0,))


def run(folder: Path, method: str = "kd") -> Results:
    """Return a stored run with the numbers that its tables have."""
    results = run_of(folder, {method: [[0.5, 0.75, 1.0, 1.0]]})
    tables = read_tables(folder / "records/00/tables-t0.parquet")
    found = acceptance_quantities(Records(tables={0.0: tables}), _Recipe())  # type: ignore[arg-type]
    numbers = {key: quantity_number(item) for key, item in found.items()}
    row = replace(results.results[0], numbers=numbers)
    return replace(results, results=(row,), data=(DATA,), name="mine")


def test_acceptance_csv_has_the_columns_and_counts_of_speculators(tmp_path: Path) -> None:
    files = SPECULATORS(run(tmp_path), tmp_path)
    (text,) = [text for name, text in files.items() if name.endswith("acceptance.csv")]
    (row,) = csv.DictReader(io.StringIO(text))
    counts = block_counts(read_tables(tmp_path / "records/00/tables-t0.parquet"), 4, VLLM)
    drafts = counts.drafts_B.sum()
    assert list(row) == [
        *("subset", "num_drafts", "num_draft_tokens", "num_accepted_tokens", "acceptance_length"),
        *(f"acceptance_at_pos_{place}" for place in range(4)),
    ]
    assert row["subset"] == "gsm8k"
    assert float(row["num_drafts"]) == pytest.approx(drafts)
    positions = [float(row[f"acceptance_at_pos_{place}"]) for place in range(4)]
    assert positions == pytest.approx((counts.reached_BG.sum(0) / drafts).tolist())
    # vLLM's identity: the length is 1 + the sum over positions.
    assert float(row["acceptance_length"]) == pytest.approx(1 + sum(positions))
    assert "1 + accepted / drafts" in files["speculators/definitions.md"]


def test_the_card_has_the_block_efficiency_by_use_case_and_k_and_what_it_means(
    tmp_path: Path,
) -> None:
    results = run(tmp_path)
    (text,) = CARD(results, tmp_path).values()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["base_model"] == ["org/target"]
    numbers = results.results[0].numbers
    value = numbers["block_efficiency[t=0,gamma=3]"].value
    line = next(line for line in body.splitlines() if line.startswith("| gsm8k |") and "[" in line)
    assert line.split("|")[4].strip().startswith(f"{value:.2f} [")
    assert "| use case | k=1 | k=2 | k=3 |" in body
    assert DEFINITIONS["block_efficiency"] in body
    assert "hub openai/gsm8k@740312a" in body


def test_the_hubs_own_reader_reads_the_results(tmp_path: Path) -> None:
    results = run(tmp_path)
    ((name, text),) = HF(results, tmp_path).items()
    assert name == "hf_eval_results/p__kd__0/.eval_results/gsm8k.yaml"
    entries = parse_eval_result_entries(yaml.safe_load(text))
    assert {entry.dataset_id for entry in entries} == {"openai/gsm8k"}
    by_task = {entry.task_id: entry for entry in entries}
    number = results.results[0].numbers["block_efficiency[t=0,gamma=4]"]
    entry = by_task["block_efficiency_t0_k4"]
    assert entry.value == number.value
    assert entry.notes
    assert number.definition in entry.notes
    assert "n = 4" in entry.notes


def test_rows_from_elsewhere_are_no_data_set_of_the_hub(tmp_path: Path) -> None:
    own = {**DATA, "source": {"test": "samples"}}
    with pytest.raises(UserError, match="No rows of this run are from a hub data set"):
        HF(replace(run(tmp_path), data=(own,)), tmp_path)


def document(tmp_path: Path) -> tuple[str, dict[str, Any]]:
    ((name, text),) = EVERY_EVAL_EVER(run(tmp_path), tmp_path).items()
    return name, json.loads(text)


def test_every_eval_evers_json_has_each_rate_with_its_interval_and_definition(
    tmp_path: Path,
) -> None:
    name, found = document(tmp_path)
    assert name.startswith("every_eval_ever/data/draftmark/org/target__kd__0/")
    by_id = {item["evaluation_result_id"]: item for item in found["evaluation_results"]}
    item = by_id["gsm8k/block_efficiency[t=0,gamma=4]"]
    number = run(tmp_path).results[0].numbers["block_efficiency[t=0,gamma=4]"]
    assert item["score_details"]["score"] == number.value
    interval = item["score_details"]["uncertainty"]["confidence_interval"]
    assert (interval["lower"], interval["upper"]) == (number.low, number.high)
    assert item["metric_config"]["evaluation_description"] == number.definition
    assert (item["metric_config"]["min_score"], item["metric_config"]["max_score"]) == (1.0, 5.0)
    assert item["source_data"]["hf_repo"] == "openai/gsm8k"
    assert document(tmp_path)[0] == name  # the same results are the same file


def test_every_eval_ever_names_the_draft_and_the_rule_of_a_rate(tmp_path: Path) -> None:
    results = run(tmp_path)
    (row,) = results.results
    key = "block_efficiency[t=1,gamma=4,draft=greedy,verification=block]"
    number = row.numbers["block_efficiency[t=0,gamma=4]"]
    changed = replace(results, results=(replace(row, numbers={key: number}),))
    (text,) = EVERY_EVAL_EVER(changed, tmp_path).values()
    (item,) = json.loads(text)["evaluation_results"]
    parameters = {"t": 1, "gamma": 4, "draft": "greedy", "verification": "block"}
    assert item["metric_config"]["metric_parameters"] == parameters
    assert item["generation_config"]["generation_args"] == {"temperature": 1.0}


@pytest.mark.skipif(
    find_spec("every_eval_ever") is None,
    reason="every-eval-ever is not installed; it needs Python 3.12: pip install every-eval-ever",
)
def test_every_eval_ever_itself_accepts_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from every_eval_ever.validate import validate_file

    name, found = document(tmp_path)
    monkeypatch.chdir(tmp_path)
    file = Path(name).relative_to("every_eval_ever")
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(found), "utf-8")
    report = validate_file(file)
    assert report.valid, report.errors


@pytest.mark.parametrize("report", [SPECULATORS, CARD, HF, EVERY_EVAL_EVER])
def test_hostile_names_stay_in_their_folder_and_do_nothing(report: Any, tmp_path: Path) -> None:
    results = run(tmp_path, method=HOSTILE[:3000])
    for name, text in report(replace(results, title=HOSTILE[:3000]), tmp_path).items():
        assert ".." not in name
        assert len(max(name.split("/"), key=len)) < 200
        assert "\x1b" not in text
        assert "<script>" not in text or name.endswith((".yaml", ".json"))
