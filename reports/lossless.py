"""The checks that the engine is lossless with each draft: verdicts and evidence."""

# In short: The checks that the engine is lossless with each draft.

from pathlib import Path

from draftmark.reports._shared.content import escape_markdown, markdown_table
from draftmark.reports._shared.outcome import Facts, render_outcome
from draftmark.results import Results

FILE = "lossless.json"  # written by `draftmark verify`


def lossless(results: Results, directory: Path) -> dict[str, str]:
    """Return lossless.md; raises UserError without lossless.json."""
    return render_outcome(
        directory / FILE,
        "draftmark verify",
        lambda outcome: {"lossless.md": _markdown(results.title, outcome)},
    )


def _markdown(title: str, outcome: Facts) -> str:
    checks = outcome["checks"]
    failed = sum(not check["passed"] for check in checks)
    verdict = f"{failed} of {len(checks)} checks failed" if failed else "All checks passed"
    body = [
        [
            escape_markdown(
                " ".join(str(check["cell"][part]) for part in ("task", "pair", "method"))
            ),
            f"{check['cell']['seed']}",
            f"{check['temperature']:g}",
            escape_markdown(check["name"]),
            "pass" if check["passed"] else "**FAIL**",
            escape_markdown(check["evidence"]),
        ]
        for check in checks
    ]
    parts = [
        f"# {escape_markdown(title)}: is it lossless?",
        f"{verdict}: {escape_markdown(outcome['engine'])} engine, "
        f"{escape_markdown(outcome['dtype'])}.",
        markdown_table(["draft", "seed", "T", "check", "verdict", "evidence"], body, "lrrlll"),
    ]
    return "\n\n".join(parts) + "\n"


REPORT = lossless
