"""The page of a cell, as data: headline numbers, all numbers, ledger, stages, examples."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from draftmark.analysis import validation_history
from draftmark.analysis.titles import quantity_title, terms_title
from draftmark.reports._shared.content import TableNumber
from draftmark.reports._shared.rows import LEDGER_COUNTS
from draftmark.reports._site.charts import best_costs, cell_charts
from draftmark.reports._site.pages import SiteRun, slug
from draftmark.reports._site.render import Paragraphs
from draftmark.results import Number, Result
from draftmark.store.examples import Example, read_examples
from draftmark.text import printable_paragraphs, printable_text

LONGEST_PROMPT, LONGEST_SETTINGS = 6000, 200_000  # characters
Texts = Iterator[dict[str, Any]]
_STORED = ("stage", "key", "settings", "inputs", "files", "manifest")


def cell_values(run: SiteRun, row: Result) -> dict[str, Any]:
    """Return the template values of a cell's page."""
    stages = row.provenance.get("entries", ())
    stored = [{name: entry.get(name) for name in _STORED} for entry in stages]
    manifests = [json.dumps(entry.get("manifest")) for entry in stages]
    for place, entry in enumerate(stored):
        if manifests[place] in manifests[:place]:
            entry["manifest"] = f"that of stage {manifests.index(manifests[place]) + 1}"
    return {
        "run": run,
        "row": row,
        "cell": row.cell,
        "payload": {
            "charts": list(cell_charts(run, row)),
            "numbers": [_number(key, number) for key, number in row.numbers.items()],
            "examples": list(example_texts(run, row)),
        },
        "headline": [
            (column.heading, TableNumber(key, row.numbers[key], column.decimals))
            for column in run.columns
            if (key := column.key(run.gamma)) in row.numbers
        ],
        "ledger": list(_ledger(row)),
        "nothing_learned": validation_history.learned_nothing(row.history),
        "costs": best_costs(run, row),
        "stages": [_stage(entry) for entry in stages],
        "settings": Paragraphs(
            printable_paragraphs(json.dumps(stored, indent=1), LONGEST_SETTINGS)
        ),
    }


def _number(key: str, number: Number) -> list[Any]:
    """Return a row of the table of all numbers: quantity, anchor, condition, value, interval, n."""
    quantity, _, rest = key.partition("[")
    words = quantity_title(key), terms_title(rest.removesuffix("]"))
    name, condition = (printable_text(text, 200) for text in words)
    values = [None if v is None else round(v, 5) for v in (number.value, number.low, number.high)]
    return [name, slug(quantity), condition, *values, number.n]


def _ledger(row: Result) -> Iterator[tuple[str, str]]:
    if not row.ledger:
        return
    for name, title in LEDGER_COUNTS.items():
        yield title, f"{getattr(row.ledger, name):,}"
    yield "FLOPs (estimate)", f"{row.ledger.flops:.3g}"
    yield "seconds", f"{row.ledger.train_s:.1f}"
    yield "peak memory of the process so far", f"{row.ledger.peak_bytes / 1e9:.2f} GB"
    if row.history:
        yield (
            "step of the checkpoint kept",
            f"{validation_history.kept_point(row.history)['step']:.0f}",
        )


def _stage(entry: Mapping[str, Any]) -> dict[str, str]:
    manifest = entry.get("manifest") or {}
    git, hardware = manifest.get("git") or {}, manifest.get("hardware") or {}
    return {
        "stage": entry["stage"],
        "label": entry["label"],
        "key": entry["key"][:12],
        "seconds": f"{entry.get('seconds') or 0:.1f}",
        "commit": f"{git.get('commit', '')[:12]}{' with changes' if git.get('dirty') else ''}",
        "machine": f"{hardware.get('processor', '')}, {hardware.get('cores', '?')} cores",
    }


def example_texts(run: SiteRun, row: Result) -> Texts:
    """Yield a cell's example prompts and responses with a mark for each token."""
    for temperature in run.temperatures if row.records else ():
        for item in read_examples(run.directory / row.records, temperature, run.gamma):
            marks = block_marks(item) if temperature == 0 else acceptance_marks(item)
            yield {
                "id": printable_text(item.example_id, 200),
                "temperature": temperature,
                "prompt": printable_paragraphs(item.prompt, LONGEST_PROMPT),
                "pieces": [printable_paragraphs(piece, 200) for piece in item.pieces],
                "marks": marks[: len(item.pieces)],
            }


def block_marks(item: Example) -> str:
    """Return a letter for each token at temperature 0, where acceptance is 0 or 1.

    a: accepted draft token; r: target's token after a rejection; b: bonus token after a fully
    accepted block; n: target's token where nothing was drafted. A block starts with a capital.
    """
    marks = ""
    while len(marks) < len(item.accept):
        chain = item.accept[len(marks)]
        accepted = next((j for j, accept in enumerate(chain) if accept < 0.5), len(chain))
        last = "n" if not chain else "b" if accepted == len(chain) else "r"
        block = "a" * accepted + last
        marks += block[0].upper() + block[1:]
    return marks[: len(item.accept)]


def acceptance_marks(item: Example) -> str:
    """Return a digit per token: its acceptance at position 1 in tenths, 0 to 9; n: no draft."""
    return "".join(f"{min(int(10 * chain[0]), 9)}" if chain else "n" for chain in item.accept)
