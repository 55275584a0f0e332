"""Grades of the programs found in responses: each is run with its checks in the sandbox."""

from collections.abc import Callable, Sequence

from draftmark.grading.sandbox import STATUSES, Outcome, Program, Sandbox
from draftmark.tasks._programs import Found
from draftmark.types import Example, ProgramRunner

ENDINGS = {
    "assertion": "a test, or an assertion of its own, did not hold",
    "syntax": "it does not compile",
    "timeout": "it took more time than the limit",
    "memory": "it took more memory than the limit",
    "output": "it wrote more than the limit",
    "error": "any other exception, crash or early end",
    "isolated": "it was run isolated by bubblewrap",
}


Scores = dict[str, float]


def grade_one(
    grade_programs: Callable[[Sequence[tuple[Example, str]], ProgramRunner], list[Scores]],
) -> Callable[[Example, str], Scores]:
    """Return the function that grades one response; it raises UserError without isolation."""

    def grade(example: Example, text: str) -> Scores:
        return grade_programs([(example, text)], Sandbox())[0]

    return grade


def grade_found(
    found: Sequence[Found], checks: Sequence[str], sandbox: ProgramRunner
) -> list[Scores]:
    """Return each program's pass@1, and 0 or 1 for each of ENDINGS and each rule that finds one."""
    programs = [Program(one.program, text) for one, text in zip(found, checks, strict=True)]
    return [_scores(*each) for each in zip(found, sandbox.run_many(programs), strict=True)]


def _scores(found: Found, outcome: Outcome) -> Scores:
    scores = {"pass@1": float(outcome.status == "passed")}
    scores |= {name: float(outcome.status == name) for name in STATUSES if name != "passed"}
    return {**scores, "isolated": float(outcome.isolated), **found.tally()}
