"""Expected speedup, best block length and break-even cost at supposed costs of drafting.

No model runs: block counts come from the acceptance tables, times from the supposed costs.
"""

# In short: Expected speedup at supposed costs of drafting.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from draftmark.analysis.cost_model import (
    FREE,
    Costs,
    break_even_acceptance,
    break_even_cost,
    expected_speedup,
    expected_speedups,
    highest_break_even_cost,
    supposed_costs,
)
from draftmark.reports._figures.what_if import what_if_png
from draftmark.reports._shared.acceptance import ScoredDraft, advice_at, scored_drafts
from draftmark.reports._shared.checks import verdict_alerts
from draftmark.reports._shared.content import (
    Section,
    escape_markdown,
    markdown_table,
    number_text,
    section_markdown,
)
from draftmark.reports._shared.handover import advised, handover_section
from draftmark.reports._shared.recommendation import NOTE, expected_advice
from draftmark.reports._shared.rows import by_task_and_pair, failure_section, gamma_of, served_note
from draftmark.reports._shared.verdict import overall_verdict, shortcomings, verdicts
from draftmark.results import Results

SHOWN = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)  # block lengths in tables

_MODEL = """\
No model ran for this report: acceptance was recorded, and the cost of a drafted token is supposed.
The unit of time is a plain pass of the target. Drafting a token takes c passes (the **cost
ratio**); verifying it adds w passes (the **verification cost**: about 0 where decoding is
memory-bound, more in large batches). A block that drafts d tokens takes 1 + d (c + w), so

    expected speedup = tokens / (passes + drafted (c + w))

for decoding alone, without prefill and engine overhead. Only the sum c + w matters. The **block
length** is the largest number of tokens that a block drafts. **Tau**, the tokens per pass, is the
speedup of a draft without cost. The **break-even cost** is the c + w at which the speedup is 1,
(tokens - passes) / drafted: nearly the share of drafted tokens that are accepted."""

_PAYS = """\
A draft pays at some block length if a drafted token costs less than its highest break-even cost.
If all tokens were accepted with the same probability, that cost would be the acceptance rate, at
block length 1 (Leviathan et al. 2023, corollary 3.9)."""

_NEEDED = """\
Break-even acceptance: the acceptance rate above which blocks of a length pay if every token is
accepted with the same probability (theorem 3.8). The gap to a rate above shows how far a draft is
from paying. Real acceptance is uneven, so each draft's own break-even cost decides."""

_NOT_TIMED = """\
This run has not measured the cost of its drafts. With `cost_model = true` in the recipe's `[speed]`
a run measures it at each of `batch_sizes`, and this section recommends a block length. For a known
cost, `--cost-ratio` and `--verification-cost` show the best block length below."""

Grid = Sequence[Sequence[Costs]]  # a row for each cost ratio, a column for each verification cost


@dataclass(frozen=True)
class WhatIf:
    """The report; costs are in plain passes of the target."""

    cost_ratios: tuple[float, ...] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    verification_costs: tuple[float, ...] = (0.0, 0.01, 0.05)

    def __call__(self, results: Results, directory: Path) -> dict[str, str | bytes]:
        """Return what_if.md, and what_if.png if any cell has numbers.

        Raises UserError for a cost below 0, or if acceptance tables are missing.
        """
        grid = [[supposed_costs(c, w) for w in self.verification_costs] for c in self.cost_ratios]
        found = list(scored_drafts(results, directory))
        verdict = verdicts(results, directory)
        sections = [
            f"# {escape_markdown(results.title)}: what if drafting cost something else",
            escape_markdown(" ".join((overall_verdict(verdict), *shortcomings(results)))),
            _MODEL,
        ]
        sections += [section_markdown(Section("", list(verdict_alerts(results))))]
        sections += served_note(results)
        if found:
            sections += ["## What to serve with", *_serving(results, directory)]
            sections.append(
                handover_section(results, advised(results, directory, verdict, results.results))
            )
            sections += ["![Expected speedup by block length and cost](what_if.png)"]
            sections += ["## Does it pay?", _paying(found, results), _PAYS, _needed(grid), _NEEDED]
        for item in found:
            sections += [
                f"## {escape_markdown(item.title)}",
                _best(item, grid),
                _by_gamma(item, grid),
            ]
        sections += [failure_section(result) for result in results.results if result.failure]
        text = "\n\n".join(section for section in sections if section) + "\n"
        picture = {"what_if.png": what_if_png(found, [row[0] for row in grid])} if found else {}
        return {"what_if.md": text, **picture}


