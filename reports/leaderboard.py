"""The leaderboard in Markdown: the verdict, then a row for each method with intervals and n."""

# In short: The leaderboard in Markdown: the verdict, then the methods.

from pathlib import Path

from draftmark.reports._shared.board import board_sections
from draftmark.reports._shared.checks import checks_section
from draftmark.reports._shared.content import escape_markdown, section_markdown
from draftmark.reports._shared.handover import advised, handover_section
from draftmark.reports._shared.manifest import definitions_section, manifest_section
from draftmark.reports._shared.rows import by_task_and_pair
from draftmark.reports._shared.verdict import alarm, limits_of, overall_verdict, verdicts
from draftmark.results import Results


def leaderboard(results: Results, directory: Path) -> dict[str, str]:
    """Return leaderboard.md: verdict, a section for each task and pair, checks, definitions."""
    found = verdicts(results, directory)
    said = (*alarm(results), overall_verdict(found), " ".join(limits_of(results)))
    sections = [f"# {escape_markdown(results.title)}", *map(escape_markdown, said)]
    sections.append(handover_section(results, advised(results, directory, found, results.results)))
    for (task, pair, rows), item in zip(by_task_and_pair(results.results), found, strict=True):
        sections.append(f"## {escape_markdown(task)}, {escape_markdown(pair)}")
        sections += [escape_markdown(item.text)] * (len(found) > 1)
        sections += map(section_markdown, board_sections(rows, results))
    sections += [checks_section(results), definitions_section(results), manifest_section(results)]
    return {"leaderboard.md": "\n\n".join(section for section in sections if section) + "\n"}


REPORT = leaderboard
