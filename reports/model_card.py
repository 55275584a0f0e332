"""A draft's model card: metadata of the hub, and acceptance by use case and block length.

The tables have the layout of RedHatAI's cards of speculators: a row for each use case (a task), a
column for each number of drafted tokens k. Each pair and method has a card.
"""

# In short: A draft's model card: acceptance by use case and block length.

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from draftmark.analysis.quantities import DEFINITIONS, quantity_key
from draftmark.reports._shared.content import (
    escape_markdown,
    file_name,
    markdown_table,
    number_text,
)
from draftmark.reports._shared.rows import (
    gamma_of,
    group_by,
    numbers_of,
    row_name,
    temperatures_of,
    way_in_words,
    ways_of_drafting,
)
from draftmark.results import Result, Results

LENGTHS = range(1, 8)
FOLDER = "model_cards"


def model_card(results: Results, directory: Path) -> dict[str, str]:
    """Return a card for each pair and method that has numbers."""
    done = [row for row in results.results if not row.failure]
    drafts = group_by(done, lambda row: (row.cell.pair, row.cell.method))
    return {
        f"{FOLDER}/{file_name(f'{pair}__{method}')}/README.md": _card(method, rows, results)
        for (pair, method), rows in drafts.items()
    }


def _card(method: str, rows: Sequence[Result], results: Results) -> str:
    target = _target(rows[0], results)
    parts = [
        _metadata(target, rows),
        f"# {escape_markdown(method)} for {escape_markdown(target)}",
        "A draft for speculative decoding, measured by draftmark"
        f"{_commit(results)}: {escape_markdown(results.title)}.",
        "## Use cases",
        _use_cases(rows, results),
        *_tables(rows, results),
        "## What the numbers mean",
        _definition(rows, results),
    ]
    return "\n\n".join(parts) + "\n"


def _target(row: Result, results: Results) -> str:
    return next((str(it["target"]) for it in results.data if it["pair"] == row.cell.pair), "")


def _metadata(target: str, rows: Sequence[Result]) -> str:
    """Return the front matter; JSON strings are YAML."""
    lines = [
        *(["base_model:", f"- {json.dumps(target)}"] if "/" in target else []),
        "tags:",
        *(f"- {tag}" for tag in ("speculative-decoding", "draft-model", "draftmark")),
        "metrics:",
        "- acceptance_length",
    ]
    return "\n".join(["---", *lines, "---"])


def _commit(results: Results) -> str:
    commit = (results.manifest.get("git") or {}).get("commit", "")
    return f" at commit {commit[:12]}" if commit else ""


def _use_cases(rows: Sequence[Result], results: Results) -> str:
    facts = {(item["task"], item["pair"]): item for item in results.data}
    body = []
    for task, own in group_by(rows, lambda row: row.cell.task).items():
        item = facts.get((task, own[0].cell.pair))
        source = item["source"]["test"] if item else "-"
        count = str(item["rows"]["test"]) if item else "-"
        body.append([escape_markdown(task), escape_markdown(source), count])
    return markdown_table(["use case", "data", "prompts"], body, "llr")


def _tables(rows: Sequence[Result], results: Results) -> Iterator[str]:
    """Yield a heading and a table of acceptance lengths for each temperature."""
    for temperature in temperatures_of(results):
        ways = ways_of_drafting([results], temperature)
        for draft in ways:
            lengths = [k for k in LENGTHS if _has(rows, _key(temperature, k, draft))]
            if not lengths:
                continue
            keys = [_key(temperature, k, draft) for k in lengths]
            body = [
                [escape_markdown(task), *(_value(own, results, key) for key in keys)]
                for task, own in group_by(rows, lambda row: row.cell.task).items()
            ]
            how = way_in_words(draft, ways)
            yield f"## Acceptance lengths, temperature {temperature:g}{how}"
            yield markdown_table(["use case", *(f"k={k}" for k in lengths)], body)


def _key(temperature: float, k: int, draft: str | None) -> str:
    return quantity_key("block_efficiency", temperature, k, draft=draft)


def _has(rows: Sequence[Result], key: str) -> bool:
    return any(key in row.numbers for row in rows)


def _value(rows: Sequence[Result], results: Results, key: str) -> str:
    return number_text((numbers_of(rows, results) or {}).get(key), 2)


def _definition(rows: Sequence[Result], results: Results) -> str:
    key = _key(temperatures_of(results)[0], gamma_of(results), None)
    known = (row.numbers[key].definition for row in rows if key in row.numbers)
    text = next(known, DEFINITIONS["block_efficiency"])
    seeds = len({row_name(row.cell, rows).text for row in rows})
    return (
        f"Acceptance length (block efficiency, tau): {escape_markdown(text)}. Pooled: all tokens / "
        "all passes of the prompts of a use case. Brackets: 95% intervals over prompts. "
        f"Trainings: {seeds}. vLLM's mean acceptance length, 1 + accepted / drafts, also has what "
        "it accepts beyond the end of a text."
    )


REPORT = model_card