def _serving(results: Results, directory: Path) -> Iterator[str]:
    """Yield the recommendations for each task and pair at the costs that the run measured."""
    found = []
    for task, pair, rows in by_task_and_pair(results.results):
        if advice := expected_advice(rows, results, directory):
            found.append(
                f"{escape_markdown(f'{task}, {pair}')}, at the measured costs:\n\n{advice}"
            )
    yield from [NOTE, *found] if found else [_NOT_TIMED]


def _paying(found: Sequence[ScoredDraft], results: Results) -> str:
    body = []
    for item in found:
        name, rate = escape_markdown(item.title), number_text(item.acceptance)
        if highest := highest_break_even_cost(item.by_gamma):
            body.append([name, rate, number_text(highest[1]), f"{highest[0]}"])
        else:
            body.append([name, rate, "never drafts", "-"])
    header = f"acceptance rate, blocks of {gamma_of(results)}"
    return markdown_table(["draft", header, "highest break-even cost", "at block length"], body)


def _needed(grid: Grid) -> str:
    lengths = [gamma for gamma in SHOWN if gamma <= 16]
    body = []
    for row in grid:
        needed = (break_even_acceptance(gamma, row[0]) for gamma in lengths)
        body.append(
            [f"{row[0].cost_ratio:g}", *("never" if a is None else f"{a:.3f}" for a in needed)]
        )
    header = [
        f"c, w = {grid[0][0].verification_cost:g}",
        *(f"blocks of {gamma}" for gamma in lengths),
    ]
    return markdown_table(header, body, "r" * len(header))


def _best(item: ScoredDraft, grid: Grid) -> str:
    header = ["c", *(f"w = {costs.verification_cost:g}" for costs in grid[0])]
    body = [[f"{row[0].cost_ratio:g}", *(_choice(item, costs) for costs in row)] for row in grid]
    note = (
        f"Of block lengths 1 to {max(item.by_gamma)}, the shortest and the longest that are not "
        "significantly slower than the best, with the expected speedup of the shortest and its "
        f"95% interval over {item.units}. No draft: no length pays. Not sure: with all lengths "
        "compared at once, the best does not differ significantly from the target alone."
    )
    return f"{note}\n\n" + markdown_table(header, body, "r" * len(header))


def _by_gamma(item: ScoredDraft, grid: Grid) -> str:
    by_cost = [expected_speedups(item.by_gamma, row[0]) for row in grid]
    header = [
        "block length",
        "tau",
        "break-even cost",
        *(f"c = {row[0].cost_ratio:g}" for row in grid),
    ]
    body = [
        [
            f"{gamma}",
            number_text(expected_speedup(item.by_gamma[gamma], FREE)),
            number_text(break_even_cost(item.by_gamma[gamma])),
            *(f"{speedups[gamma]:.2f}" for speedups in by_cost),
        ]
        for gamma in SHOWN
        if gamma in item.by_gamma
    ]
    w = grid[0][0].verification_cost
    note = f"By block length; under each c the expected speedup at w = {w:g}:"
    return f"{note}\n\n" + markdown_table(header, body, "r" * len(header))


def _choice(item: ScoredDraft, costs: Costs) -> str:
    advice = advice_at(item, costs)
    if not advice.gamma:
        best = advice.number(advice.highest).value
        sure = advice.tied[-1] == 0 or best <= 1
        return "1, no draft" if sure else f"{best:.2f}, blocks of {advice.highest}, not sure"
    number, longest = expected_speedup(item.by_gamma[advice.gamma], costs), max(advice.tied)
    tied = f" to {longest}" if longest > advice.gamma else ""
    return f"{number_text(number, 2)}, blocks of {advice.gamma}{tied}"


REPORT = WhatIf()
