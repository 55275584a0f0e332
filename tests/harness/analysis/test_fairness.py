"""Fairness: each kind of unequal terms, planted in a run that is otherwise fair, is found."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from draftmark.analysis.fairness import BUDGET_TOLERANCE, BUDGETS, fairness_findings
from draftmark.config.recipe import Recipe
from draftmark.config.sections import SpeedCondition
from draftmark.data.leaks import find_overlaps
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.results import Cell, Finding, Result
from draftmark.store.speed_records import Measurement
from draftmark.types import Decode, Example, Ledger, Round, TimedDecode

END, LIMIT = 0, 4
SAMPLERS = {"target": {"temperature": 0.0}, "draft": {"temperature": 0.0}}
SPEED = {"temperature": 0.0, "dtype": "float32", "machine": {"cores": 2}}
LEDGER = Ledger(
    steps=100,
    rows=800,
    supervised_tokens=9000,
    target_forward_tokens=10,
    reference_forward_tokens=20,
    flops=1e9,
)
Runs = dict[Cell, dict[SpeedCondition, Measurement]]
CONDITION = SpeedCondition("reference", 0.0, 4, 2, 2, "float32")


def _recipe(**training: Any) -> Recipe:
    """Return a recipe of three methods, of which `other` trains with settings of its own."""
    document = load_recipe("quickstart").model_dump(mode="json")
    other = {"name": "kd", "label": "other", "training": training}
    methods = [{"name": "untrained"}, {"name": "kd"}, other]
    return Recipe(**{**document, "methods": methods, "seeds": (0, 1)})


def _rows(split: str, *questions: str) -> list[Example]:
    return [
        Example(f"{split}/{n}", ({"role": "user", "content": text},), f"{split} {n}")
        for n, text in enumerate(questions)
    ]


def _facts(
    train: Sequence[str] = "abc", validation: Sequence[str] = "de", test: Sequence[str] = "xyz"
) -> dict[str, Any]:
    groups = {"train": _rows("train", *train), "validation": _rows("validation", *validation)}
    return {
        "task": "gsm8k",
        "pair": "tiny",
        "digest": {split: f"{split} rows" for split in ("train", "validation", "test")},
        "overlaps": [asdict(overlap) for overlap in find_overlaps(groups, _rows("test", *test))],
        "max_new_tokens": LIMIT,
        "end_tokens": [END],
        "fine_tuning": None,
    }


def _entries() -> list[dict[str, Any]]:
    return [
        {"stage": "draft", "settings": {}, "inputs": {"target": "m"}},
        {"stage": "grades", "settings": {"rows": "test rows"}, "inputs": {"target": "m"}},
        {"stage": "scores", "settings": {"samplers": SAMPLERS}, "inputs": {"features": "f"}},
        {"stage": "decodes", "settings": SPEED, "inputs": {"target": "m", "draft": "d"}},
    ]


def _texts(writer: str, rows: str) -> dict[str, str]:
    return {"label": f"{writer}'s, {rows}", "key": "k", "rows": rows, "writer": writer}


def _result(method: str = "kd", seed: int = 0, **provenance: Any) -> Result:
    made_of = [_texts("target", "train rows"), _texts("target", "validation rows")]
    return Result(
        Cell("gsm8k", "tiny", method, seed),
        {},
        Ledger() if method == "untrained" else LEDGER,
        {
            "entries": _entries(),
            "draft_texts": [] if method == "untrained" else made_of,
            "scored_texts": [_texts("target", "test rows")],
            **provenance,
        },
    )


def _run() -> list[Result]:
    return [_result(method, seed) for method in ("untrained", "kd", "other") for seed in (0, 1)]


def _decode(example_id: str, *token_ids: int, num_prompt_tokens: int = 3) -> Decode:
    rounds = tuple(Round(0, 0) for _ in token_ids)
    reason = "stop" if token_ids[-1:] == (END,) else "length"
    return Decode(example_id, token_ids, num_prompt_tokens, rounds, 0.1, 0.2, reason)


def _timed() -> list[TimedDecode]:
    """Return two blocks of two prompts in the order A B B A."""
    return [
        TimedDecode(arm, block, repeat, decode)
        for block in (0, 1)
        for arm, repeat in (("target", 0), ("draft", 0), ("draft", 1), ("target", 1))
        for decode in (_decode(f"p{block}", 5, END), _decode(f"q{block}", 5, 6, 7, 8))
    ]


def _found(
    results: Sequence[Result] | None = None,
    *,
    recipe: Recipe | None = None,
    facts: dict[str, Any] | None = None,
    timed: Sequence[TimedDecode] | None = None,
    condition: SpeedCondition = CONDITION,
) -> tuple[Finding, ...]:
    results = _run() if results is None else results
    measured = Measurement(_timed() if timed is None else timed, (), {})
    speeds: Runs = {r.cell: {condition: measured} for r in results}
    return fairness_findings(recipe or _recipe(), results, speeds, [facts or _facts()])


def _one(found: Sequence[Finding]) -> Finding:
    assert len(found) == 1, found
    assert found[0].subject == "gsm8k, tiny"
    return found[0]


def _with(results: list[Result], method: str, **changes: Any) -> list[Result]:
    """Return results of which a method's first seed has other provenance."""
    return [
        replace(r, provenance={**r.provenance, **changes})
        if (r.cell.method, r.cell.seed) == (method, 0)
        else r
        for r in results
    ]


