"""The style and the files of figures: equal numbers give equal bytes.

Matplotlib is imported only inside functions. Figures are made without pyplot: no window, no global
state.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from draftmark.errors import unknown_name_error
from draftmark.reports._figures.labels import place_labels
from draftmark.results import Number
from draftmark.text import printable_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinct for any colour vision; their yellow is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")  # the next dash once all colours are used
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
GREY = "#666666"
DOTS_PER_INCH, PRINTED_DOTS_PER_INCH = 150, 300
LONGEST_LABEL = 34  # characters
OTHERS, OTHERS_BAND = "#bdbdbd", "#e4e4e4"  # the methods that are not named in a picture
# Line of the value to compare with; marks of the target alone.
REFERENCE: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (4, 2))}
TARGET: dict[str, Any] = {"color": "#000000", "marker": "*", "markersize": 6, "linestyle": "-"}
_LETTER_INCHES, _HANDLE_INCHES, _LEGEND_ROW_INCHES = 0.054, 0.37, 0.145
_PAD_INCHES = 0.04  # around a figure
_RATIO_TICKS = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]
_WIDE_SPREAD = 10  # a larger ratio of values has a logarithmic axis

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,  # a $ in a recipe's names is a $
}
# For a paper, at the printed width: figures are not scaled, so 8 pt stay 8 pt.
_PRINTED = _STYLE | {
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType: journals refuse matplotlib's default, Type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "draftmark",
}
# No version and no date, so that equal numbers give equal bytes.
_METADATA: Mapping[str, Mapping[str, None]] = {
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Paper:
    """The widths and fonts of a paper's figures; `page` is the width of its text."""

    column: float = 3.25  # inches
    page: float = 6.75  # inches
    size: float = 8  # points; ticks and legends have one less
    fonts: tuple[str, ...] = ("DejaVu Sans",)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of matplotlib."""
        sizes = ("font.size", "axes.titlesize", "axes.labelsize", "figure.labelsize")
        small = ("xtick.labelsize", "ytick.labelsize", "legend.fontsize")
        return (
            _PRINTED
            | {"font.family": list(self.fonts)}
            | dict.fromkeys(sizes, self.size)
            | dict.fromkeys(small, self.size - 1)
        )


# STIX has the shapes of Times and comes with matplotlib: a figure is the same on all machines.
# DejaVu Sans has the characters that STIX lacks.
_TIMES = ("STIXGeneral", "DejaVu Sans")
# Widths: the style files of the conferences. NeurIPS has one column, a part of which is wrapped.
PAPERS: Mapping[str, Paper] = {
    "": Paper(),
    "neurips": Paper(3.25, 5.5, 9, _TIMES),
    "icml": Paper(3.25, 6.75, 9, _TIMES),
    "acl": Paper(3.03, 6.3, 9, _TIMES),
}


def find_paper(name: str) -> Paper:
    """Return the paper of a name; raises UserError for an unknown one."""
    if name not in PAPERS:
        raise unknown_name_error("style", name, sorted(filter(None, PAPERS)))
    return PAPERS[name]


@dataclass(frozen=True)
class Look:
    """The colour, marker and dash of a method, the same in every figure of a run."""

    colour: str
    marker: str
    dash: str

    @classmethod
    def of(cls, place: int) -> "Look":
        """Return the look of the method at a place in the recipe."""
        dash = DASHES[place // len(COLOURS) % len(DASHES)]
        return cls(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], dash)

    @classmethod
    def shape(cls, place: int) -> "Look":
        """Return a black look that differs by marker and dash."""
        return cls("#000000", MARKERS[place % len(MARKERS)], DASHES[place % len(DASHES)])

    @property
    def point(self) -> dict[str, Any]:
        """Settings of a point."""
        return {"color": self.colour, "marker": self.marker, "linestyle": "none"}

    @property
    def line(self) -> dict[str, Any]:
        """Settings of a line with its points."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dash}


OTHER = Look(OTHERS, "o", "-")


def ordered_colours(number: int) -> list[str]:
    """Return colours for an ordered quantity, dark to light, also distinct in grey."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shades = [0.88 * index / max(number - 1, 1) for index in range(number)]
    return [to_hex(colormaps["viridis"](shade)) for shade in shades]


def interval_ends(numbers: Sequence[Number]) -> tuple[list[float], list[float], list[float]]:
    """Return (values, lows, highs) of numbers; a number without interval has its value as ends."""
    lows = [each.value if each.low is None else each.low for each in numbers]
    highs = [each.value if each.high is None else each.high for each in numbers]
    return [each.value for each in numbers], lows, highs


def error_bars(numbers: Sequence[Number]) -> list[list[float]]:
    """Return the lengths of intervals below and above their values; 0 without an interval."""
    values, lows, highs = interval_ends(numbers)
    return [
        [max(0.0, value - low) for value, low in zip(values, lows, strict=True)],
        [max(0.0, high - value) for value, high in zip(values, highs, strict=True)],
    ]


def draw_png(
    rows: int, columns: int, panel_inches: tuple[float, float], fill: Callable[["Figure"], None]
) -> bytes:
    """Return the PNG of rows x columns panels of `panel_inches`; `fill` draws them."""
    width, height = panel_inches
    with _style(_STYLE):
        figure = _filled((width * columns, height * rows), DOTS_PER_INCH, fill)
        return _bytes(figure, "png")


def paper_files(
    inches: tuple[float, float],
    fill: Callable[["Figure"], None],
    paper: Paper,
    endings: Iterable[str] = ("pdf", "svg", "png"),
) -> dict[str, bytes]:
    """Return a paper's figure in formats, by file ending; `fill` draws it."""
    with _style(paper.settings):
        figure = paper_figure(inches, fill, paper)
        return {ending: _bytes(figure, ending) for ending in endings}


