"""Figures for papers, as PDF, SVG and PNG with their data as CSV, in a folder with an index.

Nothing is run. What a run has no data for is not drawn, and the index says why.
"""

from collections.abc import Iterator
from pathlib import Path

from draftmark.reports._figures import (
    acceptance,
    compute,
    differences,
    diversity,
    gammas,
    index,
    kept,
    positions,
    quality,
    speeds,
)
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.run import Run
from draftmark.results import Results

FOLDER = "figures"


def figures(results: Results, directory: Path) -> dict[str, str | bytes]:
    """Return the files of all figures of a run, and index.md and index.html, in one folder."""
    run = Run(results, directory)
    found = list(_all(run))
    drawn = [item for item in found if isinstance(item, Drawing)]
    missing = [item for item in found if isinstance(item, NotDrawn)]
    lacks = index.lacking(results, missing)
    files: dict[str, str | bytes] = {}
    for item in drawn:
        files |= item.files()
    files |= {
        "index.md": index.markdown(results, drawn, lacks),
        "index.html": index.page(results, drawn, lacks),
    }
    return {f"{FOLDER}/{name}": content for name, content in files.items()}


def _all(run: Run) -> Iterator[Drawing | NotDrawn]:
    measured = speeds.speeds(run)
    yield from acceptance.figures(run)
    yield from gammas.figures(run, speeds.costs(measured))
    yield from positions.figures(run)
    yield from speeds.figures(run, measured)
    yield from compute.figures(run)
    yield from kept.figures(run)
    yield from differences.figures(run)
    yield from quality.figures(run)
    yield from diversity.figures(run)


REPORT = figures