def _course(name: str, *values: float) -> tuple[dict[str, float], ...]:
    return tuple({"step": 10.0 * place, name: value} for place, value in enumerate(values))


def test_a_training_that_kept_the_weights_it_started_with_is_warned_of() -> None:
    first, *others = _run()
    worse = _course("validation_acceptance", 0.5, 0.25, 0.5)
    finding = _one(_found([replace(first, history=worse), *others]))
    assert finding.severity == "warning"
    assert finding.text == (
        "untrained (seed 0) kept its initial weights: no checkpoint of 20 steps was better on "
        "validation than that of step 0 (validation acceptance 0.5, at best 0.5 later)"
    )
    better = _course("validation_acceptance", 0.5, 0.25, 0.51)
    assert _found([replace(first, history=better), *others]) == ()


def test_so_is_a_target_whose_fine_tuning_only_raised_its_loss() -> None:
    def found(*losses: float) -> tuple[Finding, ...]:
        tuned = {"texts": [], "history": _course("validation_loss", *losses)}
        return _found(facts={**_facts(), "fine_tuning": tuned})

    assert _one(found(2.0, 2.5, 3.0)).text.startswith("the fine-tuned target kept its initial")
    assert found(2.0, 1.5, 3.0) == found(2.0) == ()


def test_a_fair_run_has_no_findings() -> None:
    assert _found() == ()
    assert _found([]) == ()
    assert _found(timed=()) == ()


LONG = [" ".join(f"{n}w{k}" for k in range(20)) for n in range(200)]


@pytest.mark.parametrize(
    ("train", "severity"),
    [
        ([f"Before. {LONG[0]}"], "warning"),
        ([LONG[0].upper(), LONG[1]], "warning"),  # 2 of 200: not above 1 in 100
        ([LONG[0], LONG[1], LONG[2]], "error"),
        ([" ".join(LONG[0].split()[:15])], "note"),
    ],
)
def test_test_rows_in_train_are_serious_above_one_in_a_hundred(
    train: list[str], severity: str
) -> None:
    finding = _one(_found(facts=_facts(train=train, test=LONG)))

    assert finding.severity == severity
    assert "train rows" in finding.text
    assert finding.facts["question"]["test_rows"] == 200


def test_test_rows_in_train_do_not_matter_where_no_draft_was_made_of_them() -> None:
    run = [_result("untrained", seed) for seed in (0, 1)]
    recipe = _recipe()
    recipe = recipe.model_copy(update={"methods": recipe.methods[:1]})

    assert _found(run, recipe=recipe, facts=_facts(train="x", validation="y")) == ()


@pytest.mark.parametrize(
    ("validation", "severity"),
    [
        (LONG[:20], "error"),  # validation = test
        (LONG[:2], "error"),  # fewer, all of them test rows
        ([*LONG[:3], *map(str, range(17))], "error"),  # 3 of 20
        ([*LONG[:2], *map(str, range(18))], "warning"),  # 2 of 20: not above a tenth
    ],
)
def test_a_checkpoint_chosen_on_rows_that_are_in_test_is_found_by_their_text(
    validation: list[str], severity: str
) -> None:
    finding = _one(_found(facts=_facts(validation=validation, test=LONG[:20])))

    assert finding.severity == severity
    assert "validation rows" in finding.text


@pytest.mark.parametrize(
    ("rows", "words"), [("test rows", "trained on test rows"), ("others", "neither train nor")]
)
def test_a_draft_made_of_rows_that_are_not_for_it_is_found_by_their_digest(
    rows: str, words: str
) -> None:
    made_of = [_texts("target", "train rows"), _texts("target", rows)]

    finding = _one(_found(_with(_run(), "kd", draft_texts=made_of)))

    assert finding.severity == "error"
    assert finding.text.startswith("kd (seed 0)")
    assert words in finding.text


def test_validation_rows_with_the_digest_of_the_test_rows_are_no_validation_rows() -> None:
    facts = _facts()
    facts["digest"]["validation"] = facts["digest"]["test"]
    made_of = [_texts("target", "train rows"), _texts("target", "test rows")]
    run = _with([_result("kd")], "kd", draft_texts=made_of)

    found = _found(run, facts=facts)

    assert [f.text.split(" (")[0] for f in found if f.severity == "error"] == ["kd"]


