"""Comparison of two runs: the facts that differ, then the paired difference of each rate."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from draftmark.analysis.gate.comparable import by_weight, run_differences
from draftmark.analysis.significance import PairedTest, holm_adjusted, t_test
from draftmark.analysis.statistics import mean_ratio
from draftmark.analysis.stored_counts import (
    StoredCounts,
    paired_effect,
    shared_prompts,
    stored_counts,
)
from draftmark.analysis.text_artefacts import artefact_warnings
from draftmark.errors import UserError
from draftmark.reports._shared.content import escape_markdown, markdown_table, number_text
from draftmark.reports._shared.rows import ONE_SEED, gamma_of
from draftmark.results import Number, Results

RATES = ("acceptance_rate", "block_efficiency")
LEVEL = 0.05
SHOWN = 30  # differences in compare.md; compare.json has all
_HOW = """\
B - A on the prompts of both runs, matched by name. 95 % t intervals over prompts, and over seeds if
there are several (paired if both runs have the same seeds). p: adjusted by Holm over the
comparisons of this table; significant below 5 %. Detectable: the difference that 8 in 10
experiments of this size detect."""


@dataclass(frozen=True)
class Compare:
    """The report; `before` is run A, `folder` its folder."""

    before: Results | None = None
    folder: Path | None = None

    def __call__(self, results: Results, directory: Path) -> dict[str, str]:
        """Return compare.md and compare.json, with `results` as run B.

        Raises UserError if run A is not set, or if acceptance tables are missing.
        """
        if self.before is None or self.folder is None:
            raise UserError("A comparison needs two runs; use draftmark compare A B.")
        gamma = gamma_of(results)
        sides = (
            stored_counts(self.before, self.folder, gamma),
            stored_counts(results, directory, gamma),
        )
        found = list(_compared(*sides))
        differs = by_weight(run_differences(self.before, results))
        document = {
            "a": self.before.name,
            "b": results.name,
            "gamma": gamma,
            "differing": [asdict(item) for item in differs],
            "comparisons": found,
        }
        text = [
            f"# {escape_markdown(results.title)} (B) against "
            f"{escape_markdown(self.before.title)} (A)",
            "## What differs between the runs",
            _differing([str(item) for item in differs]),
            "## Paired differences",
            _table(found, gamma),
            *(f"- {escape_markdown(line)}" for line in _limits((self.before, results), sides)),
        ]
        return {
            "compare.md": "\n\n".join(text) + "\n",
            "compare.json": json.dumps(document, indent=1) + "\n",
        }


def _compared(
    before: Sequence[StoredCounts], now: Sequence[StoredCounts]
) -> Iterator[dict[str, Any]]:
    """Yield the comparisons, with p values adjusted by Holm."""
    earlier = {(item.contender, item.temperature): item for item in before}
    found: list[tuple[dict[str, Any], PairedTest]] = []
    for item in now:
        other = earlier.get((item.contender, item.temperature))
        if other is None or len(prompts := shared_prompts(item, other)) < 2:
            continue
        for rate in RATES:
            counts = item.counts(rate, prompts) + other.counts(rate, prompts)
            if all(bottom_B.sum() for _, bottom_B in counts):
                found.append(_comparison(item, other, rate, prompts))
    adjusted = holm_adjusted([test.p_value for _, test in found])
    for (comparison, test), p in zip(found, adjusted, strict=True):
        value = comparison["difference"]["value"]
        verdict = "no difference found"
        if p < LEVEL and value:
            verdict = "B is higher" if value > 0 else "B is lower"
        yield {**comparison, "p": p, "detectable": test.detectable, "verdict": verdict}


def _comparison(
    now: StoredCounts, before: StoredCounts, rate: str, prompts: Sequence[str]
) -> tuple[dict[str, Any], PairedTest]:
    effect = paired_effect(now, before, rate, prompts)
    number = effect.number(f"{rate}, B - A, paired on prompts")
    a, b = (mean_ratio(side.counts(rate, prompts)) for side in (before, now))
    values = {"name": now.name, "quantity": rate, "a": a, "b": b}
    return {**values, "difference": asdict(number)}, t_test(effect)


def _differing(found: Sequence[str]) -> str:
    if not found:
        return (
            "Nothing of what both runs recorded: recipe, rows, target, weights of drafts, code of "
            "methods, versions and hardware are the same."
        )
    lines = [f"- {escape_markdown(item)}" for item in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"- {len(found) - SHOWN} more, in compare.json")
    return "A's value first; the most important differences first.\n\n" + "\n".join(lines)


def _table(found: Sequence[Mapping[str, Any]], gamma: int) -> str:
    if not found:
        return "No method has two prompts or more in both runs: nothing can be paired."
    body = [
        [
            escape_markdown(item["name"]),
            escape_markdown(item["quantity"]),
            f"{item['a']:.3f}",
            f"{item['b']:.3f}",
            number_text(Number(**item["difference"]), parts="all"),
            "&lt; 0.001" if item["p"] < 0.001 else f"{item['p']:.3f}",
            f"{item['detectable']:.3f}",
            item["verdict"],
        ]
        for item in found
    ]
    header = ["", "rate", "A", "B", "B - A", "p", "detectable", "verdict"]
    return f"Blocks of {gamma} drafted tokens. {_HOW}\n\n" + markdown_table(
        header, body, "llrrrrrl"
    )


def _limits(runs: Sequence[Results], sides: Sequence[Sequence[StoredCounts]]) -> Iterator[str]:
    """Yield what could not be compared, and why."""
    names = [dict.fromkeys(item.name for item in side) for side in sides]
    for which, these, others in (("A", *names), ("B", *reversed(names))):
        if only := [name for name in these if name not in others]:
            yield f"Only {which} has numbers for: {', '.join(only)}."
    for which, run in zip("AB", runs, strict=True):
        yield from (f"{which}: {text}." for text in artefact_warnings(run))
        for row in run.results:
            if row.failure:
                cell = row.cell
                where = f"{cell.task}/{cell.pair}/{cell.method}, seed {cell.seed}"
                yield f"{which} failed: {where}: {row.failure}"
    if any(len(item.seeds) == 1 for side in sides for item in side):
        yield ONE_SEED


REPORT = Compare()
