"""What if drafting cost something else: expected speedup, best block length, break-even.

Nothing is run: acceptance tables and supposed costs enter the cost model (analysis/cost_model.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
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
from draftmark.reports._figures.what_if import figure
from draftmark.reports._shared.acceptance import Scored, advised, failed, scored
from draftmark.reports._shared.markdown import escape, interval, table, two
from draftmark.reports._shared.recommendation import NOTE, expected_advice
from draftmark.results import Number, Results

SHOWN = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)  # the block lengths that a table has room for

_MODEL = """\
Nothing was run for this. Whether each drafted token is accepted was recorded; what it costs is
supposed. The unit of time is a plain pass of the target. Drafting a token costs c of it (the **cost
ratio**); verifying a drafted token costs w more (the **verification cost**: about 0 where decoding
waits for memory, more in large batches). A block that drafts d tokens takes 1 + d (c + w), so

    expected speedup = tokens / (passes + drafted (c + w))

of decoding alone, without prefill and an engine's overheads. Only the sum c + w counts. **Gamma**
is the most tokens that a block drafts; gamma 0 is the target alone, best where no draft pays.
**Tau**, the tokens per pass, is the speedup of a draft that costs nothing. The **break-even cost**
is the c + w at which nothing is won, (tokens - passes) / drafted: but for the ends of texts the
share of drafted tokens that are accepted."""

_PAYS = """\
A draft pays, at some gamma, where a drafted token costs less than its highest break-even cost. Were
every token accepted with the same probability, that would be its acceptance rate, at gamma 1
(Leviathan et al. 2023, corollary 3.9)."""

_NEEDED = """\
Break-even acceptance: the acceptance rate above which blocks of gamma tokens pay, were every token
accepted with the same probability (theorem 3.8). Beside the rates above it says how far a draft
is from paying. Real acceptance is uneven: what decides is each draft's own break-even cost."""


_NOT_TIMED = """\
This run has not timed what its drafts cost. With `cost_model = true` in the recipe's `[speed]` it
does, at every one of `batch_sizes`, and the block length to serve with is named here. Of a cost
that is known, `--cost-ratio` and `--verification-cost` show the best block length below."""


@dataclass(frozen=True)
class WhatIf:
    """The report, with the costs that its tables are for, in plain target passes."""

    cost_ratios: tuple[float, ...] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    verification_costs: tuple[float, ...] = (0.0, 0.01, 0.05)

    def __call__(self, results: Results, directory: Path) -> dict[str, str | bytes]:
        """Return what_if.md, and what_if.png if any cell has numbers.

        Raises UserError for a cost below 0, or if acceptance tables are missing.
        """
        grid = [[supposed_costs(c, w) for w in self.verification_costs] for c in self.cost_ratios]
        found = list(scored(results, directory))
        sections = [f"# {escape(results.title)}: what if drafting cost something else", _MODEL]
        if found:
            sections += ["## What to serve with", *_serving(results, directory)]
            sections += ["![Expected speedup by gamma and cost](what_if.png)"]
            sections += ["## Does it pay?", _paying(found, results), _PAYS, _needed(grid), _NEEDED]
        for item in found:
            sections += [f"## {escape(item.title)}", _best(item, grid), _by_gamma(item, grid)]
        sections += [failed(result) for result in results.results if result.failure]
        text = "\n\n".join(sections) + "\n"
        picture = {"what_if.png": figure(found, [row[0] for row in grid])} if found else {}
        return {"what_if.md": text, **picture}


def _serving(results: Results, directory: Path) -> Iterator[str]:
    """Yield what the costs that the run measured come to, of each task and pair."""
    told = {}
    for place, rows in groupby(results.results, lambda row: (row.cell.task, row.cell.pair)):
        if advice := expected_advice(list(rows), results, directory):
            told[place] = (
                f"{escape(', '.join(place))}, at the costs that were measured:\n\n{advice}"
            )
    yield from [NOTE, *told.values()] if told else [_NOT_TIMED]


Grid = Sequence[Sequence[Costs]]  # a row for each cost ratio, a column for each verification cost


def _paying(found: Sequence[Scored], results: Results) -> str:
    gamma = results.recipe["evaluation"]["num_speculative_tokens"]
    body = []
    for item in found:
        highest = highest_break_even_cost(item.by_gamma)
        pays = [interval(highest[1]), f"{highest[0]}"] if highest else ["never drafts", "-"]
        body.append([escape(item.title), _or_dash(item.acceptance), *pays])
    header = ["draft", f"acceptance rate, gamma {gamma}", "highest break-even cost", "at gamma"]
    return table(header, body)


def _needed(grid: Grid) -> str:
    lengths = [gamma for gamma in SHOWN if gamma <= 16]
    body = [
        [_ratio(row), *(_acceptance(break_even_acceptance(gamma, row[0])) for gamma in lengths)]
        for row in grid
    ]
    header = [f"c, w = {_first_w(grid)}", *(f"gamma {gamma}" for gamma in lengths)]
    return table(header, body, "r" * len(header))


def _best(item: Scored, grid: Grid) -> str:
    header = ["c", *(f"w = {costs.verification_cost:g}" for costs in grid[0])]
    body = [[_ratio(row), *(_choice(item, costs) for costs in row)] for row in grid]
    note = (
        f"Expected speedup at the shortest gamma of 1 to {max(item.by_gamma)} that cannot be told "
        f"from the best, and the longest that cannot; 95 % interval over {item.units}, of the "
        "shortest alone. Gamma 0: none pays. Not sure: the best cannot be told from the target "
        "alone, all lengths compared at once."
    )
    return f"{note}\n\n" + table(header, body, "r" * len(header))


def _by_gamma(item: Scored, grid: Grid) -> str:
    by_cost = [expected_speedups(item.by_gamma, row[0]) for row in grid]
    header = ["gamma", "tau", "break-even cost", *(f"c = {_ratio(row)}" for row in grid)]
    body = [
        [
            f"{gamma}",
            interval(expected_speedup(item.by_gamma[gamma], FREE)),
            _or_dash(break_even_cost(item.by_gamma[gamma])),
            *(two(speedups[gamma]) for speedups in by_cost),
        ]
        for gamma in SHOWN
        if gamma in item.by_gamma
    ]
    note = f"By gamma; under each c the expected speedup at w = {_first_w(grid)}:"
    return f"{note}\n\n" + table(header, body, "r" * len(header))


def _ratio(row: Sequence[Costs]) -> str:
    return f"{row[0].cost_ratio:g}"


def _first_w(grid: Grid) -> str:
    return f"{grid[0][0].verification_cost:g}"


def _choice(item: Scored, costs: Costs) -> str:
    given = advised(item, costs)
    if not given.gamma:
        best = given.number(given.highest).value
        sure = given.tied[-1] == 0 or best <= 1
        return "1, gamma 0" if sure else f"{two(best)}, gamma {given.highest}, not sure"
    number, longest = expected_speedup(item.by_gamma[given.gamma], costs), max(given.tied)
    tied = f" to {longest}" if longest > given.gamma else ""
    return f"{interval(number, two)}, gamma {given.gamma}{tied}"


def _or_dash(number: Number | None) -> str:
    return interval(number) if number else "-"


def _acceptance(value: float | None) -> str:
    return "never" if value is None else f"{value:.3f}"


REPORT = WhatIf()