@pytest.mark.parametrize("quantity", [name for name in BUDGETS if name != "generated_tokens"])
def test_unequal_budgets_are_a_warning_with_their_ratio(quantity: str) -> None:
    dearer = replace(LEDGER, **{quantity: getattr(LEDGER, quantity) * 3})
    run = [replace(r, ledger=dearer) if r.cell.method == "other" else r for r in _run()]

    finding = _one(_found(run))

    assert finding.severity == "warning"
    assert quantity.replace("_", " ") in finding.text
    assert "(3.00 times)" in finding.text
    assert finding.facts["budgets"].keys() == {quantity}


def test_a_draft_that_writes_its_own_text_is_dearer_than_one_that_does_not() -> None:
    written = replace(LEDGER, generated_tokens=500)
    run = [replace(r, ledger=written) if r.cell.method == "other" else r for r in _run()]

    assert "generated tokens 0 of kd" in _one(_found(run)).text


def test_test_rows_among_those_that_the_target_was_fine_tuned_on_are_found() -> None:
    run = [_result("untrained", seed) for seed in (0, 1)]
    recipe = _recipe()
    recipe = recipe.model_copy(update={"methods": recipe.methods[:1]})
    facts = _facts(train=LONG[:3], test=LONG)
    tuned = {"texts": [_texts("dataset", "train rows")], "ledger": {}}

    assert _found(run, recipe=recipe, facts=facts) == ()
    found = _one(_found(run, recipe=recipe, facts={**facts, "fine_tuning": tuned}))
    assert found.severity == "error"


def test_budgets_within_the_tolerance_are_equal() -> None:
    slightly = replace(LEDGER, flops=LEDGER.flops * (1 + BUDGET_TOLERANCE))
    run = [replace(r, ledger=slightly) if r.cell.method == "other" else r for r in _run()]

    assert _found(run) == ()


def test_a_budget_of_nothing_has_no_ratio() -> None:
    free = replace(LEDGER, target_forward_tokens=0)
    run = [replace(r, ledger=free) if r.cell.method == "other" else r for r in _run()]

    assert "times" not in _one(_found(run)).text


@pytest.mark.parametrize(
    ("training", "severity"),
    [({"learning_rate": 0.1}, "note"), ({"text": "target"}, "warning")],
)
def test_methods_that_train_with_settings_of_their_own_are_named(
    training: dict[str, Any], severity: str
) -> None:
    finding = _one(_found(recipe=_recipe(**training)))

    ((name, value),) = training.items()
    assert finding.severity == severity
    assert finding.facts["settings"][name]["other"] == value
    assert f"{value} (other)" in finding.text


def test_methods_with_numbers_for_other_seeds_are_a_warning() -> None:
    failed = replace(_result("other", 1), ledger=None, failure="No.")

    finding = _one(_found([*_run()[:-1], failed]))

    assert finding.severity == "warning"
    assert finding.facts["seeds"] == {"untrained": [0, 1], "kd": [0, 1], "other": [0]}

    rows = [*_run()[:-2], *(replace(failed, cell=_result("other", seed).cell) for seed in (0, 1))]
    assert not any("different seeds" in each.text for each in _found(rows))


@pytest.mark.parametrize(
    ("stage", "part", "change", "what"),
    [
        ("grades", "settings", {"rows": "other rows"}, "test rows"),
        ("grades", "inputs", {"target": "another"}, "target"),
        ("scores", "inputs", {"features": "g"}, "texts scored at temperature 0"),
        ("decodes", "settings", {**SPEED, "dtype": "bfloat16"}, "speed setting dtype"),
        ("decodes", "settings", {**SPEED, "machine": {"cores": 4}}, "speed setting machine"),
    ],
)
def test_cells_measured_on_other_terms_are_an_error(
    stage: str, part: str, change: dict[str, Any], what: str
) -> None:
    entries = [
        {**entry, part: change} if entry["stage"] == stage else entry for entry in _entries()
    ]

    found = _found(_with(_run(), "kd", entries=entries))

    assert {finding.severity for finding in found} == {"error"}
    assert any(what in finding.text and "kd (seed 0)" in finding.text for finding in found)


def test_numbers_that_are_all_of_other_test_rows_are_an_error() -> None:
    facts = _facts()
    facts["digest"]["test"] = "what the run read"

    finding = _one(_found(facts=facts))

    assert (finding.severity, finding.facts) == ("error", {"rows": ["test rows"]})


