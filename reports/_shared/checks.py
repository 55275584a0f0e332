"""What the checks of fairness and leaks found: errors first, then the rows that splits share."""

from collections.abc import Iterator, Mapping
from typing import Any

from draftmark.reports._shared.markdown import escape, markdown
from draftmark.reports._shared.sections import Alert, Section, Table
from draftmark.results import Results

LOOKED_FOR = (
    "Looked for: test rows among train and validation rows; drafts made of test rows; numbers of "
    "different rows, texts, targets or speed settings; arms of speed runs with different prompts "
    "or length policies; text that the target did not write; training budgets, settings and seeds "
    "that differ between methods."
)


def warnings(results: Results) -> Iterator[Alert]:
    """Yield what a table has to say of errors, if there are any."""
    if errors := sum(finding.severity == "error" for finding in results.findings):
        yield Alert(f"Not fit to be compared: see the errors ({errors}) of the checks below.")


def checks(results: Results) -> str:
    """Return the section on what was found, and on what was looked for."""
    found = [
        f"- **{finding.severity}** {escape(finding.subject)}: {escape(finding.text)}"
        for finding in results.findings
    ]
    parts = ["## Checks of fairness and leaks", LOOKED_FOR, "\n".join(found) or "Nothing found."]
    return "\n\n".join([*parts, markdown(overlaps(results))])


def overlaps(results: Results) -> Section:
    """Return the rows that splits share, without a title."""
    body = dict.fromkeys(tuple(_overlap(item)) for item in _of_tasks(results))
    header = ["task", "rows", "part", "test rows", "same", "most", "some", "short", "for example"]
    note = (
        "Test rows that are in other rows too. Same: but for case, spaces and punctuation; most, "
        "some: with those whose word 13-grams, template text left out, are there for 80 % or more, "
        "20 % or more; short: fewer than 13 words of their own, so looked for as a whole only."
    )
    return Section("", [Table(header, list(body), "lllrrrrrl"), note])


def _of_tasks(results: Results) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((item["task"], overlap) for item in results.data for overlap in item["overlaps"])


def _overlap(found: tuple[str, Mapping[str, Any]]) -> Iterator[str]:
    task, item = found
    yield from (task, f"{item['rows']} {item['group']}", item["part"])
    counts = ("test_rows", "duplicates", "copied", "partly", "short")
    yield from (str(item[name]) for name in counts)
    yield ", ".join(f"{match['test_id']} in {match['other_id']}" for match in item["examples"][:2])
