"""How figures look, and how they become bytes: the same for the same numbers.

matplotlib is imported where a figure is drawn, never with the module. Figures are made without
pyplot: no window, no global state.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by readers with any colour vision; yellow is too pale here.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")  # once the colours are used up
GREY = "#666666"
DOTS_PER_INCH = 150

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
    with _style():
        figure = Figure(
            figsize=(width * columns, height * rows), dpi=DOTS_PER_INCH, layout="constrained"
        )
        FigureCanvasAgg(figure)
        fill(figure)
        stream = BytesIO()
        # No version, no date: the same numbers give the same bytes.
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def panels(figure: "Figure", rows: Sequence[int]) -> list["Axes"]:
    """Return the panels, row by row, of a grid whose row r has rows[r] of them."""
    grid = figure.subplots(len(rows), max(rows), squeeze=False)
    for row, number in enumerate(rows):
        for axes in grid[row][number:]:
            axes.remove()
    return [axes for row, number in enumerate(rows) for axes in grid[row][:number]]


@contextmanager
def _style() -> Iterator[None]:
    """Use this style alone, whatever a person's matplotlibrc says."""
    from matplotlib import style

    with style.context(["default", _STYLE]):
        yield
