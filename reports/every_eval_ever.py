"""Results in the schema of Every Eval Ever, a file for each pair, method and seed.

https://github.com/evaleval/every_eval_ever, eval.schema.json 0.3.0, in its folders
`data/<benchmark>/<developer>/<model>/<id>.json`. The model is the target with the draft.
"""

# In short: Results in the schema of Every Eval Ever.

import hashlib
import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from draftmark.analysis.quantities import GAMMAS, rate_bounds
from draftmark.analysis.titles import key_title
from draftmark.reports._shared.content import file_name
from draftmark.reports._shared.rows import conditions_of, group_by, temperatures_of
from draftmark.results import Number, Result, Results

SCHEMA = "0.3.0"
FOLDER = "every_eval_ever"
_RATES = (
    *("block_efficiency", "acceptance_rate", "draft_acceptance_rate", "accepted_per_pass"),
    *("expected_acceptance_rate", "top1_agreement", "mean_acceptance_length"),
)
_LENGTHS = tuple(GAMMAS)[:8]


def every_eval_ever(results: Results, directory: Path) -> dict[str, str]:
    """Return the files."""
    done = [row for row in results.results if not row.failure and row.numbers]
    drafts = group_by(done, lambda row: (row.cell.pair, row.cell.method, row.cell.seed))
    return dict(_file(results, rows) for rows in drafts.values())


def _file(results: Results, rows: Sequence[Result]) -> tuple[str, str]:
    cell = rows[0].cell
    document = _document(results, rows)
    developer, _, model = document["model_info"]["id"].partition("/")
    draft = file_name(f"{model or developer}__{cell.method}__{cell.seed}")
    place = f"data/draftmark/{file_name(developer)}/{draft}"
    # The schema wants random ids; a hash makes the same results the same file.
    digest = hashlib.sha256(json.dumps(document).encode()).digest()
    name = uuid.UUID(bytes=digest[:16], version=4)
    return f"{FOLDER}/{place}/{name}.json", json.dumps(document, indent=1) + "\n"


def _document(results: Results, rows: Sequence[Result]) -> dict[str, Any]:
    cell, at = rows[0].cell, _timestamp(results)
    target = next((str(it["target"]) for it in results.data if it["pair"] == cell.pair), cell.pair)
    version = results.manifest["versions"].get("draftmark") or "unknown"
    git = results.manifest.get("git") or {}
    details = {"commit": str(git["commit"])} if git.get("commit") else {}
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"draftmark/{target}/{results.name}/{cell.method}/{cell.seed}/{at}",
        "retrieved_timestamp": at,
        "source_metadata": {
            "source_name": results.title,
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "draftmark", "version": version, "additional_details": details},
        "model_info": {
            "name": f"{target} with the draft {cell.method}",
            "id": target,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "draft": cell.method,
                "seed": str(cell.seed),
            },
        },
        "evaluation_results": [item for row in rows for item in _results(row, results)],
    }


def _timestamp(results: Results) -> str:
    """Return the seconds since 1970 of the commit that the run was made with; "0" without one."""
    date = results.commit.get("date")
    return str(int(datetime.fromisoformat(date).astimezone(UTC).timestamp())) if date else "0"


def _results(row: Result, results: Results) -> Iterator[dict[str, Any]]:
    facts = {(item["task"], item["pair"]): item for item in results.data}
    for key, number in row.numbers.items():
        name, _, rest = key.removesuffix("]").partition("[")
        terms = conditions_of(rest)
        if name not in _RATES or int(terms.get("gamma", 1)) not in _LENGTHS:
            continue
        yield {
            "evaluation_result_id": f"{row.cell.task}/{key}",
            "evaluation_name": row.cell.task,
            "source_data": _source(row, facts.get((row.cell.task, row.cell.pair), {})),
            "metric_config": _metric(name, key, terms, number),
            "score_details": {"score": number.value, **_uncertainty(number)},
            "generation_config": {
                "generation_args": {
                    "temperature": float(terms.get("t", temperatures_of(results)[0]))
                },
                "additional_details": {name: str(value) for name, value in terms.items()},
            },
        }


def _source(row: Result, facts: Mapping[str, Any]) -> dict[str, Any]:
    source = str(facts["source"]["test"]) if facts else "unknown"
    kind, _, place = source.partition(" ")
    details = {"rows": source, "digest": str(facts["digest"]["test"])} if facts else {}
    if kind == "hub" and place:
        return {
            "dataset_name": row.cell.task,
            "source_type": "hf_dataset",
            "hf_repo": place.partition("@")[0],
            "hf_split": "test",
            "samples_number": facts["rows"]["test"],
            "additional_details": details,
        }
    return {"dataset_name": row.cell.task, "source_type": "other", "additional_details": details}


def _metric(name: str, key: str, terms: Mapping[str, str], number: Number) -> dict[str, Any]:
    low, high = rate_bounds(name, int(terms.get("gamma", 16)))
    return {
        "evaluation_description": number.definition,
        "metric_id": f"draftmark.{name}",
        "metric_name": key_title(key),
        "metric_kind": name,
        "metric_unit": "proportion" if (low, high) == (0, 1) else "tokens per pass",
        "metric_parameters": {term: _parameter(value) for term, value in terms.items()},
        "lower_is_better": False,
        "score_type": "continuous",
        "min_score": low,
        "max_score": high if math.isfinite(high) else "Infinity",
    }


def _parameter(value: str) -> float | int | str:
    """Return a condition's value: a number where it reads as one, such as a block length."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(value)
    return value


def _uncertainty(number: Number) -> dict[str, Any]:
    if number.low is None or number.high is None:
        return {}
    interval = {
        "lower": number.low,
        "upper": number.high,
        "confidence_level": 0.95,
        "method": "over prompts, see evaluation_description",
    }
    return {"uncertainty": {"confidence_interval": interval, "num_samples": number.n}}


REPORT = every_eval_ever
