"""The leaderboard in Markdown: a row for each method, every number with its interval and n."""

from pathlib import Path

from draftmark.reports._shared.board import board_sections
from draftmark.reports._shared.checks import checks_section
from draftmark.reports._shared.content import escape_markdown, section_markdown
from draftmark.reports._shared.manifest import definitions_section, manifest_section
from draftmark.reports._shared.rows import by_task_and_pair
from draftmark.results import Results


def leaderboard(results: Results, directory: Path) -> dict[str, str]:
    """Return leaderboard.md: a section for each task and pair, checks, definitions, manifest."""
    sections = [f"# {escape_markdown(results.title)}"]
    for task, pair, rows in by_task_and_pair(results.results):
        sections.append(f"## {escape_markdown(task)}, {escape_markdown(pair)}")
        sections += map(section_markdown, board_sections(rows, results))
    sections += [checks_section(results), definitions_section(results), manifest_section(results)]
    return {"leaderboard.md": "\n\n".join(section for section in sections if section) + "\n"}


REPORT = leaderboard
