"""How figures look, and how they become bytes: the same for the same numbers.

matplotlib is imported where a figure is drawn, never with the module. Figures are made without
pyplot: no window, no global state.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from draftmark.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by readers with any colour vision; yellow is too pale here.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")  # once the colours are used up
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
HATCHES = ("", "////", "....", "xxxx")
GREY = "#666666"
DOTS_PER_INCH, PRINTED_DOTS_PER_INCH = 150, 300
COLUMN, PAGE = 3.25, 6.75  # inches: the width of a column, and of a page of two
LONGEST_LABEL = 34

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
    "text.parse_math": False,  # names come of recipes: a $ in one is a $
}
# In a paper, at the width that it is printed: nothing is scaled, so 8 pt are 8 pt.
_PRINTED = _STYLE | {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType: journals refuse what matplotlib writes by default
    "svg.fonttype": "path",
    "svg.hashsalt": "draftmark",
}
# No version, no date: the same numbers give the same bytes.
_METADATA: Mapping[str, Mapping[str, None]] = {
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Look:
    """How a method looks in every figure of a run."""

    colour: str
    marker: str
    dash: str

    @classmethod
    def of(cls, place: int) -> "Look":
        """Return the look of the method at some place of a recipe."""
        dash = DASHES[place // len(COLOURS) % len(DASHES)]
        return cls(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], dash)

    @property
    def point(self) -> dict[str, Any]:
        """What draws a point."""
        return {"color": self.colour, "marker": self.marker, "linestyle": "none"}

    @property
    def line(self) -> dict[str, Any]:
        """What draws a line with its points."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dash}


def colours_in_order(number: int) -> list[str]:
    """Return colours for an ordered quantity, dark to light, also told apart in grey."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shades = [0.88 * index / max(number - 1, 1) for index in range(number)]
    return [to_hex(colormaps["viridis"](shade)) for shade in shades]


def draw(
    rows: int, columns: int, panel_inches: tuple[float, float], fill: Callable[["Figure"], None]
) -> bytes:
    """Return the PNG of a figure of rows x columns panels that `fill` draws."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = panel_inches
    with _style(_STYLE):
        figure = Figure(
            figsize=(width * columns, height * rows), dpi=DOTS_PER_INCH, layout="constrained"
        )
        FigureCanvasAgg(figure)
        fill(figure)
        return _bytes(figure, "png")


def printed(inches: tuple[float, float], fill: Callable[["Figure"], None]) -> dict[str, bytes]:
    """Return the PDF, SVG and PNG, by their endings, of a figure for a paper that `fill` draws."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _style(_PRINTED):
        figure = Figure(figsize=inches, dpi=PRINTED_DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        fill(figure)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it is laid out: once for all formats
        return {ending: _bytes(figure, ending) for ending in _METADATA}


def in_rows(number: int, columns: int) -> list[int]:
    """Return how many of some panels stand in each row, where it has room for so many."""
    return [min(columns, number - start) for start in range(0, number, columns)]


def panels(figure: "Figure", rows: Sequence[int]) -> list["Axes"]:
    """Return the panels, row by row, of a grid whose row r has rows[r] of them."""
    grid = figure.subplots(len(rows), max(rows), squeeze=False)
    for row, number in enumerate(rows):
        for axes in grid[row][number:]:
            axes.remove()
    return [axes for row, number in enumerate(rows) for axes in grid[row][:number]]


def named_panels(figure: "Figure", number: int, columns: int, across: str, up: str) -> list["Axes"]:
    """Return so many panels in rows, their axes named at the left and below the last row."""
    sizes = in_rows(number, columns)
    every = panels(figure, sizes)
    for axes in every[::columns]:
        axes.set_ylabel(up)
    for axes in every[-sizes[-1] :]:
        axes.set_xlabel(across)
    return every


def label(text: str, longest: int = LONGEST_LABEL) -> str:
    """Return a name as a label: cut where it is long, of characters that the font has."""
    shown = plain(text, longest).partition("… (")[0]
    cut = f"{shown}…" if len(text) > longest else shown
    known = "".join(mark if ord(mark) in _font() else "\ufffd" for mark in cut)
    # matplotlib leaves what starts with an underscore out of legends.
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
    """Use this style alone, whatever a person's matplotlibrc says."""
    from matplotlib import style

    with style.context(["default", dict(settings)]):
        yield
