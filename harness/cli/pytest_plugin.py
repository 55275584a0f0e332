"""The gate as a pytest fixture.

def test_acceptance_has_not_fallen(acceptance_gate):
    acceptance_gate("results/mine-XXXXXXXX", against="accepted/mine.json", margin=0.01)
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from draftmark.text import plain

if TYPE_CHECKING:
    from draftmark.analysis.gate.gate import Outcome


@pytest.fixture
def acceptance_gate() -> "Callable[..., Outcome]":
    """Return the gate: it fails the test unless a stored run passes, and returns what it said."""
    return _gate


def _gate(
    result: str | Path,
    *,
    against: str | Path,
    margin: float = 0.01,
    quantity: str = "acceptance_rate",
    declare: Sequence[str] = (),
) -> "Outcome":
    from draftmark.analysis.gate import accepted
    from draftmark.analysis.gate.gate import Terms, judge
    from draftmark.analysis.stored_counts import measured
    from draftmark.errors import UserError
    from draftmark.store.run_folder import load_results

    mistake = ""
    try:
        terms = Terms(margin, quantity, tuple(declare))
        known, results = accepted.load(Path(against)), load_results(Path(result))
        outcome = judge(results, measured(results, Path(result), known.gamma), known, terms)
    except UserError as error:
        mistake = str(error)  # failing here would print it twice, as the cause as well
    if mistake:
        pytest.fail(mistake, pytrace=False)
    if outcome.verdict != "PASS":
        pytest.fail(_told(outcome), pytrace=False)
    return outcome


def _told(outcome: "Outcome") -> str:
    """Return the verdict, and each contender that did not pass with its interval."""
    lines = [f"{outcome.verdict}: {outcome.quantity}, margin {outcome.rule.margin:g}"]
    for line in outcome.lines:
        if line.verdict == "PASS":
            continue
        told = [line.note] if line.note else []
        if line.difference is not None:
            interval = f"{line.difference:+.4f} [{line.low:+.4f}, {line.high:+.4f}]"
            told.insert(0, f"{interval} on {line.n} prompts")
        lines.append(f"  {line.verdict} {plain(line.name)}: {plain('; '.join(told))}")
    return "\n".join(lines)
