"""The opening of a report as plain text, for a terminal."""

import html
import re
import textwrap
from collections.abc import Sequence
from itertools import takewhile

LINES = 12  # of a report's opening on a terminal


def opening(markdown: str) -> str:
    """Return the opening of a Markdown file as plain text: its blocks before the first table.

    It has at most LINES lines of 80 columns, unless the title and the block after it have more. Of
    a longer list it has the first items.
    """
    shown: list[list[str]] = []
    blocks = [it for it in re.split(r"\n{2,}", markdown.strip()) if not it.startswith("![")]
    for block in takewhile(lambda block: not block.startswith(("|", "```")), blocks):
        items = _plain_items(block)
        room = LINES - sum(map(len, shown)) if len(shown) > 1 else LINES + sum(map(len, items))
        lines = _fitting(items, room)
        if not lines:
            break
        shown.append(lines)
    if blocks[len(shown) - 1].startswith("## "):  # the heading of what is left out
        shown.pop()
    return "\n".join(line for lines in shown for line in lines)


def _plain_items(block: str) -> list[list[str]]:
    """Return the lines of each item of a list, or of a block, without marks, in 80 columns."""
    plain = html.unescape(re.sub(r"\\([\\|`\[\]])", r"\1", block)).replace("**", "")
    items = plain.split("\n") if plain.startswith("- ") else [re.sub(r"^#+ ", "", plain)]
    hanging = "  " * plain.startswith("- ")
    return [textwrap.wrap(" ".join(it.split()), 80, subsequent_indent=hanging) for it in items]


def _fitting(items: Sequence[list[str]], room: int) -> list[str]:
    """Return the lines of the items that fit into `room` lines; the last line counts the others."""
    if sum(map(len, items)) <= room:
        return [line for lines in items for line in lines]
    fit = [n for n in range(1, len(items)) if sum(map(len, items[:n])) < room]
    lines = [line for item in items[: fit[-1] if fit else 0] for line in item]
    return [*lines, f"- and {len(items) - fit[-1]} more"] if fit else []
