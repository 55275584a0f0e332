"""Figures for papers, as PDF, SVG and PNG with their data as CSV, and an index page.

No model runs. The index gives the reason for each missing figure.
"""

# In short: Figures for papers as PDF, SVG and PNG, with their data.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape as escape_html
from pathlib import Path
from typing import TYPE_CHECKING

from draftmark.reports._figures.bars import draw_speedups
from draftmark.reports._figures.clouds import draw_diversity, draw_quality
from draftmark.reports._figures.compute import draw_compute
from draftmark.reports._figures.dots import draw_acceptance, draw_differences
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.grids import draw_by_gamma, draw_by_position
from draftmark.reports._figures.kept import draw_kept
from draftmark.reports._figures.progress import draw_progress
from draftmark.reports._figures.run import DrawnRun
from draftmark.reports._figures.speeds import drafting_costs, draw_speeds, speeds_of
from draftmark.reports._figures.style import Paper, find_paper
from draftmark.reports._figures.sweep import draw_sweeps
from draftmark.reports._shared.content import escape_markdown
from draftmark.reports._shared.rows import ONE_SEED, trains_nothing
from draftmark.results import Results
from draftmark.text import printable_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"
_ENDINGS = ("pdf", "svg", "png", "csv")
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: auto; padding: 1rem }}
figure {{ margin: 0 0 3rem }}
img {{ max-width: 100%; background: #fff }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


@dataclass(frozen=True)
class Figures:
    """The report of a run's figures. `style`: one of PAPERS, or "" for the default."""

    style: str = ""

    def __call__(self, results: Results, directory: Path) -> dict[str, str | bytes]:
        """Return the files of the figures, with index.md and index.html, in one folder."""
        paper = find_paper(self.style)
        drawn, missing = drawings(results, directory, paper)
        files: dict[str, str | bytes] = {}
        for item in drawn:
            files |= item.files(paper)
        files["index.md"] = _markdown(results, drawn, missing)
        files["index.html"] = _html(results, drawn, missing)
        return {f"{FOLDER}/{name}": content for name, content in files.items()}

    def pictures(
        self, results: Results, directory: Path
    ) -> tuple[dict[str, Callable[[], "Figure"]], list[str]]:
        """Return what draws each figure, by name, and sentences on what is missing."""
        paper = find_paper(self.style)
        drawn, missing = drawings(results, directory, paper)
        return {item.name: partial(item.figure, paper) for item in drawn}, missing


def drawings(results: Results, directory: Path, paper: Paper) -> tuple[list[Drawing], list[str]]:
    """Return the figures of a run before drawing, and sentences on what is missing."""
    found = list(_figures(DrawnRun(results, directory, paper)))
    not_drawn = [item for item in found if isinstance(item, NotDrawn)]
    drawn = [item for item in found if isinstance(item, Drawing)]
    return drawn, [*_missing(results, not_drawn)]


def _figures(run: DrawnRun) -> Iterator[Drawing | NotDrawn]:
    speeds = speeds_of(run)
    costs = drafting_costs(speeds)
    yield draw_acceptance(run)
    yield from (draw_by_gamma(run, temperature, costs) for temperature in run.temperatures)
    yield from (draw_by_position(run, temperature) for temperature in run.temperatures)
    yield draw_speedups(run)
    yield draw_speeds(run, speeds)
    yield from (draw_compute(run, temperature) for temperature in run.temperatures)
    yield draw_progress(run)
    yield draw_kept(run)
    yield from draw_sweeps(run)
    yield draw_differences(run)
    yield draw_quality(run)
    yield draw_diversity(run)


def _missing(results: Results, not_drawn: Sequence[NotDrawn]) -> Iterator[str]:
    """Yield sentences on missing figures, failed cells and missing seeds."""
    for item in not_drawn:
        yield f"{item.name} is not drawn: {item.why}."
    for row in results.results:
        if row.failure:
            cell = row.cell
            name = f"{cell.method} on {cell.task}, {cell.pair}, seed {cell.seed}"
            yield f"{printable_text(name, 200)} failed: {printable_text(row.failure, 300)}"
    if len({row.cell.seed for row in results.results}) == 1 and not trains_nothing(results.results):
        yield ONE_SEED


def _markdown(results: Results, drawn: Sequence[Drawing], missing: Sequence[str]) -> str:
    parts = [f"# {escape_markdown(results.title)}: figures"]
    for item in drawn:
        links = ", ".join(f"[{ending.upper()}]({item.name}.{ending})" for ending in _ENDINGS)
        parts += [f"## {item.name}", f"![{item.name}]({item.name}.png)"]
        parts += [f"{escape_markdown(item.whole_caption)} {links}"]
    if missing:
        parts += ["## What is missing", "\n".join(f"- {escape_markdown(line)}" for line in missing)]
    return "\n\n".join(parts) + "\n"


def _html(results: Results, drawn: Sequence[Drawing], missing: Sequence[str]) -> str:
    """Return the index as HTML, which loads only the files beside it."""
    body = []
    for item in drawn:
        links = " ".join(
            f'<a href="{item.name}.{ending}">{ending.upper()}</a>' for ending in _ENDINGS
        )
        caption = escape_html(item.whole_caption)
        body.append(
            f'<figure id="{item.name}"><img src="{item.name}.svg" alt="{caption}">'
            f"<figcaption>{caption} {links}</figcaption></figure>"
        )
    if missing:
        lines = "\n".join(f"<li>{escape_html(printable_text(line))}</li>" for line in missing)
        body.append(f"<h2>What is missing</h2>\n<ul>\n{lines}\n</ul>")
    title = f"{escape_html(printable_text(results.title))}: figures"
    return _PAGE.format(title=title, body="\n".join(body))


REPORT = Figures()
