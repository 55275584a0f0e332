"""Tables of a run as data: methods are rows, tasks are columns, each temperature is a block."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from draftmark.analysis.quantities import Terms
from draftmark.analysis.stored_counts import stored_counts
from draftmark.analysis.titles import method_title, task_title
from draftmark.reports._shared.rows import (
    conditions_of,
    first_speed_settings,
    gamma_of,
    seeds_by_task,
    served_note,
    speedup_gammas,
    temperatures_of,
    ways_of_drafting,
)
from draftmark.reports._tables.winners import winners
from draftmark.results import Contender, Number, Results

RATES = {
    "acceptance_rate": ("Acceptance rate in percent", 100.0),
    "block_efficiency": ("Block efficiency in tokens per pass of the target", 1.0),
}
Place = tuple[str, str]  # task, pair


@dataclass(frozen=True)
class Column:
    """The numbers of a task and pair, by method; `over` stands above neighbouring columns."""

    title: str
    over: str
    numbers: Mapping[str, Number]
    scale: float = 1.0
    bold: Collection[str] = ()
    failed: Collection[str] = ()


@dataclass(frozen=True)
class Block:
    """The rows of one temperature; all blocks of a table have the same columns."""

    title: str
    columns: Sequence[Column]


@dataclass(frozen=True)
class Grid:
    """One table; `label` is its name in LaTeX."""

    title: str
    label: str
    note: str
    methods: Sequence[str]
    blocks: Sequence[Block]

    @property
    def full_title(self) -> str:
        """The title, with that of the only block where there is one."""
        return f"{self.title}, {self.blocks[0].title}" if len(self.blocks) == 1 else self.title

    @property
    def columns(self) -> Sequence[Column]:
        """The columns of the first block, for the header."""
        return self.blocks[0].columns

    def split(self, most_columns: int, most_rows: int) -> Iterator["Grid"]:
        """Yield tables of at most so many columns, and rows unless a single block has more."""
        width, height = len(self.columns), max(1, most_rows // len(self.methods))
        parts = [
            [
                replace(block, columns=block.columns[start : start + most_columns])
                for block in blocks
            ]
            for first in range(0, len(self.blocks), height)
            for blocks in [self.blocks[first : first + height]]
            for start in range(0, width, most_columns)
        ]
        for number, blocks in enumerate(parts, start=1):
            several = len(parts) > 1
            title = f"{self.title} (part {number} of {len(parts)})" if several else self.title
            label = f"{self.label}-{number}" if several else self.label
            yield replace(self, title=title, label=label, blocks=blocks)


def rate_grids(results: Results, directory: Path) -> Iterator[Grid]:
    """Yield a table for each rate; raises UserError if acceptance tables are missing."""
    ways = [
        (temperature, draft, how)
        for temperature in temperatures_of(results)
        for draft, how in ways_of_drafting([results], temperature).items()
    ]
    drafts = dict.fromkeys(draft for _, draft, _ in ways)
    found = {draft: stored_counts(results, directory, draft=draft) for draft in drafts}
    for rate, (title, scale) in RATES.items():
        blocks = []
        for temperature, draft, how in ways:
            at = [item for item in found[draft] if item.temperature == temperature]
            best = set(winners(at, rate))
            key = Terms(temperature, draft).key(rate, gamma_of(results))
            columns = [
                _column(results, place, key, scale=scale, bold=best) for place in _places(results)
            ]
            blocks.append(Block(f"temperature {temperature:g}{how}", columns))
        yield Grid(
            title=f"{title}, with blocks of {gamma_of(results)} drafted tokens",
            label=f"tab:{rate.replace('_', '-')}",
            note=_note(results, bold=True),
            methods=_methods(results),
            blocks=blocks,
        )


def speed_grids(results: Results) -> Iterator[Grid]:
    """Yield the table of speedups beside block efficiency, if speedups were measured."""
    speed, gammas = results.recipe.get("speed"), sorted(speedup_gammas(results.results))
    if not speed or not gammas:
        return
    settings = first_speed_settings(speed)
    blocks = []
    for temperature in temperatures_of(results):
        keys = _speed_keys(results, temperature, settings["engine"], settings["batch_size"])
        if keys:
            efficiency = Terms(temperature, None).key("block_efficiency", gammas[0])
            columns = [
                replace(_column(results, place, key), title=title, over=task_title(place[0]))
                for place in _places(results)
                for title, key in (("speedup", keys[0]), ("tokens", efficiency))
            ]
            blocks.append(Block(f"temperature {temperature:g}", columns))
    if blocks:
        under = f"{settings['engine']}, batch {settings['batch_size']}"
        yield Grid(
            title=f"Speedup ({under}) and tokens per pass of the target, with blocks of "
            f"{gammas[0]} drafted tokens",
            label="tab:speedup",
            note=_note(results, bold=False),
            methods=_methods(results),
            blocks=blocks,
        )


def _speed_keys(results: Results, temperature: float, engine: str, batch: int) -> list[str]:
    """Return the keys of the speedup at a temperature, of the block length in the leaderboard."""
    gammas = {str(gamma) for gamma in speedup_gammas(results.results)}
    keys = dict.fromkeys(
        key for row in results.results for key in row.numbers if key.startswith("speedup[")
    )
    wanted = {"engine": engine, "t": f"{temperature:g}", "batch": str(batch)}
    found = []
    for key in keys:
        terms = conditions_of(key.removeprefix("speedup[").removesuffix("]"))
        if terms["gamma"] in gammas and wanted.items() <= terms.items():
            found.append(key)
    return found


def _column(
    results: Results,
    place: Place,
    key: str,
    *,
    scale: float = 1.0,
    bold: Collection[Contender] = (),
) -> Column:
    task, pair = place
    several_pairs = len({pair for _, pair in _places(results)}) > 1
    here = {c.method: c for c in _contenders(results) if (c.task, c.pair) == place}
    known = results.numbers
    return Column(
        title=task_title(task),
        over=pair if several_pairs else "",
        numbers={m: known[c][key] for m, c in here.items() if key in known.get(c, {})},
        scale=scale,
        bold=[method for method, contender in here.items() if contender in bold],
        failed=[method for method, contender in here.items() if contender not in known],
    )


def _contenders(results: Results) -> list[Contender]:
    return list(dict.fromkeys(row.cell.contender for row in results.results))


def _places(results: Results) -> list[Place]:
    """Return the columns: pairs, and within each its tasks."""
    found = dict.fromkeys((item.task, item.pair) for item in _contenders(results))
    pairs = list(dict.fromkeys(pair for _, pair in found))
    return sorted(found, key=lambda place: pairs.index(place[1]))


def _methods(results: Results) -> list[str]:
    return list(dict.fromkeys(item.method for item in _contenders(results)))


def _note(results: Results, *, bold: bool) -> str:
    by_task = {task: len(seeds) for task, seeds in seeds_by_task(results.results).items()}
    seeds = "Means over seeds ({})".format(", ".join(f"{n} on {t}" for t, n in by_task.items()))
    if len(numbers := set(by_task.values())) == 1:
        seeds = "One seed" if numbers == {1} else f"Means over {numbers.pop()} seeds"
    parts = [f"{seeds}; brackets are 95% intervals."]
    if bold:
        parts.append(
            "Bold: significantly better than every other method of its task and pair (paired on "
            "prompts, Holm, 5%)."
        )
    failed = (c for c in _contenders(results) if c not in results.numbers)
    ordered = sorted(failed, key=lambda item: (item.task, item.pair, item.method))
    parts += served_note(results) if bold else ()
    parts += (
        f"{method_title(c.method)} on {task_title(c.task)}, {c.pair} failed." for c in ordered
    )
    return " ".join(parts)
