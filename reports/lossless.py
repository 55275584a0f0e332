"""Is the engine lossless with each draft? The verdict of every check, with its evidence."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # before Python 3.12 pydantic does not take typing's

from draftmark.errors import UserError
from draftmark.reports._shared.markdown import escape, table
from draftmark.results import Results

FILE = "lossless.json"  # what `draftmark verify` leaves beside the results


class Check(TypedDict):
    """One check of one draft."""

    cell: dict[str, str | int]
    temperature: float
    name: str
    passed: bool
    evidence: str


class Verified(TypedDict):
    """All checks, and what engine they are of."""

    engine: str
    dtype: str
    checks: list[Check]


def lossless(results: Results, directory: Path) -> dict[str, str]:
    """Return lossless.md; raises UserError if the run was not verified yet."""
    path = directory / FILE
    if not path.is_file():
        raise UserError(
            f"{directory} has no {FILE}; check the run first by draftmark verify {directory}."
        )
    facts = _read(path)
    failed = sum(not check["passed"] for check in facts["checks"])
    verdict = f"{failed} of {len(facts['checks'])} checks failed" if failed else "All checks passed"
    body = [
        [
            escape(" ".join(str(check["cell"][part]) for part in ("task", "pair", "method"))),
            f"{check['cell']['seed']}",
            f"{check['temperature']:g}",
            escape(check["name"]),
            "pass" if check["passed"] else "**FAIL**",
            escape(check["evidence"]),
        ]
        for check in facts["checks"]
    ]
    text = [
        f"# {escape(results.title)}: is it lossless?",
        f"{verdict}: {escape(facts['engine'])} engine, {escape(facts['dtype'])}.",
        table(["draft", "seed", "T", "check", "verdict", "evidence"], body, "lrrlll"),
    ]
    return {"lossless.md": "\n\n".join(text) + "\n"}


def _read(path: Path) -> Any:
    """Return what was verified; raises UserError if it does not read."""
    try:
        return TypeAdapter(Verified).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} does not read; verify the run again.") from error


REPORT = lossless
