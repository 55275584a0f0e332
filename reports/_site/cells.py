"""What a cell's page says, as data: headline numbers, all numbers, ledger, stages, examples."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from draftmark.analysis import validation_history
from draftmark.reports._shared.sections import Shown, three, two
from draftmark.reports._site.charts import best_costs, cell_charts
from draftmark.reports._site.pages import Run, key, slug
from draftmark.reports._site.render import Ready
from draftmark.results import Number, Result
from draftmark.store.examples import Example, read_examples
from draftmark.text import paragraphs, plain

LONGEST_PROMPT = 6000
_LEDGER = {
    "steps": "steps",
    "rows": "rows",
    "supervised_tokens": "supervised tokens",
    "generated_tokens": "of these the draft's own",
    "target_forward_tokens": "target forward tokens",
    "reference_forward_tokens": "reference forward tokens",
}


def page(run: Run, row: Result) -> dict[str, Any]:
    """Return what the template of a cell is filled with."""
    payload = {
        "charts": list(cell_charts(run, row)),
        "numbers": [_number(name, number) for name, number in row.numbers.items()],
        "examples": list(_examples(run, row)),
    }
    return {
        "run": run,
        "row": row,
        "cell": row.cell,
        "payload": payload,
        "headline": list(_headline(run, row)),
        "ledger": list(_ledger(row)),
        "nothing_learned": validation_history.learned_nothing(row.history),
        "costs": best_costs(run, row),
        "stages": [_stage(entry) for entry in row.provenance.get("entries", ())],
        "settings": Ready(_settings(row)),
    }


def _headline(run: Run, row: Result) -> Iterator[tuple[str, Shown]]:
    wanted: dict[str, tuple[str, Any]] = {}
    for t in run.temperatures:
        wanted[f"acceptance rate, T={t:g}"] = key("acceptance_rate", t, run.gamma), three
        wanted[f"block efficiency, T={t:g}"] = key("block_efficiency", t, run.gamma), two
    wanted |= {
        "speedup": ("speedup", two),
        "quality with draft": ("quality_with_draft", three),
        "quality of draft alone": ("quality_draft", three),
    }
    for title, (name, form) in wanted.items():
        if name in row.numbers:
            yield title, Shown(name, row.numbers[name], form)


def _number(name: str, number: Number) -> list[Any]:
    """Return a row of the table of all numbers; its definition is found by the first column."""
    quantity, _, rest = name.partition("[")
    where = plain(rest.removesuffix("]").replace(",", ", "), 200)
    return [plain(quantity, 200), slug(quantity), where, *_values(number)]


def _values(number: Number) -> list[float | int | None]:
    bounds = (None if bound is None else round(bound, 5) for bound in (number.low, number.high))
    return [round(number.value, 5), *bounds, number.n]


def _ledger(row: Result) -> Iterator[tuple[str, str]]:
    if not row.ledger:
        return
    told = asdict(row.ledger)
    for name, title in _LEDGER.items():
        yield title, f"{told[name]:,}"
    yield "FLOPs (estimate)", f"{row.ledger.flops:.3g}"
    yield "seconds", f"{row.ledger.train_s:.1f}"
    yield "peak memory of the process so far", f"{row.ledger.peak_bytes / 1e9:.2f} GB"
    if row.history:
        yield "step of the checkpoint kept", f"{validation_history.kept(row.history)['step']:.0f}"


def _stage(entry: Mapping[str, Any]) -> dict[str, str]:
    made = entry.get("manifest") or {}
    git, hardware = made.get("git") or {}, made.get("hardware") or {}
    return {
        "stage": entry["stage"],
        "label": entry["label"],
        "key": entry["key"][:12],
        "seconds": f"{entry.get('seconds') or 0:.1f}",
        "commit": f"{git.get('commit', '')[:12]}{' with changes' if git.get('dirty') else ''}",
        "machine": f"{hardware.get('processor', '')}, {hardware.get('cores', '?')} cores",
    }


def _settings(row: Result) -> str:
    """Return settings, inputs and files of every stage as JSON."""
    names = ("stage", "key", "settings", "inputs", "files", "manifest")
    entries = [
        {name: entry.get(name) for name in names} for entry in row.provenance.get("entries", ())
    ]
    return paragraphs(json.dumps(entries, indent=1), 200_000)


def _examples(run: Run, row: Result) -> Iterator[dict[str, Any]]:
    folder = run.directory / row.records if row.records else None
    for temperature in run.temperatures if folder else ():
        for item in read_examples(Path(str(folder)), temperature, run.gamma):
            marks = walked(item) if temperature == 0 else shaded(item)
            yield {
                "id": plain(item.example_id, 200),
                "temperature": temperature,
                "prompt": paragraphs(item.prompt, LONGEST_PROMPT),
                "pieces": [paragraphs(piece, 200) for piece in item.pieces],
                "marks": marks[: len(item.pieces)],
            }


def walked(item: Example) -> str:
    """Return what became of each token where all is certain, at temperature 0.

    a: drafted and accepted; r: the target's own, where the draft was rejected; b: the target's own
    after a block that was accepted whole; n: nothing was drafted. A block's first is a capital.
    """
    marks = ""
    while len(marks) < len(item.accept):
        chain = item.accept[len(marks)]
        taken = next((j for j, accept in enumerate(chain) if accept < 0.5), len(chain))
        own = "n" if not chain else "b" if taken == len(chain) else "r"
        block = "a" * taken + own
        marks += block[0].upper() + block[1:]
    return marks[: len(item.accept)]


def shaded(item: Example) -> str:
    """Return how likely each token is to be accepted as a block's first, in tenths, 0 to 9."""
    return "".join(f"{min(int(10 * chain[0]), 9)}" if chain else "n" for chain in item.accept)
