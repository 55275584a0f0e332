"""Tables for papers, LaTeX (booktabs) and Markdown: tasks by pairs, methods side by side.

In the shape of AdaSPEC's main table (Hu et al. 2025, arXiv 2510.19779, table 1). Bold is what is
best and is significantly so: better than every other method of its task and pair, paired on
prompts, by Holm's adjustment over all pairs of them. What is best by chance is not bold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from draftmark.analysis.significance import holm, t_test
from draftmark.analysis.stored_counts import Measured, measured, paired, shared
from draftmark.reports._shared.escape import latex
from draftmark.reports._shared.markdown import escape, table
from draftmark.reports._shared.rows import seeds_of
from draftmark.results import Contender, Number, Results

LEVEL = 0.05
_WIDE = 6  # columns of numbers, above which a table takes the width of the page
RATES = {
    "acceptance_rate": ("Acceptance rate, %", 100.0),
    "block_efficiency": ("Block efficiency, tokens per pass of the target", 1.0),
}


@dataclass(frozen=True)
class Grid:
    """One table: who is in it, what each one's number is, and whose is bold."""

    title: str
    results: Results
    tasks: tuple[str, ...]
    pairs: tuple[str, ...]
    methods: tuple[str, ...]
    numbers: Mapping[Contender, Number]
    failed: frozenset[Contender]
    bold: frozenset[Contender]
    scale: float

    def cell(self, who: Contender, bold: str, spread: str) -> str:
        """Return a number with half its interval; "failed" of what did, a dash of what is not."""
        if who not in self.numbers:
            return "failed" if who in self.failed else "-"
        number = self.numbers[who]
        shown = f"{number.value * self.scale:.2f}"
        shown = bold.format(shown) if who in self.bold else shown
        if number.low is None or number.high is None:
            return shown
        return shown + spread.format(f"{(number.high - number.low) / 2 * self.scale:.2f}")


def tables(results: Results, directory: Path) -> dict[str, str]:
    """Return tables.md and tables.tex; raises UserError if acceptance tables are missing."""
    found = measured(results, directory)
    grids = [
        _grid(results, found, rate, temperature)
        for rate in RATES
        for temperature in results.recipe["evaluation"]["temperatures"]
    ]
    heading = f"# {escape(results.title)}: tables\n\n"
    return {
        "tables.md": heading + "\n\n".join(map(_markdown, grids)) + "\n",
        "tables.tex": "% Needs \\usepackage{booktabs,graphicx}.\n"
        + "\n\n".join(map(_latex, grids))
        + "\n",
    }


def _grid(results: Results, found: Sequence[Measured], rate: str, temperature: float) -> Grid:
    gamma = results.recipe["evaluation"]["num_speculative_tokens"]
    name = f"{rate}[t={temperature:g},gamma={gamma}]"
    title, scale = RATES[rate]
    contenders = list(dict.fromkeys(row.cell.contender for row in results.results))
    numbers = results.numbers
    here = [item for item in found if item.temperature == temperature]
    return Grid(
        title=f"{title}; temperature {temperature:g}, blocks of {gamma} drafted tokens",
        results=results,
        tasks=tuple(dict.fromkeys(who.task for who in contenders)),
        pairs=tuple(dict.fromkeys(who.pair for who in contenders)),
        methods=tuple(dict.fromkeys(who.method for who in contenders)),
        numbers={who: own[name] for who, own in numbers.items() if name in own},
        failed=frozenset(contenders) - numbers.keys(),
        bold=frozenset(_best(here, rate)),
        scale=scale,
    )


def _best(found: Sequence[Measured], rate: str) -> list[Contender]:
    """Return, of each task and pair, the contender that is significantly better than all others."""
    groups: dict[tuple[str, str], list[Measured]] = {}
    for item in found:
        if all(bottom_B.sum() for _, bottom_B in item.counts(rate, item.prompts)):
            groups.setdefault((item.contender.task, item.contender.pair), []).append(item)
    return [best for group in groups.values() if (best := _winner(group, rate))]


