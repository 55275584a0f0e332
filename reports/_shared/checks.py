"""The findings of the checks of fairness and leaks, and the rows that occur in two splits."""

from collections.abc import Iterator

from draftmark.analysis.gate.made_by import WITHIN_TEXTS, made_by
from draftmark.analysis.text_artefacts import artefact_warnings
from draftmark.reports._shared.content import (
    Alert,
    Section,
    Table,
    escape_markdown,
    section_markdown,
)
from draftmark.results import Results

LOOKED_FOR = (
    "Checked for: test rows among train and validation rows; drafts built from test rows; numbers "
    "from different rows, texts, targets or speed settings; speed arms with different prompts or "
    "length policies; text that the target did not write, or that is cut, empty or repeats itself; "
    "methods with different training budgets, settings or seeds; end tokens that differ between a "
    "model's files, tokens without a row, drafts of a shorter context."
)


LOOKED_FOR_AT_SERVERS = (
    "A server was measured from outside. Checked for: replies that are cut, or without text; text "
    "and tokens that did not arrive together; requests of other clients; missing counts. What "
    "trained its draft is not known here, test rows included."
)


def error_alerts(results: Results) -> Iterator[Alert]:
    """Yield the alert for tables of numbers, if a check found errors."""
    if errors := sum(finding.severity == "error" for finding in results.findings):
        yield Alert(f"Do not compare these numbers: the checks below found errors ({errors}).")


def verdict_alerts(results: Results, task: str = "", pair: str = "") -> Iterator[Alert]:
    """Yield the alerts to stand beside verdicts: odd texts, and drafted tokens of an old count."""
    yield from (Alert(f"Warning: {text}.") for text in artefact_warnings(results, task, pair))
    if made_by(results).get("counting", {}).get("drafted") == WITHIN_TEXTS:
        yield Alert(
            "An older version counted the drafted tokens of this run, and left out those beyond a "
            "text's end: shares of drafted tokens, break-even costs and expected speedups are too "
            "high. Run the recipe again; drafts and texts stay in the store."
        )


def checks_section(results: Results) -> str:
    """Return the Markdown section of the checks and their findings."""
    found = [
        f"- **{finding.severity}** {escape_markdown(finding.subject)}: "
        f"{escape_markdown(finding.text)}"
        for finding in results.findings
    ]
    heading, listed = "## Checks of fairness and leaks", "\n".join(found) or "Nothing found."
    parts = [heading, looked_for(results), listed]
    overlaps = [section_markdown(overlap_section(results))] if results.server is None else []
    return "\n\n".join([*parts, *overlaps])


def looked_for(results: Results) -> str:
    """Return what the checks look for: in a run of a recipe, or at a server."""
    return LOOKED_FOR if results.server is None else LOOKED_FOR_AT_SERVERS


def overlap_section(results: Results) -> Section:
    """Return the table of test rows that also occur in other splits, without a heading."""
    counts = ("test_rows", "duplicates", "copied", "partly", "short")
    body = [
        (
            *(item["task"], f"{overlap['rows']} {overlap['group']}", overlap["part"]),
            *(str(overlap[name]) for name in counts),
            ", ".join(f"{m['test_id']} in {m['other_id']}" for m in overlap["examples"][:2]),
        )
        for item in results.data
        for overlap in item["overlaps"]
    ]
    header = ["task", "rows", "part", "test rows", "same", "most", "some", "short", "for example"]
    note = (
        "Test rows that also occur among other rows. Same: equal up to case, spaces and "
        "punctuation. Most, some: also rows that share at least 80% or 20% of their word "
        "13-grams, without template text. Short: rows of fewer than 13 words outside the template, "
        "which are compared only as a whole."
    )
    return Section("", [Table(header, list(dict.fromkeys(body)), "lllrrrrrl"), note])
