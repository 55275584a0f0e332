"""Results in the layout of lm-evaluation-harness: results.json and samples_<task>.jsonl.

Each pair, method and seed has a folder, as each model has in lm-evaluation-harness. Keys are
"metric,filter"; the filter is temperature and block length, or "none" if neither applies. The
standard error is half the 95% interval / 1.96, or "N/A" (that harness's word) without an interval.
A sample is the target's response to a prompt, with the block counts of the drafts.
"""

# In short: Results in the layout of lm-evaluation-harness.

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from draftmark.analysis.stored_counts import COLUMNS, StoredCounts, stored_counts, stored_rows
from draftmark.reports._shared.content import file_name
from draftmark.results import Result, Results

_TARGET, _DRAFT = "target-grades.parquet", "draft-alone-grades.parquet"
_NOT_SCORES = ("arm", "example_id", "num_tokens", "text")


def lm_eval(results: Results, directory: Path) -> dict[str, str]:
    """Return the files of every model, in lm_eval/; raises UserError without acceptance tables."""
    counted = stored_counts(results, directory)
    files = {}
    ordered = sorted(results.results, key=_model)
    for model, cells in groupby(ordered, key=_model):
        rows = list(cells)
        folder = f"lm_eval/{file_name('__'.join(map(str, model)))}"
        document = json.dumps(_document(results, model, rows), indent=1)
        files[f"{folder}/results.json"] = document + "\n"
        for row in rows:
            if lines := list(_samples(row, directory, counted)):
                file = f"{folder}/samples_{file_name(row.cell.task)}.jsonl"
                files[file] = "\n".join(lines) + "\n"
    return files


def _model(row: Result) -> tuple[str, str, int]:
    return row.cell.pair, row.cell.method, row.cell.seed


def _document(
    results: Results, model: tuple[str, str, int], rows: Sequence[Result]
) -> dict[str, Any]:
    pair, method, seed = model
    data = {item["task"]: item for item in results.data if item["pair"] == pair}
    scored = [row for row in rows if not row.failure]
    tested = {r.cell.task: max((n.n for n in r.numbers.values()), default=0) for r in scored}
    shots = results.recipe.get("prompting", {}).get("shots", 0)
    git = results.manifest.get("git") or {}
    return {
        "results": {row.cell.task: _scores(row) for row in scored},
        "failed": {row.cell.task: row.failure for row in rows if row.failure},
        "configs": {row.cell.task: {"task": row.cell.task} for row in rows},
        "versions": {task: item["task_version"] for task, item in data.items()},
        "n-shot": {row.cell.task: shots for row in rows},
        "n-samples": {task: {"original": n, "effective": n} for task, n in tested.items()},
        "config": {
            "model": "draftmark",
            "model_args": {"pair": pair, "method": method},
            "random_seed": seed,
            "recipe": results.name,
        },
        "git_hash": git.get("commit"),
    }


def _scores(row: Result) -> dict[str, Any]:
    scores: dict[str, Any] = {"alias": row.cell.task}
    for key, number in row.numbers.items():
        metric, _, rest = key.partition("[")
        condition = rest.removesuffix("]").replace(",", " ") or "none"
        low, high = number.low, number.high
        error = "N/A" if low is None or high is None else (high - low) / 2 / 1.96
        scores[f"{metric},{condition}"] = number.value
        scores[f"{metric}_stderr,{condition}"] = error
    return scores


def _samples(row: Result, directory: Path, counted: Sequence[StoredCounts]) -> Iterator[str]:
    """Yield a JSON line per prompt; nothing if the cell failed or its responses were not kept."""
    path = directory / row.records / _TARGET
    if row.failure or not path.is_file():
        return
    targets = stored_rows(row, directory, _TARGET)
    if "text" not in targets[0]:
        return  # a run that published counts gave back has no texts
    drafts = stored_rows(row, directory, _DRAFT) if (path.parent / _DRAFT).is_file() else []
    alone = {each["example_id"]: {"resp": each.get("text"), **_scores_of(each)} for each in drafts}
    of_cell = [item for item in counted if item.contender == row.cell.contender]
    for number, item in enumerate(targets):
        name = item["example_id"]
        scores = _scores_of(item)
        yield json.dumps(
            {
                "doc_id": number,
                "doc": {"id": name},
                "target": None,  # results keep no gold answers
                "resps": [[item.get("text")]],
                "filtered_resps": [item.get("text")],
                "filter": "none",
                "metrics": list(scores),
                **scores,
                "draft_alone": alone.get(name),
                "counts": {
                    f"t={it.temperature:g}": _counts(it, row.cell.seed, name) for it in of_cell
                },
            }
        )


def _scores_of(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in _NOT_SCORES}


def _counts(item: StoredCounts, seed: int, prompt: str) -> dict[str, float] | None:
    if prompt not in item.prompts or seed not in item.seeds:
        return None
    place = item.prompts.index(prompt)
    return {name: item.seeds[seed][name][place] for name in COLUMNS}


REPORT = lm_eval
