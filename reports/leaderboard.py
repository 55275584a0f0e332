"""The leaderboard in Markdown: a row for each method, every number with its interval and n."""

from itertools import groupby
from pathlib import Path

from draftmark.reports._shared.board import board
from draftmark.reports._shared.checks import checks
from draftmark.reports._shared.definitions import definitions
from draftmark.reports._shared.manifest import manifest
from draftmark.reports._shared.markdown import escape, markdown
from draftmark.results import Results


def leaderboard(results: Results, directory: Path) -> dict[str, str]:
    """Return leaderboard.md: the table of each task and pair, then what it rests on."""
    sections = [f"# {escape(results.title)}"]
    for (task, pair), group in groupby(results.results, key=lambda r: (r.cell.task, r.cell.pair)):
        sections.append(f"## {escape(task)}, {escape(pair)}")
        sections += map(markdown, board(list(group), results))
    sections += [checks(results), _definitions(results), manifest(results)]
    return {"leaderboard.md": "\n\n".join(section for section in sections if section) + "\n"}


def _definitions(results: Results) -> str:
    known = definitions(results)
    listed = [f"- `{key}`: {escape('; '.join(texts))}" for key, texts in sorted(known.items())]
    return "## Definitions\n\n" + "\n".join(listed) if listed else ""


REPORT = leaderboard