def paper_figure(
    inches: tuple[float, float], fill: Callable[["Figure"], None], paper: Paper
) -> "Figure":
    """Return a paper's figure, laid out; `fill` draws it."""
    with _style(paper.settings):
        figure = _filled(inches, PRINTED_DOTS_PER_INCH, fill)
        _lay_out(figure)
        figure.set_layout_engine("none")  # laid out once for all formats
        place_labels(figure)
        return figure


def _lay_out(figure: "Figure") -> None:
    """Lay a figure out; repeat it more narrowly if the label of the last tick would be cut."""
    figure.draw_without_rendering()
    beyond = figure.get_tightbbox().x1 - figure.get_figwidth()
    if beyond > 0:
        kept = 1 - (beyond + _PAD_INCHES) / figure.get_figwidth()
        figure.set_layout_engine("constrained", rect=(0, 0, kept, 1))
        figure.draw_without_rendering()


def _filled(inches: tuple[float, float], dots: int, fill: Callable[["Figure"], None]) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=dots, layout="constrained")
    FigureCanvasAgg(figure)
    fill(figure)
    return figure


def in_rows(number: int, columns: int) -> list[int]:
    """Return the number of panels in each row of at most `columns`."""
    return [min(columns, number - start) for start in range(0, number, columns)]


def add_panels(figure: "Figure", rows: Sequence[int]) -> list["Axes"]:
    """Return the panels, row by row, of a new grid with rows[r] panels in row r."""
    grid = figure.subplots(len(rows), max(rows), squeeze=False)
    for row, number in enumerate(rows):
        for axes in grid[row][number:]:
            axes.remove()
    return [axes for row, number in enumerate(rows) for axes in grid[row][:number]]


def named_panels(figure: "Figure", number: int, columns: int, across: str, up: str) -> list["Axes"]:
    """Return panels in rows, with axis labels on the left and below the last row."""
    sizes = in_rows(number, columns)
    every = add_panels(figure, sizes)
    for axes in every[::columns]:
        axes.set_ylabel(up)
    for axes in every[-sizes[-1] :]:
        axes.set_xlabel(across)
    return every


def scale_ratios(axes: "Axes", which: Literal["x", "y"], values: Iterable[float]) -> None:
    """Give an axis of ratios a logarithmic scale if their spread is more than a factor of 10."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    found = [value for value in values if value > 0]
    if found and max(found) > _WIDE_SPREAD * min(found):
        axes.set(**{f"{which}scale": "log"})
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_locator(FixedLocator(_RATIO_TICKS))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def legend_inches(names: Collection[str], width: float) -> float:
    """Return the height of a legend below a figure."""
    return -(-len(names) // legend_columns(names, width)) * _LEGEND_ROW_INCHES + 0.15


def legend(
    figure: "Figure",
    looks: Mapping[str, Look],
    *,
    points: Collection[str] = (),
    target: str | None = None,
    beside: bool = False,
) -> None:
    """Draw the legend of methods below a figure, or beside it.

    `points`: methods drawn without lines; `target`: the target's name if the target is drawn.
    """
    from matplotlib.lines import Line2D

    styles = [look.point if name in points else look.line for name, look in looks.items()]
    names = [font_label(name) for name in looks]
    if target:
        alone = {"linestyle": "none"} if looks.keys() <= set(points) else {}
        styles.append(TARGET | alone)
        names.append(target)
    handles = [Line2D([], [], **style) for style in styles]
    columns = 1 if beside else legend_columns(names, figure.get_figwidth())
    loc: Literal["outside right center", "outside lower center"]
    loc = "outside right center" if beside else "outside lower center"
    figure.legend(handles, names, loc=loc, ncols=columns)


def legend_columns(names: Collection[str], inches: float) -> int:
    """Return the number of columns of a legend in a figure of this width."""
    longest = max((len(font_label(name)) for name in names), default=1)
    most = max(1, int(inches / (longest * _LETTER_INCHES + _HANDLE_INCHES)))
    return max(1, min(most, len(names)))


def font_label(text: str, longest: int = LONGEST_LABEL) -> str:
    """Return a name shortened and limited to the font's characters."""
    shown = printable_text(text, longest).partition("… (")[0]
    cut = f"{shown}…" if len(text) > longest else shown
    known = "".join(mark if ord(mark) in _font() else "\ufffd" for mark in cut)
    # matplotlib omits labels that start with an underscore from legends.
    return f" {known}" if known.startswith("_") else known


@cache
def _font() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap())


def _bytes(figure: "Figure", ending: str) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format=ending, metadata=dict(_METADATA[ending]))
    return stream.getvalue()


@contextmanager
def _style(settings: Mapping[str, Any]) -> Iterator[None]:
    """Use this style alone, ignoring the user's matplotlibrc."""
    from matplotlib import style

    with style.context(["default", dict(settings)]):
        yield
