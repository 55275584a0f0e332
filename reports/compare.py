"""Comparison of two runs: the facts that differ, then the paired difference of each rate."""

# In short: Comparison of two runs: facts that differ, paired differences.

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from draftmark.analysis.gate.comparable import Difference, by_weight, run_differences
from draftmark.analysis.significance import LEVEL, PairedTest, t_test
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
from draftmark.text import counted

RATES = ("acceptance_rate", "block_efficiency")
SHOWN = 30  # differences in compare.md; compare.json has all
_HOW = """\
B - A on the prompts of both runs, matched by name. Intervals over prompts, and over seeds if there
are several (paired if both runs have the same seeds), cover together with 95% (Bonferroni over the
comparisons of this table); so a verdict is an interval without 0. p is adjusted for the same
number. Detectable: the difference that 8 in 10 experiments of this size detect, alone."""


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
            escape_markdown(_answer(found)),
            "## What differs between the runs",
            _differing(list(map(_in_words, differs))),
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
    """Yield the comparisons, with intervals and p values adjusted for their number."""
    earlier = {(item.contender, item.temperature): item for item in before}
    tests: list[tuple[dict[str, Any], PairedTest]] = []
    for item in now:
        other = earlier.get((item.contender, item.temperature))
        if other is None or len(prompts := shared_prompts(item, other)) < 2:
            continue
        for rate in RATES:
            counts = item.counts(rate, prompts) + other.counts(rate, prompts)
            if all(bottom_B.sum() for _, bottom_B in counts):
                tests.append(_test(item, other, rate, prompts))
    for values, test in tests:
        number = test.number(f"{values['quantity']}, B - A, paired on prompts", LEVEL / len(tests))
        verdict = "no difference found"
        if (
            number.low is not None
            and number.high is not None
            and not number.low <= 0 <= number.high
        ):
            verdict = "B is higher" if number.value > 0 else "B is lower"
        yield {
            **values,
            "difference": asdict(number),
            "p": min(1.0, test.p_value * len(tests)),
            "detectable": test.detectable,
            "verdict": verdict,
        }


def _test(
    now: StoredCounts, before: StoredCounts, rate: str, prompts: Sequence[str]
) -> tuple[dict[str, Any], PairedTest]:
    a, b = (mean_ratio(side.counts(rate, prompts)) for side in (before, now))
    values = {"name": now.name, "quantity": rate, "a": a, "b": b}
    return values, t_test(paired_effect(now, before, rate, prompts))


def _answer(found: Sequence[Mapping[str, Any]]) -> str:
    """Return what the comparisons say together, as one sentence."""
    if not found:
        return "Nothing can be compared."
    parts = []
    for verdict in ("B is higher", "B is lower"):
        names = dict.fromkeys(item["name"] for item in found if item["verdict"] == verdict)
        parts += [f"{verdict}: {', '.join(names)}."] if names else []
    if all(item["difference"]["value"] == item["detectable"] == 0 for item in found):
        return "Both runs have the same rates on every prompt."
    if not parts:
        rate = found[0]["quantity"]  # a server may not report what acceptance rates need
        known = [item["detectable"] for item in found if item["quantity"] == rate]
        if None in known:
            return (
                f"No difference was found in {counted(len(found), 'comparison')}, and some have "
                "so few prompts that none could be: compare runs of more prompts."
            )
        widest = max(known)
        name = "an acceptance rate" if rate == RATES[0] else "a block efficiency"
        return (
            f"No difference was found in {counted(len(found), 'comparison')}; {name} that differs "
            f"by {widest:.3f} would mostly have been found."
        )
    return " ".join(parts)


def _in_words(item: Difference) -> str:
    """Return a fact that differs, first as people say it, then by the name to declare it by."""
    words = item.name.rpartition(".")[2].replace("_", " ")
    return f"{words}: {item.values(' -> ')} ({item.name})"


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
            "-" if item["detectable"] is None else f"{item['detectable']:.3f}",
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
    trained = any(run.server is None for run in runs)
    if trained and any(len(item.seeds) == 1 for side in sides for item in side):
        yield ONE_SEED


REPORT = Compare()
