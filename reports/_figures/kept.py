"""The figure of AdaSPEC's token selection: loss gaps of tokens, and kept shares by token type."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from draftmark.analysis import statistics
from draftmark.reports._figures import style
from draftmark.reports._figures.drawing import Drawing, NotDrawn, Value
from draftmark.reports._figures.run import DrawnRun, first_few
from draftmark.results import Contender, Number
from draftmark.store.records import SELECTION, read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TYPES = ("word", "number", "operator", "punctuation", "whitespace", "end", "other")
_MOST_ROWS, _ROW_INCHES, _BINS = 5, 1.95, 40
_TAIL = 0.005  # share of the gaps beyond the bins on each side
_ALSO_OPERATORS = "*/%^&|~-"  # operators that Unicode has in other categories


@dataclass(frozen=True)
class Kept:
    """The token selection of a contender's training runs: gaps, and kept tokens by type."""

    edges: list[float]  # edges of the bins, in nats
    kept: list[int]  # kept tokens in each bin
    dropped: list[int]  # dropped tokens in each bin
    shares: Mapping[str, Number]  # kept share by token type; intervals over training rows
    tokens: Mapping[str, int]  # number of tokens by token type
    share: float  # kept share of all tokens


def draw_kept(run: DrawnRun) -> Drawing | NotDrawn:
    """Return the figure of kept tokens by loss gap and by type."""
    name = "kept-tokens"
    found = {item: kept for item in run.numbers if (kept := _kept(run, item))}
    if not found:
        why = "no method recorded which tokens it kept, as adaspec does, or its records are missing"
        return NotDrawn(name, why)
    shown, left = first_few(list(found), _MOST_ROWS, "selections")
    return Drawing(
        name,
        "The kept tokens of 16 steps, spread evenly over training, from all seeds. Left: tokens by "
        "loss gap (the draft's loss minus the reference's, in nats); the outermost bars include "
        f"the tail, {_TAIL:.1%} on each side. Right: the kept share of each type's tokens, with "
        "95% intervals over training rows, and the type's share of all tokens; the dashed line is "
        "the kept share of all tokens.",
        (run.paper.page, len(shown) * _ROW_INCHES + 0.35),
        (
            *(Contender, "part", "gap_from", "gap_to", "token_type"),
            *("kept", "tokens", "share", "low", "high"),
        ),
        [row for item, kept in found.items() for row in _rows(item, kept)],
        lambda figure: _fill(figure, run, {item: found[item] for item in shown}),
        left,
    )


def token_type(token: str, *, special: bool = False) -> str:
    """Return the type of a token, one of TYPES.

    A special token is an end; a text with a letter is a word, else with a digit a number, else with
    a mathematical sign an operator.
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


def _kept(run: DrawnRun, contender: Contender) -> Kept | None:
    folders = [run.directory / row.records for row in run.cells(contender) if row.records]
    files = [folder / SELECTION for folder in folders if (folder / SELECTION).is_file()]
    rows = [row for file in files for row in read_rows(file)]
    if not rows:
        return None
    gaps, kept = (np.array([row[name] for row in rows]) for name in ("gap", "kept"))
    low, high = np.quantile(gaps, [_TAIL, 1 - _TAIL])
    width = max(high - low, 1e-6) / _BINS  # no bin has gaps of both signs
    edges = width * np.arange(np.floor(low / width), np.ceil(high / width) + 2)
    inside = np.clip(gaps, edges[0], edges[-1])
    kept_bins, dropped_bins = (np.histogram(inside[k], edges)[0].tolist() for k in (kept, ~kept))
    known = [row for row in rows if row["token"] is not None]
    types = [token_type(row["token"], special=row["special"]) for row in known]
    common = Counter(types)
    shares = {
        kind: _share([row for row, each in zip(known, types, strict=True) if each == kind])
        for kind in TYPES
        if common[kind]
    }
    return Kept(edges.tolist(), kept_bins, dropped_bins, shares, common, float(kept.mean()))


def _share(rows: Sequence[Mapping[str, object]]) -> Number:
    """Return the kept share of tokens; the unit of its interval is the training row."""
    tokens = Counter(row["example_id"] for row in rows)
    kept = Counter(row["example_id"] for row in rows if row["kept"])
    kept_by_row = [float(kept[name]) for name in tokens]
    return statistics.estimate_ratio(
        kept_by_row,
        list(map(float, tokens.values())),
        "kept tokens / tokens",
        statistics.SHARE,
    )


def _rows(contender: Contender, kept: Kept) -> Iterator[tuple[Value | Contender, ...]]:
    for low, high, num_kept, dropped in zip(
        kept.edges[:-1], kept.edges[1:], kept.kept, kept.dropped, strict=True
    ):
        bounds = ("gap", low, high, None)
        yield (contender, *bounds, num_kept, num_kept + dropped, None, None, None)
    for kind, share in kept.shares.items():
        num_kept = round(share.value * kept.tokens[kind])
        numbers = (num_kept, kept.tokens[kind], share.value, share.low, share.high)
        yield (contender, "type", None, None, kind, *numbers)


def _fill(figure: "Figure", run: DrawnRun, found: Mapping[Contender, Kept]) -> None:
    grid = figure.subplots(len(found), 2, squeeze=False)
    for (left, right), (contender, kept) in zip(grid, found.items(), strict=True):
        place = run.title((contender.task, contender.pair))
        left.set_title(f"{style.font_label(run.name(contender.method))}, {place}", loc="left")
        _gaps(left, kept)
        _types(right, kept)
    grid[-1][0].set_xlabel("loss gap (nats)")
    grid[-1][1].set_xlabel("kept share of a type's tokens")


def _gaps(axes: "Axes", kept: Kept) -> None:
    width = kept.edges[1] - kept.edges[0]
    looks = (
        ("kept", kept.kept, [0] * len(kept.kept), style.COLOURS[0], ""),
        ("dropped", kept.dropped, kept.kept, "#dddddd", "////"),
    )
    for name, heights, below, colour, hatch in looks:
        axes.bar(
            kept.edges[:-1],
            heights,
            width,
            bottom=below,
            align="edge",
            color=colour,
            edgecolor="white" if not hatch else style.GREY,
            hatch=hatch,
            linewidth=0.3,
            label=name,
        )
    axes.axvline(0, **style.REFERENCE)
    axes.set_ylabel("tokens")
    axes.legend()


def _types(axes: "Axes", kept: Kept) -> None:
    if not kept.shares:
        axes.text(0.5, 0.5, "token texts not recorded", transform=axes.transAxes, ha="center")
        return
    shares, total = list(kept.shares.values()), sum(kept.tokens.values())
    lines = range(len(shares))
    values = [each.value for each in shares]
    axes.barh(lines, values, color=style.COLOURS[0], height=0.65)
    black: Mapping[str, Any] = {"fmt": "none", "ecolor": "#000000", "elinewidth": 1.0}
    axes.errorbar(values, lines, xerr=style.error_bars(shares), **black)
    names = [f"{kind} ({kept.tokens[kind] / total:.1%})" for kind in kept.shares]
    axes.set_yticks(lines, names)
    axes.invert_yaxis()
    axes.axvline(kept.share, **style.REFERENCE)
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
