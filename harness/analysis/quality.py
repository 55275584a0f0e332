"""Records -> quantities of quality: scores, outcomes, samples, likelihood, verdicts of a judge.

Each key names the arm: target, draft alone or target with the draft. "quality_draft" is the mean
of the task's headline score, "quality_draft[rouge1]" the mean of another score.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from draftmark.analysis.diversity import by_prompt, fidelity_and_diversity
from draftmark.analysis.quantities import Quantity, quantity_key
from draftmark.config.recipe import Recipe
from draftmark.grading.judging import parse_verdict
from draftmark.grading.scores import OUTCOMES
from draftmark.store.cell_records import Records
from draftmark.types import Task

WHO = {
    "target": "the target alone",
    "draft": "the draft alone",
    "with_draft": "the target with the draft, on the prompts that the engine decoded",
    "target_there": "the target alone, on the prompts that the engine decoded",
}
DEFINITIONS = {
    "outcome": "share of responses of {who}: {meaning}",
    "reference_log_likelihood": "log-probability of the gold answers, end token included, in nats "
    "per token, at temperature 1",
    "win_rate": "wins of the draft alone against {against}, judged by {model}; each prompt in both "
    "orders, a tie counts half; prompts without two clear verdicts are left out",
    "judge_flips": "share of prompts where the judge's two verdicts, one for each order, differ; "
    "prompts without two clear verdicts are left out",
    "judge_unclear": "share of prompts without two clear verdicts",
}
_FACTS = frozenset({"arm", "example_id", "num_tokens", "text"})  # keys of a grade, not scores

Rows = Sequence[Mapping[str, Any]]


def quality_quantities(records: Records, task: Task, recipe: Recipe) -> dict[str, Quantity]:
    """Return every quantity of quality whose denominator is not 0."""
    found: dict[str, Quantity] = {}
    groups = {
        "target": records.target_grades,
        "draft": records.draft_grades,
        "with_draft": [row for row in records.decode_grades if row["arm"] == "draft"],
        "target_there": [row for row in records.decode_grades if row["arm"] == "target"],
    }
    for who, rows in groups.items():
        if rows:
            found |= dict(_scores(rows, who, task))
    for (who, temperature), rows in records.samples.items():
        prompts = tuple(dict.fromkeys(row["example_id"] for row in rows))
        numbers = fidelity_and_diversity(rows, task.headline, pass_or_fail=task.pass_or_fail)
        for name, (top_B, bottom_B, definition) in numbers.items():
            key = quantity_key(f"{name}_{who}", temperature)
            found[key] = Quantity((top_B, bottom_B), f"{definition}, of {WHO[who]}", prompts)
    for who, rows in records.likelihoods.items():
        found[f"reference_log_likelihood_{who}"] = _quantity(
            rows,
            [row["nats"] for row in rows],
            f"{DEFINITIONS['reference_log_likelihood']}, by {WHO[who]}",
            [row["num_tokens"] for row in rows],
        )
    if records.verdicts:
        found |= _verdicts(records.verdicts, recipe)
    return {name: item for name, item in found.items() if item.counts[1].sum() > 0}


def _scores(rows: Rows, who: str, task: Task) -> Iterator[tuple[str, Quantity]]:
    """Yield the mean of each score, the headline score first, and the share of each outcome."""
    names = [name for name in rows[0] if name not in _FACTS]
    for name in sorted(names, key=lambda name: name != task.headline):
        key, definition = f"quality_{who}[{name}]", f"{name} of {WHO[who]}"
        if name in OUTCOMES:
            key, meaning = f"{name}_{who}", OUTCOMES[name]
            definition = DEFINITIONS["outcome"].format(who=WHO[who], meaning=meaning)
        elif name in task.outcomes:
            key, meaning = f"outcome_{who}[{name}]", task.outcomes[name]
            definition = DEFINITIONS["outcome"].format(who=WHO[who], meaning=meaning)
        elif name == task.headline:
            key = f"quality_{who}"
        yield key, _quantity(rows, [row[name] for row in rows], definition)


def _verdicts(rows: Rows, recipe: Recipe) -> dict[str, Quantity]:
    judge = recipe.evaluation.judge
    assert judge is not None
    prompts = by_prompt(rows)
    pairs = [_points(replies) for replies in prompts.values()]
    clear = [pair is not None for pair in pairs]
    wins = [sum(pair) / 2 if pair else 0.0 for pair in pairs]
    flips = [pair is not None and pair[0] != pair[1] for pair in pairs]
    win_rate = DEFINITIONS["win_rate"].format(against=f"the {judge.against}", model=judge.model)
    first = [replies[0] for replies in prompts.values()]
    return {
        "win_rate": _quantity(first, wins, win_rate, clear),
        "judge_flips": _quantity(first, flips, DEFINITIONS["judge_flips"], clear),
        "judge_unclear": _quantity(first, [not ok for ok in clear], DEFINITIONS["judge_unclear"]),
    }


def _points(replies: Rows) -> tuple[float, float] | None:
    """Return the draft's points in each order; None without two clear verdicts."""
    first, second = (parse_verdict(row["reply"], draft_first=row["draft_first"]) for row in replies)
    return None if first is None or second is None else (first, second)


def _quantity(
    rows: Rows, tops: Sequence[float], definition: str, bottoms: Sequence[float] | None = None
) -> Quantity:
    """Return a quantity of one row per prompt; the mean over prompts if `bottoms` is None."""
    top_B = np.array(tops, dtype=np.float64)
    bottom_B = np.ones(len(rows)) if bottoms is None else np.array(bottoms, dtype=np.float64)
    return Quantity((top_B, bottom_B), definition, tuple(row["example_id"] for row in rows))
