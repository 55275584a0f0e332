"""The page that shows all figures of a run, as HTML and as Markdown, and says what it lacks."""

from collections.abc import Sequence
from html import escape as html

from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._shared.markdown import escape
from draftmark.results import Results
from draftmark.text import plain

_ENDINGS = ("pdf", "svg", "png", "csv")
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: auto; padding: 1rem }}
figure {{ margin: 0 0 3rem }}
img {{ max-width: 100%; background: #fff }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def markdown(results: Results, drawn: Sequence[Drawing], lacks: Sequence[str]) -> str:
    """Return the page as Markdown."""
    parts = [f"# {escape(results.title)}: figures"]
    for item in drawn:
        links = ", ".join(f"[{ending.upper()}]({item.name}.{ending})" for ending in _ENDINGS)
        parts += [f"## {item.name}", f"![{item.name}]({item.name}.png)"]
        parts += [f"{escape(_said(item))} {links}"]
    if lacks:
        parts += ["## What is missing", "\n".join(f"- {escape(line)}" for line in lacks)]
    return "\n\n".join(parts) + "\n"


def page(results: Results, drawn: Sequence[Drawing], lacks: Sequence[str]) -> str:
    """Return the page as HTML; it needs nothing but the files beside it."""
    body = []
    for item in drawn:
        links = " ".join(
            f'<a href="{item.name}.{ending}">{ending.upper()}</a>' for ending in _ENDINGS
        )
        said = html(_said(item))
        body.append(
            f'<figure id="{item.name}"><img src="{item.name}.svg" alt="{said}">'
            f"<figcaption>{said} {links}</figcaption></figure>"
        )
    if lacks:
        lines = "\n".join(f"<li>{html(plain(line))}</li>" for line in lacks)
        body.append(f"<h2>What is missing</h2>\n<ul>\n{lines}\n</ul>")
    return _PAGE.format(title=f"{html(plain(results.title))}: figures", body="\n".join(body))


def lacking(results: Results, missing: Sequence[NotDrawn]) -> list[str]:
    """Return what a run lacks, in words: figures, cells that failed, seeds."""
    lines = [f"{item.name} is not drawn: {item.why}." for item in missing]
    for row in results.results:
        if row.failure:
            cell = row.cell
            who = f"{cell.method} on {cell.task}, {cell.pair}, seed {cell.seed}"
            lines.append(f"{plain(who, 200)} failed: {plain(row.failure, 300)}")
    if results.results and len({row.cell.seed for row in results.results}) == 1:
        lines.append("One seed: intervals are over prompts alone, of these drafts, not of methods.")
    return lines


def _said(item: Drawing) -> str:
    return " ".join(filter(None, (item.caption, item.left_out)))
