"""AdaSPEC's kept-token picture: the gaps of kept and dropped tokens, and who is kept by type."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from draftmark.analysis import statistics
from draftmark.reports._figures.drawing import WHO, Drawing, NotDrawn, Value, spread, who
from draftmark.reports._figures.run import Run, first
from draftmark.reports._figures.style import COLOURS, GREY, HATCHES, PAGE, label
from draftmark.results import Contender, Number
from draftmark.store.records import SELECTION, read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "kept-tokens"
TYPES = ("word", "number", "operator", "punctuation", "whitespace", "end", "other")
_MOST_ROWS, _ROW_INCHES, _BINS = 5, 1.95, 40
_TAIL = 0.005  # of the gaps, on either side, that stand in the outermost bins
_ALSO_OPERATORS = "*/%^&|~-"  # which Unicode takes for punctuation and other signs


@dataclass(frozen=True)
class Kept:
    """What a contender's trainings noted: gaps, and kept tokens by type."""

    edges: list[float]  # of the bins
    kept: list[int]  # tokens in each bin
    dropped: list[int]
    shares: Mapping[str, Number]  # of a type's tokens, those kept; over training rows
    tokens: Mapping[str, int]
    share: float  # of all tokens


def figures(run: Run) -> Iterator[Drawing | NotDrawn]:
    """Yield the figure."""
    found = {item: kept for item in run.numbers if (kept := _kept(run, item))}
    if not found:
        why = "no method noted which tokens it kept, as adaspec does, or its records are not here"
        yield NotDrawn(NAME, why)
        return
    shown, left = first(list(found), _MOST_ROWS, "selections")
    yield Drawing(
        NAME,
        "Which tokens are kept: of 16 steps, evenly over the training, and all seeds. Left: tokens "
        "by loss gap, the draft's loss less the reference's, in nats; the outermost bars hold "
        f"what lies beyond, {_TAIL:.1%} on each side. Right: of the tokens of a type, the share "
        "that is kept, with 95 % intervals over training rows, and how common the type is; the "
        "dashed line is the share of all tokens.",
        (PAGE, len(shown) * _ROW_INCHES + 0.35),
        (
            *(*WHO, "part", "gap_from", "gap_to", "token_type"),
            *("kept", "tokens", "share", "low", "high"),
        ),
        [row for item, kept in found.items() for row in _rows(item, kept)],
        lambda figure: _fill(figure, run, {item: found[item] for item in shown}),
        left,
    )


def token_type(token: str, *, special: bool = False) -> str:
    """Return what a token is by what it reads: of several, the first that TYPES and rules name.

    With a letter it is a word, with a digit a number, with a sign of mathematics an operator.
    """
    text = token.strip()
    kinds = {unicodedata.category(mark) for mark in text}
    if special:
        return "end"
    if not text:
        return "whitespace" if token else "other"
    if any(kind.startswith("L") for kind in kinds):
        return "word"
    if any(kind.startswith("N") for kind in kinds):
        return "number"
    if kinds & {"Sm", "Sc"} or any(mark in _ALSO_OPERATORS for mark in text):
        return "operator"
    return "punctuation" if any(kind.startswith("P") for kind in kinds) else "other"


def _kept(run: Run, contender: Contender) -> Kept | None:
    folders = [run.directory / row.records for row in run.cells(contender) if row.records]
    files = [folder / SELECTION for folder in folders if (folder / SELECTION).is_file()]
    rows = [row for file in files for row in read_rows(file)]
    if not rows:
        return None
    gaps, kept = (np.array([row[name] for row in rows]) for name in ("gap", "kept"))
    low, high = np.quantile(gaps, [_TAIL, 1 - _TAIL])
    width = max(high - low, 1e-6) / _BINS  # and no bin has gaps of both signs
    edges = width * np.arange(np.floor(low / width), np.ceil(high / width) + 2)
    inside = np.clip(gaps, edges[0], edges[-1])
    mine, others = (np.histogram(inside[which], edges)[0].tolist() for which in (kept, ~kept))
    known = [row for row in rows if row["token"] is not None]
    types = [token_type(row["token"], special=row["special"]) for row in known]
    common = Counter(types)
    shares = {
        kind: _share([row for row, its in zip(known, types, strict=True) if its == kind])
        for kind in TYPES
        if common[kind]
    }
    return Kept(edges.tolist(), mine, others, shares, common, float(kept.mean()))


def _share(rows: Sequence[Mapping[str, object]]) -> Number:
    """Return the kept share of some tokens; the tokens of a training row count together."""
    kept: Counter[object] = Counter()
    tokens = Counter(row["example_id"] for row in rows)
    kept.update(row["example_id"] for row in rows if row["kept"])
    pairs = [(float(kept[name]), float(number)) for name, number in tokens.items()]
    return statistics.ratio(
        [top for top, _ in pairs], [bottom for _, bottom in pairs], "kept tokens / tokens"
    )


def _rows(contender: Contender, kept: Kept) -> Iterator[tuple[Value, ...]]:
    for low, high, some, others in zip(
        kept.edges[:-1], kept.edges[1:], kept.kept, kept.dropped, strict=True
    ):
        bounds = ("gap", low, high, None)
        yield (*who(contender), *bounds, some, some + others, None, None, None)
    for kind, share in kept.shares.items():
        some = round(share.value * kept.tokens[kind])
        numbers = (some, kept.tokens[kind], share.value, share.low, share.high)
        yield (*who(contender), "type", None, None, kind, *numbers)


def _fill(figure: "Figure", run: Run, found: Mapping[Contender, Kept]) -> None:
    grid = figure.subplots(len(found), 2, squeeze=False)
    for (left, right), (contender, kept) in zip(grid, found.items(), strict=True):
        place = run.title((contender.task, contender.pair))
        left.set_title(f"{label(contender.method)}, {place}", loc="left")
        _gaps(left, kept)
        _types(right, kept)
    grid[-1][0].set_xlabel("loss gap (nats)")
    grid[-1][1].set_xlabel("kept share of a type's tokens")


def _gaps(axes: "Axes", kept: Kept) -> None:
    width = kept.edges[1] - kept.edges[0]
    looks = (
        ("kept", kept.kept, [0] * len(kept.kept), COLOURS[0], HATCHES[0]),
        ("dropped", kept.dropped, kept.kept, "#dddddd", HATCHES[1]),
    )
    for name, heights, below, colour, hatch in looks:
        axes.bar(
            kept.edges[:-1],
            heights,
            width,
            bottom=below,
            align="edge",
            color=colour,
            edgecolor="white" if not hatch else GREY,
            hatch=hatch,
            linewidth=0.3,
            label=name,
        )
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.set_ylabel("tokens")
    axes.legend()


def _types(axes: "Axes", kept: Kept) -> None:
    if not kept.shares:
        axes.text(0.5, 0.5, "what tokens read is not known", transform=axes.transAxes, ha="center")
        return
    shares, total = list(kept.shares.values()), sum(kept.tokens.values())
    lines = range(len(shares))
    axes.barh(lines, [each.value for each in shares], color=COLOURS[0], height=0.65)
    axes.errorbar(
        [each.value for each in shares],
        lines,
        xerr=spread(shares),
        fmt="none",
        ecolor="#000000",
        elinewidth=1.0,
    )
    names = [f"{kind} ({kept.tokens[kind] / total:.1%})" for kind in kept.shares]
    axes.set_yticks(lines, names)
    axes.invert_yaxis()
    axes.axvline(kept.share, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