def _winner(group: Sequence[Measured], rate: str) -> Contender | None:
    pairs = list(combinations(range(len(group)), 2))
    effects = []
    for a, b in pairs:
        prompts = shared(group[a], group[b])
        if len(prompts) < 2:
            return None
        effects.append(paired(group[a], group[b], rate, prompts))
    adjusted = holm([t_test(effect).p_value for effect in effects])
    won = [0] * len(group)
    for (a, b), effect, p in zip(pairs, effects, adjusted, strict=True):
        if p < LEVEL and effect.value:
            won[a if effect.value > 0 else b] += 1
    most = len(group) - 1
    return next((who.contender for who, n in zip(group, won, strict=True) if n == most > 0), None)


def _seeds(grid: Grid) -> str:
    seeds_by_task = seeds_of(grid.results.results)
    some = {len(seeds) for seeds in seeds_by_task.values()}
    if some == {1}:
        return "One seed"
    if len(some) == 1:
        return f"Means over {some.pop()} seeds"
    told = (f"{len(seeds)} on {task}" for task, seeds in seeds_by_task.items())
    return f"Means over seeds ({', '.join(told)})"


def _note(grid: Grid) -> str:
    text = (
        f"{_seeds(grid)}; after the sign, half of the 95 % interval. Bold: significantly better "
        "than every other method of its task and pair (paired on prompts, Holm, 5 %)."
    )
    lacks = [
        f"{who.method} on {who.task}, {who.pair} failed"
        for who in sorted(grid.failed, key=lambda who: (who.task, who.pair, who.method))
    ]
    return " ".join([text, *(f"{lack}." for lack in lacks)])


def _rows(grid: Grid, text: Callable[[str], str], bold: str, spread: str) -> list[list[str]]:
    return [
        [text(task)]
        + [
            grid.cell(Contender(task, pair, method), bold, spread)
            for pair in grid.pairs
            for method in grid.methods
        ]
        for task in grid.tasks
    ]


def _markdown(grid: Grid) -> str:
    if not grid.tasks:
        return f"## {grid.title}\n\nThe run has no results."
    header = ["task"]
    header += [f"{escape(m)} ({escape(pair)})" for pair in grid.pairs for m in grid.methods]
    body = _rows(grid, escape, "**{}**", " ± {}")
    return f"## {grid.title}\n\n{table(header, body)}\n\n{escape(_note(grid))}"


def _latex(grid: Grid) -> str:
    if not grid.tasks:
        return f"% {grid.title}: the run has no results."
    width = len(grid.methods)
    over = [f"\\multicolumn{{{width}}}{{c}}{{{latex(pair)}}}" for pair in grid.pairs]
    rules = [
        f"\\cmidrule(lr){{{2 + place * width}-{1 + (place + 1) * width}}}"
        for place in range(len(grid.pairs))
    ]
    names = [latex(method) for _ in grid.pairs for method in grid.methods]
    body = _rows(grid, latex, "\\textbf{{{}}}", " {{\\scriptsize$\\pm$ {}}}")
    to_float32 = width * len(grid.pairs) > _WIDE
    kind = "table*" if to_float32 else "table"
    lines = [
        f"\\begin{{{kind}}}[t]",
        "\\centering",
        f"\\caption{{{latex(grid.title)}. {latex(_note(grid))}}}",
        *(["\\resizebox{\\textwidth}{!}{%"] if to_float32 else []),
        f"\\begin{{tabular}}{{l{'r' * (width * len(grid.pairs))}}}",
        "\\toprule",
        " & ".join(["", *over]) + r" \\",
        " ".join(rules),
        " & ".join(["task", *names]) + r" \\",
        "\\midrule",
        *(" & ".join(row) + r" \\" for row in body),
        "\\bottomrule",
        "\\end{tabular}" + "}" * to_float32,
        f"\\end{{{kind}}}",
    ]
    return "\n".join(lines)


REPORT = tables
