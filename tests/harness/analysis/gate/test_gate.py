"""Accepted numbers and the gate, on stored runs whose rates are known; and a planted fault."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import pytest
from commands import Outcome, run_command, sentence_of
from places import PACKAGE
from small_runs import small_recipe
from stored_runs import HOSTILE, run_of

from draftmark.analysis.gate import accepted
from draftmark.analysis.gate.comparable import default_facts, fact_differences, run_facts
from draftmark.analysis.gate.gate import GateTerms, judge_run
from draftmark.analysis.stored_counts import stored_counts
from draftmark.errors import UserError
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.results import Finding, Results
from draftmark.store.run_folder import load_results, save_results

EASY = tuple(np.linspace(0.5, 0.9, 24))
ACCEPTED = PACKAGE / "reports" / "accepted" / "quickstart.json"


Command = Callable[..., Outcome]


@pytest.fixture
def draftmark(capsys: pytest.CaptureFixture[str]) -> Command:
    return partial(run_command, capsys)


def lower(by: float, noise: float = 0.0) -> tuple[float, ...]:
    wobble = noise * np.random.default_rng(0).uniform(-1, 1, len(EASY))
    return tuple(np.array(EASY) - by + wobble)


def accepted_of(directory: Path, results: Results, **changes: Any) -> accepted.Accepted:
    given = {"reason": "first", "date": "2026-01-01", **changes}
    return accepted.accept_run(results, directory, **given)


@pytest.fixture
def known(tmp_path: Path) -> accepted.Accepted:
    return accepted_of(tmp_path / "before", run_of(tmp_path / "before", {"kd": [EASY]}))


def judged(
    directory: Path, known: accepted.Accepted, results: Results, margin: float = 0.01, **how: Any
) -> Any:
    return judge_run(results, stored_counts(results, directory), known, GateTerms(margin, **how))


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (lower(0.05), "FAIL"),
        (lower(-0.05), "PASS"),
        (lower(0.012, 0.02), "INCONCLUSIVE"),
        (lower(0.002, 0.002), "PASS"),
    ],
)
def test_what_the_gate_says_of_a_known_drop(
    tmp_path: Path, known: accepted.Accepted, now: tuple[float, ...], verdict: str
) -> None:
    outcome = judged(tmp_path, known, run_of(tmp_path, {"kd": [now]}))

    assert outcome.verdict == verdict
    (line,) = outcome.lines
    assert line.n == len(EASY)
    assert line.difference == pytest.approx(np.mean(now) - np.mean(EASY), abs=0.005)
    assert line.low <= line.difference <= line.high


def test_a_run_with_the_same_counts_passes_and_says_so(
    tmp_path: Path, known: accepted.Accepted
) -> None:
    outcome = judged(tmp_path, known, run_of(tmp_path, {"kd": [EASY]}))

    (line,) = outcome.lines
    assert (line.verdict, line.difference, line.low, line.high) == ("PASS", 0.0, None, None)
    assert line.note == "the same counts on every prompt"


@pytest.mark.parametrize(("prompts", "verdict"), [(6, "INCONCLUSIVE"), (7, "FAIL")])
def test_so_few_prompts_that_their_signs_fall_alike_by_chance_decide_nothing(
    tmp_path: Path, known: accepted.Accepted, prompts: int, verdict: str
) -> None:
    """All of 6 prompts fall by chance in 1 of 64 runs at the margin, all of 7 in 1 of 128."""
    outcome = judged(tmp_path, known, run_of(tmp_path, {"kd": [lower(0.4)[:prompts]]}))

    (line,) = outcome.lines
    assert line.verdict == verdict
    if verdict == "INCONCLUSIVE":
        assert (line.low, line.high) == (-1, 1)
        assert line.note == "too few prompts: 7 would do"


def test_prompts_are_paired_by_name_and_fewer_than_were_accepted_will_do(
    tmp_path: Path, known: accepted.Accepted
) -> None:
    outcome = judged(tmp_path, known, run_of(tmp_path, {"kd": [EASY[:8]]}))

    assert (outcome.verdict, outcome.lines[0].n, outcome.lines[0].difference) == ("PASS", 8, 0.0)


def test_identical_seeds_pass_however_far_apart_they_are(tmp_path: Path) -> None:
    seeds = [EASY, lower(0.1), lower(0.3)]
    known = accepted_of(tmp_path / "b", run_of(tmp_path / "b", {"kd": seeds}))

    outcome = judged(tmp_path / "n", known, run_of(tmp_path / "n", {"kd": seeds}))

    assert outcome.verdict == "PASS"
    assert outcome.notes == ()


def test_a_failed_cell_fails_and_a_missing_one_is_inconclusive(tmp_path: Path) -> None:
    both = run_of(tmp_path / "b", {"kd": [EASY], "csd": [EASY]})
    known = accepted_of(tmp_path / "b", both)
    kd, csd = both.results
    dead = replace(csd, failure="draft csd: it broke", numbers={})

    failed = judged(tmp_path / "b", known, replace(both, results=(kd, dead)))
    missing = judged(tmp_path / "b", known, replace(both, results=(kd,)))

    assert (failed.verdict, missing.verdict) == ("FAIL", "INCONCLUSIVE")
    assert failed.lines[1].note == "it failed: draft csd: it broke"
    assert missing.lines[1].note == "it is not in this run"


def test_a_run_of_nothing_and_a_single_prompt_are_inconclusive(
    tmp_path: Path, known: accepted.Accepted
) -> None:
    results = run_of(tmp_path, {"kd": [EASY[:1]]})

    assert judged(tmp_path, known, results).lines[0].note == "one prompt has no interval"
    nothing = judged(tmp_path, known, replace(results, results=()))
    assert nothing.verdict == "INCONCLUSIVE"


def test_a_draft_that_drafts_nothing_has_no_rate(tmp_path: Path, known: accepted.Accepted) -> None:
    results = run_of(tmp_path, {"kd": [EASY]}, length=0)

    (line,) = judged(tmp_path, known, results).lines

    assert line.verdict == "INCONCLUSIVE"
    assert "nothing to divide by" in line.note


def test_what_a_reader_must_know_is_said(tmp_path: Path, known: accepted.Accepted) -> None:
    results = run_of(tmp_path, {"kd": [EASY], "new": [EASY]}, length=180)
    results = replace(results, recipe=known_recipe(tmp_path))

    notes = " ".join(judged(tmp_path, known, results).notes)

    assert "One seed" in notes
    assert "Not accepted yet, so not gated: gsm8k/p/new/t=0." in notes
    assert "its length differs from the accepted one on 24 of 24 prompts" in notes


def known_recipe(tmp_path: Path) -> dict[str, Any]:
    return dict(load_results(tmp_path / "before").recipe)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"training": {"learning_rate": 0.1}}, "recipe.training.learning_rate (0.003, now 0.1)"),
        ({"tasks": ["mbpp"]}, "recipe.tasks"),
        ({"seeds": [1]}, "recipe.seeds"),
        ({"evaluation": {"num_speculative_tokens": 4, "temperatures": [0.0], "top_k": 5}}, "top_k"),
    ],
)
def test_a_run_on_other_terms_is_refused_unless_that_was_declared(
    tmp_path: Path, known: accepted.Accepted, change: dict[str, Any], name: str
) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})
    other = replace(results, recipe={**results.recipe, **change})

    with pytest.raises(UserError) as refused:
        judged(tmp_path, known, other)
    assert name in str(refused.value)
    assert "--declare recipe." in str(refused.value)
    outcome = judged(tmp_path, known, other, declared=("recipe",))
    assert outcome.verdict == "PASS"
    assert name in " ".join(outcome.differs)


def with_keys(recipe: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """Return a recipe with more keys: training's, the methods', or its own."""
    training = {**recipe["training"], **keys.pop("training", {})}
    methods = [{**item, **keys.get("methods", {})} for item in recipe["methods"]]
    return {**recipe, **keys, "training": training, "methods": methods}


@pytest.mark.parametrize(
    ("key", "otherwise", "name"),
    [
        ({"training": {"beta2": 0.95}}, {"training": {"beta2": 0.9}}, "training.beta2"),
        ({"training": {"budget": None}}, {"training": {"budget": {"steps": 9}}}, "budget.steps"),
        ({"training": {"mixture": {}}}, {"training": {"mixture": {"draft": 1}}}, "mixture.draft"),
        ({"prompting": {"format": "auto"}}, {"prompting": {"format": "chat"}}, "prompting.format"),
        ({"methods": {"temperature": 1.0}}, {"methods": {"temperature": 2.0}}, "kd.temperature"),
        ({"by_task": {}}, {"by_task": {"gsm8k": {"data": {"train_rows": 1}}}}, "by_task.gsm8k"),
    ],
)
def test_a_key_at_its_default_is_a_key_left_out_and_any_other_value_is_a_difference(
    tmp_path: Path,
    known: accepted.Accepted,
    key: dict[str, Any],
    otherwise: dict[str, Any],
    name: str,
) -> None:
    """Keys come and go: what was accepted before one was known, and after, is compared alike."""
    results = run_of(tmp_path, {"kd": [EASY]})
    by_default = replace(results, recipe=with_keys(results.recipe, **key))
    set_to = replace(results, recipe=with_keys(results.recipe, **otherwise))

    assert judged(tmp_path, known, by_default).differs == ()
    assert judged(tmp_path, accepted_of(tmp_path, by_default), results).differs == ()
    with pytest.raises(UserError, match=name):
        judged(tmp_path, known, set_to)
    with pytest.raises(UserError, match=name):
        judged(tmp_path, accepted_of(tmp_path, set_to), results)


def test_the_accepted_quickstart_is_this_quickstart() -> None:
    """CI would refuse every run if the accepted recipe were another; only the dtype may differ."""
    document = load_recipe("quickstart", tasks=["gsm8k"]).model_dump(mode="json")
    results = Results("quickstart", "", document, (), (), (), (), (), {})
    accepted_recipe = {
        name: value
        for name, value in accepted.load_accepted(ACCEPTED).facts.items()
        if name.startswith("recipe.")
    }
    now = {name: value for name, value in run_facts(results).items() if name.startswith("recipe.")}

    [dtype] = fact_differences(accepted_recipe, now, default_facts(results))
    assert dtype.name == "recipe.pairs.tiny-2of8.dtype"
    assert (dtype.before, dtype.now) == ('"bfloat16"', '"auto"')


def test_a_run_in_another_dtype_is_refused_unless_that_was_declared(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})

    def in_dtype(dtype: str) -> Results:
        pairs = [{**pair, "dtype": dtype} for pair in results.recipe["pairs"]]
        return replace(results, recipe={**results.recipe, "pairs": pairs})

    known = accepted_of(tmp_path, in_dtype("bfloat16"))
    with pytest.raises(UserError, match=r"recipe\.pairs\.p\.dtype"):
        judged(tmp_path, known, in_dtype("float32"))
    declared = judged(tmp_path, known, in_dtype("float32"), declared=("recipe.pairs.p.dtype",))
    assert declared.verdict == "PASS"
    assert any("dtype" in str(item) for item in declared.differs)


def test_other_versions_and_hardware_are_refused_and_another_commit_is_not(
    tmp_path: Path, known: accepted.Accepted
) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})

    def made_with(**found: Any) -> Results:
        return replace(results, manifest={**results.manifest, **found})

    assert judged(tmp_path, known, made_with(git={"commit": "1", "dirty": True})).verdict == "PASS"
    for other in ({"versions": {"torch": "9"}}, {"hardware": {"cores": 64}}, {"threads": 8}):
        with pytest.raises(UserError, match=next(iter(other))):
            judged(tmp_path, known, made_with(**other))
        assert judged(tmp_path, known, made_with(**other), declared=tuple(other)).differs


@pytest.mark.parametrize("margin", [0.0, -0.01, float("nan")])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(UserError, match="must be above 0"):
        GateTerms(margin)


def test_an_unknown_rate_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'block_efficiency'"):
        GateTerms(0.01, "block_eficiency")


def test_blessing_keeps_the_reasons_and_numbers_of_before(tmp_path: Path) -> None:
    file = tmp_path / "accepted" / "mine.json"
    first, second = (
        run_of(tmp_path / n, {"kd": [lower(by)]}) for n, by in (("a", 0.0), ("b", 0.1))
    )
    accepted.save_accepted(accepted_of(tmp_path / "a", first), file)
    before = accepted.load_accepted(file)
    after = accepted_of(tmp_path / "b", second, reason="worse, meant", before=before)
    accepted.save_accepted(after, file)

    found = accepted.load_accepted(file)

    assert found == after
    assert [event["reason"] for event in found.history] == ["first", "worse, meant"]
    rates = [e["numbers"]["gsm8k/p/kd/t=0 acceptance_rate"]["value"] for e in found.history]
    assert rates[0] - rates[1] == pytest.approx(0.1, abs=0.01)
    assert found.history[0]["commit"] == "0" * 40


def test_accepted_numbers_hold_no_text_of_prompts_or_outputs(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    accepted.save_accepted(accepted_of(tmp_path, run_of(tmp_path, {"kd": [EASY]})), file)
    document = json.loads(file.read_text())

    assert {*document} == {"format", "gamma", "declared", "history", "facts", "prompts", "cells"}
    columns = document["cells"][0]["seeds"]["0"]
    assert all(isinstance(number, float) for column in columns.values() for number in column)
    assert file.stat().st_size < 5000


def test_what_cannot_be_accepted_is_one_sentence(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY], "csd": [EASY]})
    kd, csd = results.results
    dead = replace(results, results=(kd, replace(csd, failure="it broke")))
    unfair = replace(results, findings=(Finding("error", "gsm8k, p", "made of test rows"),))

    for run, how, sentence in (
        (results, {"reason": " "}, "needs a reason"),
        (dead, {}, "csd on gsm8k failed"),
        (unfair, {}, "made of test rows"),
        (results, {"methods": ["kdd"]}, "Unknown method 'kdd'"),
        (replace(results, results=()), {}, "no numbers to accept"),
    ):
        with pytest.raises(UserError, match=sentence):
            accepted_of(tmp_path, run, **how)
    assert len(accepted_of(tmp_path, dead, methods=["kd"]).measured) == 1
    with pytest.raises(UserError, match="cannot be compared"):
        judged(tmp_path, accepted_of(tmp_path, results), unfair)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 2}', '{"format": 1, "gamma": 4}'])
def test_an_accepted_file_that_does_not_read_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"cannot be read: .*bless a run anew"):
        accepted.load_accepted(tmp_path / "a.json")


def test_the_commands_bless_gate_and_power(tmp_path: Path, draftmark: Command) -> None:
    runs = {"same": EASY, "worse": lower(0.05), "unsure": lower(0.012, 0.02)}
    for name, alphas in runs.items():
        run_of(tmp_path / name, {"kd": [alphas]})
    file = tmp_path / "accepted.json"

    missing = sentence_of(draftmark("gate", tmp_path / "same", "--against", file))
    assert "accept a run's numbers first with draftmark bless" in missing
    assert draftmark("bless", tmp_path / "same", file, "--reason", "it is good").code == 0
    for name, code in {"same": 0, "worse": 1, "unsure": 3}.items():
        assert draftmark("gate", tmp_path / name, "--against", file).code == code
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert {"gate.md", "gate.xml", "gate.json", "gate.bencher.json"} <= files
    printed = draftmark("power", tmp_path / "unsure", "--against", file).out
    assert "gsm8k/p/kd/t=0: " in printed
    assert "24 here: too few; as it and its seeds spread" in printed
    printed = draftmark("power", tmp_path / "same", "--margin", "0.5").out
    assert "24 here: enough; at most, for runs that share nothing" in printed


def test_what_the_gate_writes_is_well_formed(tmp_path: Path, draftmark: Command) -> None:
    run_of(tmp_path / "a", {"kd": [EASY], "csd": [EASY]})
    run_of(tmp_path / "b", {"kd": [lower(0.05)], "csd": [lower(0.012, 0.02)]})
    draftmark("bless", tmp_path / "a", tmp_path / "f.json", "--reason", "x")
    draftmark("gate", tmp_path / "b", "--against", tmp_path / "f.json")

    suite = xml.parse(tmp_path / "b" / "gate.xml").getroot()
    bencher = json.loads((tmp_path / "b" / "gate.bencher.json").read_text())

    counts = {name: suite.get(name) for name in ("tests", "failures", "errors")}
    assert counts == {"tests": "2", "failures": "1", "errors": "1"}
    assert [(case.get("classname"), case.get("name")) for case in suite.iter("testcase")] == [
        ("gsm8k/p", "acceptance rate of kd on gsm8k, p, T=0"),
        ("gsm8k/p", "acceptance rate of csd on gsm8k, p, T=0"),
    ]
    first, second, accepted, run, how = [
        line for line in (tmp_path / "b" / "gate.md").read_text().splitlines() if line
    ][:5]
    assert first == "# Gate: FAIL"
    assert second.startswith("Fallen by more than 0.01, or failed: kd on gsm8k, p, T=0 (-0.0495")
    assert "csd" not in second
    assert accepted.endswith(": x")
    assert run == "- This run: A title, commit 00000000; blocks of 4 drafted tokens"
    assert "draftmark bless RUN" in how
    for measures in bencher.values():
        fallen = measures["acceptance_rate_difference"]
        assert fallen["lower_value"] <= fallen["value"] <= fallen["upper_value"]
        assert {*measures["acceptance_rate"]} == {"value"}


@pytest.mark.parametrize(
    ("moved", "sentence"),
    [
        (EASY, "No accepted acceptance rate has fallen by 0.01 or more: 1 compared, on up to"),
        (lower(0.012, 0.02), "Not known to have fallen by 0.01, nor not to: kd on gsm8k, p, T=0"),
    ],
)
def test_the_gate_says_its_verdict_in_a_sentence(
    tmp_path: Path, draftmark: Command, moved: Any, sentence: str
) -> None:
    run_of(tmp_path / "a", {"kd": [EASY]})
    run_of(tmp_path / "b", {"kd": [moved]})
    draftmark("bless", tmp_path / "a", tmp_path / "f.json", "--reason", "x")
    draftmark("gate", tmp_path / "b", "--against", tmp_path / "f.json")

    assert (tmp_path / "b" / "gate.md").read_text().splitlines()[2].startswith(sentence)


def test_a_recipe_stands_for_its_newest_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draftmark: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("mine-00000000", "mine-11111111", "other-00000000")):
        run_of(tmp_path / "results" / name, {"kd": [EASY]})
        os.utime(tmp_path / "results" / name / "results.json", (1e9, 1e9 - age))
    draftmark("bless", "mine", tmp_path / "f.json", "--reason", "x")
    assert draftmark("gate", "mine.toml", "--against", tmp_path / "f.json").code == 0

    assert (tmp_path / "results" / "mine-00000000" / "gate.md").is_file()
    assert not (tmp_path / "results" / "mine-11111111" / "gate.md").exists()


def test_hostile_names_do_nothing_in_what_the_gate_writes(
    tmp_path: Path, draftmark: Command
) -> None:
    run_of(tmp_path, {HOSTILE: [EASY]})
    draftmark("bless", tmp_path, tmp_path / "f.json", "--reason", HOSTILE)
    assert draftmark("gate", tmp_path, "--against", tmp_path / "f.json").code == 0

    xml.parse(tmp_path / "gate.xml")
    text = (tmp_path / "gate.md").read_text()
    assert len(text) < 5000
    for bad in ("<script>", "\u202e", "\x1b", "\x00", "\n# d"):
        assert bad not in text


RECIPE = small_recipe(
    (32, 4, 16),
    ["kd"],
    top="speed = false",
    rows_per_batch=8,
    evaluation="max_new_tokens = 32\ntemperatures = [0.0]",
)


@pytest.mark.slow
def test_a_draft_trained_on_labels_shifted_by_one_fails_the_gate(tmp_path: Path) -> None:
    """The fault is planted in a copy of the code, as a commit that breaks training would be."""
    copy, recipe, file = tmp_path / "code", tmp_path / "small.toml", tmp_path / "accepted.json"
    recipe.write_text(RECIPE)
    shutil.copytree(PACKAGE, copy / "draftmark", ignore=shutil.ignore_patterns("__pycache__"))

    def ran(*arguments: object) -> int:
        command = [sys.executable, "-m", "draftmark", *map(str, arguments)]
        return subprocess.run(command, cwd=copy, capture_output=True).returncode

    def result() -> Path:
        assert ran("run", recipe, "--out", tmp_path / "results") == 0
        return max((tmp_path / "results").glob("small-*"), key=lambda path: path.stat().st_mtime_ns)

    assert ran("bless", result(), file, "--reason", "the code as it is") == 0
    method = copy / "draftmark" / "baselines" / "kd.py"
    right = "forward_kl(draft, target, self.temperature)"
    assert right in method.read_text()
    shifted = right.replace("target", "target.roll(1, 0)")
    method.write_text(method.read_text().replace(right, shifted))
    assert ran("gate", result(), "--against", file, "--out", tmp_path) == 1
    assert json.loads((tmp_path / "gate.json").read_text())["verdict"] == "FAIL"


@pytest.mark.slow
def test_an_inconclusive_gate_takes_more_prompts_up_to_its_cap(
    tmp_path: Path, draftmark: Command
) -> None:
    recipe, out, file = tmp_path / "small.toml", tmp_path / "results", tmp_path / "accepted.json"
    recipe.write_text(RECIPE.replace('name = "kd"', 'name = "untrained"'))
    assert draftmark("run", recipe, "--out", out).code == 0
    (large,) = out.glob("small-*")
    assert draftmark("bless", large, file, "--reason", "x").code == 0
    recipe.write_text(recipe.read_text().replace("test_rows = 16", "test_rows = 4"))
    assert draftmark("run", recipe, "--out", out).code == 0
    (small,) = set(out.glob("small-*")) - {large}
    # Every other prompt of the accepted run was a little better or worse: nothing fell that is
    # sure, so it looks at 4, 8 and 16 prompts, and no more.
    known = accepted.load_accepted(file)
    accepted.save_accepted(replace(known, measured=tuple(map(_jittered, known.measured))), file)

    outcome = draftmark("gate", small, "--against", file, "--up-to", "64")

    assert outcome.code == 3
    assert "Looks were taken at 4, 8, 16 test rows." in outcome.out


def _jittered(item: Any) -> Any:
    def moved(columns: Any) -> Any:
        pairs = enumerate(zip(columns["accepted"], columns["tested"], strict=True))
        wrong = [max(0.0, a + (0.1 if n % 2 else -0.1) * t) for n, (a, t) in pairs]
        return {**columns, "accepted": tuple(wrong)}

    return replace(item, seeds={seed: moved(columns) for seed, columns in item.seeds.items()})


def test_results_of_a_stored_run_are_those_given(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})
    save_results(results, tmp_path)
    assert load_results(tmp_path).results == results.results
