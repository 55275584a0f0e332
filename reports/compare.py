"""Two runs, compared: what they do not share first, then the paired difference of every rate."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from draftmark.analysis.gate.comparable import by_weight, differing
from draftmark.analysis.significance import PairedTest, holm, t_test
from draftmark.analysis.statistics import mean_ratio
from draftmark.analysis.stored_counts import Measured, measured, paired, shared
from draftmark.errors import UserError
from draftmark.reports._shared.markdown import escape, show, table, three
from draftmark.results import Number, Results

RATES = ("acceptance_rate", "block_efficiency")
LEVEL = 0.05
SHOWN = 30  # of the facts that differ; compare.json has all
_HOW = """\
B - A on the prompts that both have, by the prompts' names; 95 % t intervals over prompts, and over
seeds where there are several (paired where both runs have the same). p after Holm over the table's
comparisons, at 5 %. Detectable: the smallest difference that 8 in 10 experiments of this size
find."""


@dataclass(frozen=True)
class Compare:
    """The report, with the run that others are compared with: A."""

    before: Results | None = None
    folder: Path | None = None

    def __call__(self, results: Results, directory: Path) -> dict[str, str]:
        """Return compare.md and compare.json, of `results` as B.

        Raises UserError if there is no A, or if acceptance tables are missing.
        """
        if self.before is None or self.folder is None:
            raise UserError("A comparison needs two runs; use draftmark compare A B.")
        gamma = results.recipe["evaluation"]["num_speculative_tokens"]
        sides = measured(self.before, self.folder, gamma), measured(results, directory, gamma)
        found = list(_compared(*sides))
        differs = by_weight(differing(self.before, results))
        document = {
            "a": self.before.name,
            "b": results.name,
            "gamma": gamma,
            "differing": [asdict(item) for item in differs],
            "comparisons": found,
        }
        text = [
            f"# {escape(results.title)} (B) against {escape(self.before.title)} (A)",
            "## What the runs do not share",
            _facts([str(item) for item in differs]),
            "## Paired differences",
            _table(found, gamma),
            *(f"- {escape(line)}" for line in _lacking((self.before, results), sides)),
        ]
        return {
            "compare.md": "\n\n".join(text) + "\n",
            "compare.json": json.dumps(document, indent=1) + "\n",
        }


def _compared(before: Sequence[Measured], now: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """Yield each comparison's numbers, p adjusted for their number."""
    earlier = {(item.contender, item.temperature): item for item in before}
    found: list[tuple[dict[str, Any], PairedTest]] = []
    for item in now:
        other = earlier.get((item.contender, item.temperature))
        prompts = shared(item, other) if other else []
        if other is None or len(prompts) < 2:
            continue
        for rate in RATES:
            sides = item.counts(rate, prompts) + other.counts(rate, prompts)
            if all(bottom_B.sum() for _, bottom_B in sides):
                found.append(_comparison(item, other, rate, prompts))
    adjusted = holm([test.p_value for _, test in found])
    for (facts_of, test), p in zip(found, adjusted, strict=True):
        value = facts_of["difference"]["value"]
        verdict = "no difference found"
        if p < LEVEL and value:
            verdict = "B is higher" if value > 0 else "B is lower"
        yield {**facts_of, "p": p, "detectable": test.detectable, "verdict": verdict}


def _comparison(
    now: Measured, before: Measured, rate: str, prompts: Sequence[str]
) -> tuple[dict[str, Any], PairedTest]:
    found = paired(now, before, rate, prompts)
    number = found.number(f"{rate}, B - A, paired on prompts")
    values = [mean_ratio(side.counts(rate, prompts)) for side in (before, now)]
    told = {"name": now.name, "quantity": rate, "a": values[0], "b": values[1]}
    return {**told, "difference": asdict(number)}, t_test(found)


def _facts(found: Sequence[str]) -> str:
    if not found:
        return "Nothing: recipe, rows, target, versions and hardware are the same."
    lines = [f"- {escape(item)}" for item in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"- {len(found) - SHOWN} more, in compare.json")
    return "A's value first; what matters most comes first.\n\n" + "\n".join(lines)


def _table(found: Sequence[Mapping[str, Any]], gamma: int) -> str:
    if not found:
        return "The runs share no contender with two prompts or more: nothing can be paired."
    body = [
        [
            escape(item["name"]),
            escape(item["quantity"]),
            three(item["a"]),
            three(item["b"]),
            show(Number(**item["difference"]), three),
            "&lt; 0.001" if item["p"] < 0.001 else three(item["p"]),
            three(item["detectable"]),
            item["verdict"],
        ]
        for item in found
    ]
    header = ["", "rate", "A", "B", "B - A", "p", "detectable", "verdict"]
    note = f"Blocks of {gamma} drafted tokens. {_HOW}"
    return f"{note}\n\n" + table(header, body, "llrrrrrl")


def _lacking(runs: Sequence[Results], sides: Sequence[Sequence[Measured]]) -> Iterator[str]:
    """Yield what cannot be compared, and why."""
    names = [dict.fromkeys(item.name for item in side) for side in sides]
    for which, own, other in (("A", *names), ("B", *reversed(names))):
        if only := [name for name in own if name not in other]:
            yield f"Only {which} has numbers of: {', '.join(only)}."
    for which, run in zip("AB", runs, strict=True):
        for row in run.results:
            if row.failure:
                cell = row.cell
                where = f"{cell.task}/{cell.pair}/{cell.method}, seed {cell.seed}"
                yield f"{which} failed: {where}: {row.failure}"
    if any(len(item.seeds) == 1 for side in sides for item in side):
        yield "One seed says nothing of how far another training of a method would land."


REPORT = Compare()
