"""Tables for papers in LaTeX (booktabs) and Markdown: tasks by pairs, methods side by side.

The layout is that of AdaSPEC's main table (Hu et al. 2025, arXiv 2510.19779, table 1). A number is
bold if its method is significantly better than every other method of the task and pair: tests are
paired on prompts and adjusted by Holm over all pairs of methods.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from draftmark.analysis.quantities import Terms
from draftmark.analysis.significance import holm_adjusted, t_test
from draftmark.analysis.stored_counts import (
    StoredCounts,
    paired_effect,
    shared_prompts,
    stored_counts,
)
from draftmark.reports._shared.content import escape_markdown, markdown_table
from draftmark.reports._shared.rows import (
    gamma_of,
    group_by,
    seeds_by_task,
    served_note,
    temperatures_of,
    ways_of_drafting,
)
from draftmark.results import Contender, Number, Results
from draftmark.text import printable_text

LEVEL = 0.05
_MOST_COLUMNS = 6  # columns of numbers that fit one text column
_LATEX = str.maketrans(
    {mark: f"\\{mark}" for mark in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
)
RATES = {
    "acceptance_rate": ("Acceptance rate, %", 100.0),
    "block_efficiency": ("Block efficiency, tokens per pass of the target", 1.0),
}


@dataclass(frozen=True)
class Grid:
    """One table: its rows and columns, and the number of each contender."""

    title: str
    note: str
    tasks: Sequence[str]
    pairs: Sequence[str]
    methods: Sequence[str]
    numbers: Mapping[Contender, Number]
    failed: Collection[Contender]
    bold: Collection[Contender]
    scale: float

    def rows(self, text: Callable[[str], str], bold: str, spread: str) -> list[list[str]]:
        """Return a row per task; `text` escapes names, `bold` and `spread` are format strings."""
        places = [(pair, method) for pair in self.pairs for method in self.methods]
        return [
            [text(t), *(self._cell(Contender(t, *place), bold, spread) for place in places)]
            for t in self.tasks
        ]

    def _cell(self, contender: Contender, bold: str, spread: str) -> str:
        """Return a number ± half its interval; "failed" for a failure, "-" without a cell."""
        if contender not in self.numbers:
            return "failed" if contender in self.failed else "-"
        number = self.numbers[contender]
        value = f"{number.value * self.scale:.2f}"
        value = bold.format(value) if contender in self.bold else value
        if number.low is None or number.high is None:
            return value
        return value + spread.format(f"{(number.high - number.low) / 2 * self.scale:.2f}")


def tables(results: Results, directory: Path) -> dict[str, str]:
    """Return tables.md and tables.tex; raises UserError if acceptance tables are missing."""
    ways = {t: ways_of_drafting([results], t) for t in temperatures_of(results)}
    drafts = dict.fromkeys(draft for way in ways.values() for draft in way)
    found = {draft: stored_counts(results, directory, draft=draft) for draft in drafts}
    grids = [
        _grid(results, found[draft], rate, Terms(temperature, draft), how)
        for rate in RATES
        for temperature, way in ways.items()
        for draft, how in way.items()
    ]
    markdown = [f"# {escape_markdown(results.title)}: tables", *map(_markdown, grids)]
    latex = "\n\n".join(map(_latex, grids))
    return {
        "tables.md": "\n\n".join(markdown) + "\n",
        "tables.tex": f"% Needs \\usepackage{{booktabs,graphicx}}.\n{latex}\n",
    }


def _grid(results: Results, found: Sequence[StoredCounts], rate: str, at: Terms, how: str) -> Grid:
    gamma, temperature = gamma_of(results), at.temperature
    key = at.key(rate, gamma)
    title, scale = RATES[rate]
    contenders = dict.fromkeys(row.cell.contender for row in results.results)
    numbers = results.numbers
    failed = [contender for contender in contenders if contender not in numbers]
    return Grid(
        title=f"{title}; temperature {temperature:g}{how}, blocks of {gamma} drafted tokens",
        note=_note(results, failed),
        tasks=list(dict.fromkeys(contender.task for contender in contenders)),
        pairs=list(dict.fromkeys(contender.pair for contender in contenders)),
        methods=list(dict.fromkeys(contender.method for contender in contenders)),
        numbers={item: by_key[key] for item, by_key in numbers.items() if key in by_key},
        failed=failed,
        bold=_best([item for item in found if item.temperature == temperature], rate),
        scale=scale,
    )


def _note(results: Results, failed: Sequence[Contender]) -> str:
    by_task = {task: len(seeds) for task, seeds in seeds_by_task(results.results).items()}
    seeds = "Means over seeds ({})".format(", ".join(f"{n} on {t}" for t, n in by_task.items()))
    if len(numbers := set(by_task.values())) == 1:
        seeds = "One seed" if numbers == {1} else f"Means over {numbers.pop()} seeds"
    text = (
        f"{seeds}; ± is half the width of the 95 % interval. Bold: significantly "
        "better than every other method of its task and pair (paired on prompts, Holm, 5 %)."
    )
    ordered = sorted(failed, key=lambda item: (item.task, item.pair, item.method))
    served = served_note(results)
    return " ".join(
        [text, *served, *(f"{c.method} on {c.task}, {c.pair} failed." for c in ordered)]
    )


def _best(found: Sequence[StoredCounts], rate: str) -> list[Contender]:
    """Return the contender of each task and pair that is significantly better than all others."""
    tested = (i for i in found if all(b.sum() for _, b in i.counts(rate, i.prompts)))
    groups = group_by(tested, lambda item: (item.contender.task, item.contender.pair))
    return [best for group in groups.values() if (best := _winner(group, rate))]


def _winner(group: Sequence[StoredCounts], rate: str) -> Contender | None:
    pairs = list(combinations(range(len(group)), 2))
    effects = []
    for a, b in pairs:
        prompts = shared_prompts(group[a], group[b])
        if len(prompts) < 2:
            return None
        effects.append(paired_effect(group[a], group[b], rate, prompts))
    adjusted = holm_adjusted([t_test(effect).p_value for effect in effects])
    won = [0] * len(group)
    for (a, b), effect, p in zip(pairs, effects, adjusted, strict=True):
        if p < LEVEL and effect.value:
            won[a if effect.value > 0 else b] += 1
    most = len(group) - 1
    return next((item.contender for item, n in zip(group, won, strict=True) if n == most > 0), None)


def _markdown(grid: Grid) -> str:
    if not grid.tasks:
        return f"## {grid.title}\n\nThe run has no results."
    header = ["task"]
    header += [
        f"{escape_markdown(m)} ({escape_markdown(pair)})"
        for pair in grid.pairs
        for m in grid.methods
    ]
    body = grid.rows(escape_markdown, "**{}**", " ± {}")
    return f"## {grid.title}\n\n{markdown_table(header, body)}\n\n{escape_markdown(grid.note)}"


def _latex(grid: Grid) -> str:
    if not grid.tasks:
        return f"% {grid.title}: the run has no results."
    width = len(grid.methods)
    over = [f"\\multicolumn{{{width}}}{{c}}{{{_escape_latex(pair)}}}" for pair in grid.pairs]
    rules = [
        f"\\cmidrule(lr){{{2 + place * width}-{1 + (place + 1) * width}}}"
        for place in range(len(grid.pairs))
    ]
    names = [_escape_latex(method) for _ in grid.pairs for method in grid.methods]
    body = grid.rows(_escape_latex, "\\textbf{{{}}}", " {{\\scriptsize$\\pm$ {}}}")
    wide = width * len(grid.pairs) > _MOST_COLUMNS
    kind = "table*" if wide else "table"
    lines = [
        f"\\begin{{{kind}}}[t]",
        "\\centering",
        f"\\caption{{{_escape_latex(grid.title)}. {_escape_latex(grid.note)}}}",
        *(["\\resizebox{\\textwidth}{!}{%"] if wide else []),
        f"\\begin{{tabular}}{{l{'r' * (width * len(grid.pairs))}}}",
        "\\toprule",
        " & ".join(["", *over]) + r" \\",
        " ".join(rules),
        " & ".join(["task", *names]) + r" \\",
        "\\midrule",
        *(" & ".join(row) + r" \\" for row in body),
        "\\bottomrule",
        "\\end{tabular}" + "}" * wide,
        f"\\end{{{kind}}}",
    ]
    return "\n".join(lines)


def _escape_latex(text: str) -> str:
    return printable_text(text).translate(_LATEX)


REPORT = tables
