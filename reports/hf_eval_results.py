"""Evaluation results for model repositories of the Hugging Face hub: `.eval_results/*.yaml`.

https://huggingface.co/docs/hub/eval-results: a list of entries with a data set of the hub, its
task, a value, a date and notes. The hub shows those whose data set is registered as a benchmark.
Only rows that came from the hub have such a data set.
"""

# In short: Evaluation results for a repository of the hub.

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from draftmark.analysis.hub_data_sets import hub_data_set
from draftmark.analysis.quantities import quantity_key
from draftmark.errors import UserError
from draftmark.reports._shared.content import file_name
from draftmark.reports._shared.rows import gamma_of, temperatures_of
from draftmark.results import Number, Result, Results

RATES = ("block_efficiency", "acceptance_rate")
FOLDER = "hf_eval_results"


def hf_eval_results(results: Results, directory: Path) -> dict[str, str]:
    """Return a file for each pair, method, seed and task.

    Raises UserError if no rows are from a hub data set.
    """
    sets = {(item["task"], item["pair"]): hub_data_set(item) for item in results.data}
    rows = [row for row in results.results if not row.failure]
    files = {
        f"{FOLDER}/{_folder(row)}/.eval_results/{file_name(row.cell.task)}.yaml": _yaml(entries)
        for row in rows
        if (found := sets.get((row.cell.task, row.cell.pair)))
        and (entries := list(_entries(row, results, *found)))
    }
    if not files:
        raise UserError(
            "No rows of this run are from a hub data set, which an entry of .eval_results names; "
            'run with data.sources = ["hub"].'
        )
    return files


def _folder(row: Result) -> str:
    return file_name(f"{row.cell.pair}__{row.cell.method}__{row.cell.seed}")


def _entries(
    row: Result, results: Results, data_set: str, commit: str
) -> Iterator[Mapping[str, Any]]:
    """Yield an entry for each rate and temperature."""
    for temperature in temperatures_of(results):
        for rate in RATES:
            key = quantity_key(rate, temperature, gamma_of(results))
            if key in row.numbers:
                number = row.numbers[key]
                yield {
                    "dataset": {
                        "id": data_set,
                        "task_id": f"{rate}_t{temperature:g}_k{gamma_of(results)}",
                        "revision": commit,
                    },
                    "value": number.value,
                    **_date(results),
                    "notes": _notes(row, number, results),
                }


def _date(results: Results) -> dict[str, str]:
    date = results.commit.get("date")
    return {"date": str(date)} if date else {}


def _notes(row: Result, number: Number, results: Results) -> str:
    """Return draft, interval and definition in words."""
    interval = ""
    if number.low is not None and number.high is not None:
        interval = f" 95% interval [{number.low:.4f}, {number.high:.4f}], n = {number.n}."
    draft = f"speculative decoding with {row.cell.method}, seed {row.cell.seed}"
    return f"{draft}, {gamma_of(results)} drafted tokens.{interval} {number.definition}"


def _yaml(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return entries as YAML; JSON strings and numbers are YAML."""
    lines: list[str] = []
    for entry in entries:
        fields = [line for name, value in entry.items() for line in _field(name, value)]
        lines += [f"- {fields[0]}", *(f"  {line}" for line in fields[1:])]
    return "\n".join(lines) + "\n"


def _field(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield f"{name}:"
        yield from (f"  {key}: {json.dumps(item)}" for key, item in value.items())
    else:
        yield f"{name}: {json.dumps(value)}"


REPORT = hf_eval_results