def _replaced(index: int, change: Callable[[Decode], Decode]) -> list[TimedDecode]:
    timed = _timed()
    timed[index] = replace(timed[index], decode=change(timed[index].decode))
    return timed


@pytest.mark.parametrize(
    ("timed", "what"),
    [
        (_replaced(2, lambda d: replace(d, example_id="z")), "block 0 has other prompts"),
        (_replaced(10, lambda d: replace(d, num_prompt_tokens=9)), "block 1 has other prompts"),
        (_timed()[1:], "block 0 has other prompts"),
        (_timed()[2:], "block 0 has the runs draft 1, draft 2, target 2, not two of each"),
        (_replaced(3, lambda d: _decode(d.example_id, 1, 2, 3, 4, 5)), "longer than 4 tokens"),
        (_replaced(3, lambda d: _decode(d.example_id, 1, END, 3, 4)), "go on after an end token"),
        (_replaced(3, lambda d: _decode(d.example_id, 1, 2)), "1 texts stop before an end and"),
        (_replaced(3, lambda d: _decode(d.example_id)), "first draft on q0"),
    ],
)
def test_arms_on_other_terms_are_an_error(timed: list[TimedDecode], what: str) -> None:
    found = _found([_result()], timed=timed)

    (error,) = (finding for finding in found if finding.severity == "error")
    assert error.text.startswith("speed of kd (seed 0): ")
    assert what in error.text


def _drafted(*token_ids: int) -> list[TimedDecode]:
    """Return the runs of which the draft's arm wrote other tokens to the prompts q0 and q1."""
    return [
        replace(item, decode=_decode(item.decode.example_id, *token_ids))
        if item.arm == "draft" and item.decode.example_id.startswith("q")
        else item
        for item in _timed()
    ]


def _of_speed(
    timed: list[TimedDecode], condition: SpeedCondition = CONDITION
) -> list[tuple[str, str]]:
    found = _found(timed=timed, condition=condition)
    return list(dict.fromkeys((f.severity, f.text.partition(": ")[2]) for f in found))


def test_texts_of_other_lengths_at_temperature_zero_are_an_error() -> None:
    ((severity, text),) = _of_speed(_drafted(5, END))

    assert severity == "error"
    assert text.startswith("2 texts have other lengths with the draft than without")
    assert _of_speed(_drafted(5, END), replace(CONDITION, temperature=1.0)) == []


def test_other_tokens_of_the_same_lengths_at_temperature_zero_are_a_warning() -> None:
    ((severity, text),) = _of_speed(_drafted(5, 6, 7, 9))

    assert severity == "warning"
    assert text.startswith("2 texts are not the same in all runs")


def test_of_a_fixed_length_no_end_token_ends_a_text() -> None:
    fixed = replace(CONDITION, length="fixed")

    ((severity, text),) = _of_speed(_timed(), fixed)

    assert (severity, text.partition(",")[0]) == (
        "error",
        "8 texts stop before an end and the length limit",
    )
    long = [
        replace(item, decode=_decode(item.decode.example_id, 1, END, 3, 4)) for item in _timed()
    ]
    assert _of_speed(long, fixed) == []


def test_numbers_of_text_that_the_target_did_not_write_are_an_error() -> None:
    gold = [_texts("dataset", "test rows")]

    finding = _one(_found(_with(_run(), "kd", scored_texts=gold)))

    assert finding.severity == "error"
    assert "the target did not write" in finding.text


def test_drafts_made_of_gold_answers_are_named() -> None:
    gold = [_texts("dataset", "train rows"), _texts("target", "validation rows")]

    finding = _one(_found(_with(_run(), "other", draft_texts=gold)))

    assert finding.severity == "note"
    assert finding.facts == {"cells": ["other (seed 0)"]}


def test_the_worst_come_first_and_every_task_and_pair_is_looked_at() -> None:
    other = {**_facts(validation="x", test="x"), "pair": "another"}
    cells = [replace(r, cell=replace(r.cell, pair="another")) for r in _run()]
    recipe = _recipe(learning_rate=0.1)

    found = fairness_findings(
        recipe, [*_run(), *cells], {r.cell: {} for r in [*_run(), *cells]}, [_facts(), other]
    )

    assert [(f.severity, f.subject) for f in found] == [
        ("error", "gsm8k, another"),
        ("note", "gsm8k, tiny"),
        ("note", "gsm8k, another"),
    ]


def test_only_drafts_that_differ_from_the_pairs_are_different() -> None:
    def facts(own: str) -> dict[str, Any]:
        return {**_facts(), "draft": "model a", "drafts": {"kd": {"draft": own}}}

    assert not any("start from" in each.text for each in _found(facts=facts("model a")))
    texts = [each.text for each in _found(facts=facts("head b"))]
    assert "methods start from different drafts: kd from head b; others from model a" in texts
