"""Quality: every score and outcome of everyone, and verdicts counted as they were given."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from draftmark.analysis.quality import quality_quantities
from draftmark.analysis.summary import summarise_cell
from draftmark.config.recipe import Recipe
from draftmark.config.sections import Judge
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.registry import find_registered
from draftmark.store.cell_records import Records

RECIPE = load_recipe("quickstart")
JUDGED: Recipe = RECIPE.model_copy(
    update={
        "evaluation": RECIPE.evaluation.model_copy(
            update={"judge": Judge(endpoint="http://x.test", model="judge-1")}
        )
    }
)
GSM8K = find_registered("tasks", "gsm8k")


def _grade(number: int, arm: str = "alone", **changes: Any) -> dict[str, Any]:
    facts = {"arm": arm, "example_id": f"x/test/{number}", "num_tokens": 5, "text": "It is 3."}
    scores = {"exact_match": 0.0, "flexible_match": 1.0, "answered": 0.0}
    return {**facts, "truncated": 0.0, "empty": 0.0, **scores, **changes}


GRADES = [_grade(0), _grade(1, truncated=1.0), _grade(2, exact_match=1.0, answered=1.0)]
RECORDS = Records(target_grades=GRADES)


def test_every_score_and_outcome_has_a_name_of_its_own() -> None:
    found = quality_quantities(replace(RECORDS, draft_grades=GRADES[:1]), GSM8K, RECIPE)

    assert list(found)[:5] == [
        "quality_target",
        "truncated_target",
        "empty_target",
        "quality_target[flexible_match]",
        "outcome_target[answered]",
    ]
    assert [name.replace("draft", "target") for name in list(found)[5:]] == list(found)[:5]
    values = {name: item.counts[0].sum() for name, item in found.items()}
    assert (values["quality_target"], values["quality_target[flexible_match]"]) == (1, 3)
    assert (values["truncated_target"], values["empty_target"]) == (1, 0)
    assert found["quality_target"].definition == "exact_match of the target alone"
    assert found["truncated_draft"].definition == (
        "share of responses of the draft alone: it was cut at the length limit"
    )
    assert "and a number" in found["outcome_draft[answered]"].definition


def test_the_arms_of_an_engine_run_are_told_apart() -> None:
    arms = [_grade(0, "target"), _grade(0, "draft", exact_match=1.0)]

    found = quality_quantities(replace(RECORDS, decode_grades=arms), GSM8K, RECIPE)

    assert found["quality_with_draft"].counts[0].tolist() == [1]
    assert found["quality_target_there"].counts[0].tolist() == [0]


def test_shares_have_an_exact_interval() -> None:
    records = replace(RECORDS, target_grades=[_grade(number) for number in range(64)])

    number = summarise_cell(quality_quantities(records, GSM8K, RECIPE), records, RECIPE)[
        "empty_target"
    ]

    assert (number.value, number.low, number.n) == (0, 0, 64)
    assert number.high == pytest.approx(1 - 0.025 ** (1 / 64))


def test_the_likelihood_of_gold_answers_is_a_ratio_of_sums() -> None:
    rows = [
        {"example_id": "a", "nats": -10.0, "num_tokens": 4},
        {"example_id": "b", "nats": -2.0, "num_tokens": 8},
    ]

    found = quality_quantities(replace(RECORDS, likelihoods={"draft": rows}), GSM8K, RECIPE)
    numbers = summarise_cell(found, RECORDS, RECIPE)

    assert numbers["reference_log_likelihood_draft"].value == -1.0
    assert "reference_log_likelihood_target" not in numbers


def test_samples_are_named_by_who_wrote_them_and_how_warm() -> None:
    rows = [_grade(0), _grade(0, exact_match=1.0)]

    found = quality_quantities(replace(RECORDS, samples={("draft", 0.7): rows}), GSM8K, RECIPE)

    values = {name: item.counts[0].tolist() for name, item in found.items() if "[t=" in name}
    assert values == {
        "fidelity_draft[t=0.7]": [0.5],
        "distinct_1_draft[t=0.7]": [3],
        "distinct_2_draft[t=0.7]": [2],
        "self_bleu_draft[t=0.7]": [1],
        "pass@1_draft[t=0.7]": [0.5],
        "pass@2_draft[t=0.7]": [1],
    }


def test_pass_at_k_is_of_answers_that_are_right_or_wrong_alone() -> None:
    rows = [{**_grade(0), "rougeL": score} for score in (0.0, 1.0)]
    records = replace(RECORDS, target_grades=rows[:1], samples={("draft", 1.0): rows})

    assert not any(
        "pass@" in name
        for name in quality_quantities(records, find_registered("tasks", "xsum"), RECIPE)
    )


def _verdicts(*replies: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"example_id": f"{number}", "draft_first": draft_first, "reply": reply}
        for number, pair in enumerate(replies)
        for draft_first, reply in zip((True, False), pair, strict=True)
    ]


def test_verdicts_are_wins_flips_and_what_is_unclear() -> None:
    verdicts = _verdicts(
        ("A", "B"),  # for the draft in both orders
        ("B", "A"),  # against it in both
        ("A", "A"),  # for whichever is first: a flip, half a win
        ("tie", "tie"),
        ("tie", "B"),  # a flip, three quarters of a win
        ("A", "I think B"),  # no verdict
    )

    found = quality_quantities(replace(RECORDS, verdicts=verdicts), GSM8K, JUDGED)
    numbers = summarise_cell(found, RECORDS, RECIPE)

    assert numbers["win_rate"].value == (1 + 0 + 0.5 + 0.5 + 0.75) / 5
    assert numbers["judge_flips"].value == 2 / 5
    assert numbers["judge_unclear"].value == 1 / 6
    assert numbers["win_rate"].n == 6
    assert "against the target, judged by judge-1" in numbers["win_rate"].definition


def test_two_answers_that_are_exchanged_have_exchanged_win_rates() -> None:
    replies = [("A", "B"), ("A", "A"), ("tie", "A"), ("B", "A")]
    exchanged = [(second, first) for first, second in replies]

    def win_rate(pairs: list[tuple[str, str]]) -> float:
        records = replace(RECORDS, verdicts=_verdicts(*pairs))
        return float(np.mean(quality_quantities(records, GSM8K, JUDGED)["win_rate"].counts[0]))

    assert win_rate(replies) == 1 - win_rate(exchanged)


def test_a_judge_that_says_nothing_clear_gives_no_win_rate() -> None:
    found = quality_quantities(replace(RECORDS, verdicts=_verdicts(("?", "?"))), GSM8K, JUDGED)

    assert "win_rate" not in found
    assert found["judge_unclear"].counts[0].tolist() == [1]
