"""The gate as a pytest fixture.

def test_acceptance_has_not_fallen(acceptance_gate):
    acceptance_gate("results/mine-XXXXXXXX", against="accepted/mine.json", margin=0.01)
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from draftmark.text import printable_text

if TYPE_CHECKING:
    from draftmark.analysis.gate.gate import GateOutcome


@pytest.fixture
def acceptance_gate() -> "Callable[..., GateOutcome]":
    """Return the gate: it fails the test unless a stored run passes, and returns the outcome."""
    return _gate


def _gate(
    result: str | Path,
    *,
    against: str | Path,
    margin: float = 0.01,
    quantity: str = "acceptance_rate",
    declare: Sequence[str] = (),
) -> "GateOutcome":
    from draftmark.analysis.gate import accepted
    from draftmark.analysis.gate.gate import GateTerms, judge_run
    from draftmark.analysis.stored_counts import stored_counts
    from draftmark.analysis.under_block import results_under
    from draftmark.errors import UserError
    from draftmark.store.run_folder import load_results

    error = ""
    try:
        terms = GateTerms(margin, quantity, tuple(declare))
        known = accepted.load_accepted(Path(against))
        results = results_under(load_results(Path(result)), known.verification)
        counts = stored_counts(results, Path(result), known.gamma)
        outcome = judge_run(results, counts, known, terms)
    except UserError as raised:
        error = str(raised)  # failing here would print it twice, once as the cause
    if error or outcome.verdict != "PASS":
        pytest.fail(error or _describe(outcome), pytrace=False)
    return outcome


def _describe(outcome: "GateOutcome") -> str:
    """Return the verdict, and the contenders that did not pass with their intervals."""
    lines = [f"{outcome.verdict}: {outcome.quantity}, margin {outcome.rule.margin:g}"]
    for line in outcome.lines:
        if line.verdict == "PASS":
            continue
        parts = [line.note] if line.note else []
        if line.difference is not None:
            interval = f"{line.difference:+.4f} [{line.low:+.4f}, {line.high:+.4f}]"
            parts.insert(0, f"{interval} on {line.n} prompts")
        lines.append(
            f"  {line.verdict} {printable_text(line.name)}: {printable_text('; '.join(parts))}"
        )
    return "\n".join(lines)
