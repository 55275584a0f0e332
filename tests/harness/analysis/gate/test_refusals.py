"""What a gate that gives no verdict says to do about it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_runs import NUMBER, run_of

from draftmark.analysis.gate import accepted
from draftmark.analysis.gate.gate import GateOutcome, GateTerms, judge_run
from draftmark.analysis.quantities import DEFINITIONS
from draftmark.analysis.stored_counts import stored_counts
from draftmark.errors import UserError
from draftmark.results import Finding, Results

EASY = tuple(np.linspace(0.5, 0.9, 24))


@pytest.fixture
def known(tmp_path: Path) -> accepted.Accepted:
    results = run_of(tmp_path / "before", {"kd": [EASY]})
    return accepted.accept_run(results, tmp_path / "before", reason="first", date="2026-01-01")


def judged(directory: Path, known: accepted.Accepted, results: Results) -> GateOutcome:
    return judge_run(results, stored_counts(results, directory), known, GateTerms(0.01))


def test_another_recipes_numbers_are_told_as_that(tmp_path: Path, known: accepted.Accepted) -> None:
    results = run_of(tmp_path, {"sft": [EASY]})

    with pytest.raises(
        UserError, match=r"has gsm8k/p/sft, but .* of another recipe \(gsm8k/p/kd\)"
    ):
        judged(tmp_path, known, results)


def test_a_refusal_shows_all_that_is_to_declare_and_takes_a_machine_as_one_thing(
    tmp_path: Path, known: accepted.Accepted
) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})
    hardware = {**results.manifest["hardware"], "cores": 64, "processor": "another"}
    other = replace(results, manifest={**results.manifest, "hardware": hardware, "threads": 8})

    with pytest.raises(UserError) as refused:
        judged(tmp_path, known, other)
    assert "in 3 things not declared" in str(refused.value)
    assert str(refused.value).endswith(": --declare hardware --declare threads.")


def test_other_code_of_a_method_is_stated_and_tested_not_refused(
    tmp_path: Path, known: accepted.Accepted
) -> None:
    """A gate tests changes of methods: it says that the code changed, and judges the numbers."""
    known = replace(known, facts={**known.facts, "code.kd": '"one"'})
    results = run_of(tmp_path, {"kd": [EASY]})
    changed = replace(results, manifest={**results.manifest, "code": {"kd": "other"}})

    outcome = judged(tmp_path, known, changed)

    assert outcome.verdict == "PASS"
    assert outcome.differs == ('code.kd ("one", now "other")',)


def test_drafted_tokens_that_were_counted_before_are_not_compared_with_new_ones(
    tmp_path: Path, known: accepted.Accepted
) -> None:
    results, key = run_of(tmp_path, {"kd": [EASY]}), "draft_acceptance_rate[t=0,gamma=4]"
    (row,) = results.results
    number = replace(NUMBER, definition=DEFINITIONS["draft_acceptance_rate"])
    row = replace(row, numbers={**row.numbers, key: number})
    now, terms = replace(results, results=(row,)), GateTerms(0.01, "draft_acceptance_rate")

    with pytest.raises(
        UserError, match=r"numbers count drafted tokens within texts, the run whole"
    ):
        judge_run(now, stored_counts(now, tmp_path), known, terms)
    assert judged(tmp_path, known, now).verdict == "PASS"  # other rates do not divide by them


def test_a_warning_on_texts_stands_beside_the_verdict(
    tmp_path: Path, known: accepted.Accepted
) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})
    finding = Finding("warning", "gsm8k, p", "98% repeat themselves", {"text_artefacts": True})

    outcome = judged(tmp_path, known, replace(results, findings=(finding,)))

    assert outcome.notes[0] == "Warning: gsm8k, p: 98% repeat themselves."


def test_one_difference_is_one_thing(tmp_path: Path, known: accepted.Accepted) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})

    with pytest.raises(UserError, match="in one thing not declared: recipe"):
        judged(tmp_path, known, replace(results, recipe={**results.recipe, "seeds": [1]}))


def test_the_commit_of_the_project_worked_in_is_what_is_accepted_and_never_refused(
    tmp_path: Path, known: accepted.Accepted
) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})
    project: dict[str, Any] = {"commit": "f" * 40, "date": "2026-01-02", "dirty": False}
    of_project = replace(results, manifest={**results.manifest, "project": project})

    assert judged(tmp_path, known, of_project).verdict == "PASS"
    blessed = accepted.accept_run(of_project, tmp_path, reason="x", date="2026-01-02")
    assert blessed.history[0]["commit"] == "f" * 40


@pytest.mark.parametrize(("shift", "said"), [(0.0, "too few prompts: "), (0.01, "")])
def test_an_inconclusive_line_says_how_many_prompts_would_do(
    tmp_path: Path, known: accepted.Accepted, shift: float, said: str
) -> None:
    wobble = 0.03 * np.random.default_rng(0).uniform(-1, 1, len(EASY))
    results = run_of(tmp_path, {"kd": [tuple(np.array(EASY) - shift + wobble)]})

    outcome = judged(tmp_path, known, results)

    assert outcome.verdict == "INCONCLUSIVE"
    assert any(line.note.startswith(said) for line in outcome.lines)
    assert all(line.note for line in outcome.lines if line.verdict == "INCONCLUSIVE")
    assert not any(line.note for line in outcome.lines if line.verdict != "INCONCLUSIVE")


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        *(("tokens", count, "not finite, or larger than any text") for count in (1e300, 1e12)),
        ("accepted", 1e6, "more tokens accepted than tested"),
        ("tested", 1e6, "more tokens tested than drafted"),
    ],
)
def test_accepted_counts_that_no_run_has_are_refused_where_they_are_read(
    tmp_path: Path, known: accepted.Accepted, name: str, count: float, words: str
) -> None:
    (measured,) = known.measured
    columns = {**measured.seeds[0], name: (count, *measured.seeds[0][name][1:])}
    odd = replace(known, measured=(replace(measured, seeds={0: columns}),))
    accepted.save_accepted(odd, tmp_path / "f.json")

    with pytest.raises(UserError, match=f"f.json cannot be read .*{words}"):
        accepted.load_accepted(tmp_path / "f.json")
