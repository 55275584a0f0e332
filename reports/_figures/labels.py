"""Labels at the ends of lines, beside their panel, placed without overlaps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

_END = "end of a line"  # marks the annotations that are placed
_BESIDE = 1.05  # left edge of labels, in widths of the panel
_LINE_HEIGHT = 1.25  # font sizes


def label_end(axes: "Axes", end: tuple[float, float], text: str, colour: str) -> None:
    """Write a name beside the panel, with a thin line to the end of its curve.

    `place_labels` moves the name once the figure is laid out.
    """
    note = axes.annotate(
        text,
        end,
        (_BESIDE, end[1]),
        textcoords=axes.get_yaxis_transform(),
        va="center",
        fontsize=axes.yaxis.get_ticklabels()[0].get_fontsize(),
        arrowprops={
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.7,
            "relpos": (0, 0.5),  # at the middle of the name's left side
            "shrinkA": 1,
        },
        annotation_clip=False,
    )
    note.set_label(_END)


def place_labels(figure: "Figure") -> None:
    """Move the labels of each panel apart; the figure's layout must be final."""
    from matplotlib.text import Annotation

    for axes in figure.axes:
        found = [item for item in axes.texts if isinstance(item, Annotation)]
        labels = [item for item in found if item.get_label() == _END]
        if labels:
            _place(axes, labels, figure.dpi / 72)


def _place(axes: "Axes", labels: Sequence["Annotation"], dots: float) -> None:
    """Move labels along the right side of a panel; `dots`: pixels of a point."""
    height = _LINE_HEIGHT * float(labels[0].get_fontsize()) * dots
    wanted = [float(axes.transData.transform(label.xy)[1]) for label in labels]
    box = axes.bbox
    middles = spread_apart(wanted, height, box.y0 + height / 2, box.y1 - height / 2)
    for label, middle in zip(labels, middles, strict=True):
        label.xyann = (_BESIDE, float(axes.transData.inverted().transform((0, middle))[1]))


def spread_apart(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Return the places nearest to those wanted, by least squares, that are `apart` or more.

    All lie from `low` to `high`; if they do not fit there, they extend equally beyond both ends.
    The order stays. Places less i * apart do not fall, so they are an isotonic regression.
    """
    from scipy.optimize import isotonic_regression

    beyond = max(0.0, (len(wanted) - 1) * apart - (high - low)) / 2
    order = np.argsort(wanted, kind="stable")
    steps = apart * np.arange(len(wanted))
    found = isotonic_regression(np.asarray(wanted)[order] - steps).x
    found = np.clip(found, low - beyond, high + beyond - steps[-1]) + steps
    return [float(found[place]) for place in np.argsort(order)]
