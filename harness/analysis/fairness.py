"""Whether a run's methods were compared on the same terms: findings, the worst first.

Read from what the run recorded (ledgers, decodes, store entries, rows), not from what it meant to
do. An error is what makes numbers unfit to be compared, a warning what a reader must know before
comparing them, a note what is worth knowing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from draftmark.analysis import training_fairness
from draftmark.analysis.comparability import shared_grounds
from draftmark.analysis.fairness_checks import Check, Group, differing, listed, name_of
from draftmark.analysis.speed_fairness import of_measurement
from draftmark.config.recipe import Recipe
from draftmark.config.sections import SpeedCondition
from draftmark.results import Cell, Finding, Result, Severity
from draftmark.store.speed_records import Measurement

# A copied test row can lift a rate by its share at most: beyond 1 in 100 by more than the
# intervals over some hundred prompts can hide.
LEAK_SHARE = 0.01
# Validation only picks one of a few checkpoints: a tenth of its rows cannot steer that.
VALIDATION_SHARE = 0.1
_ORDER: tuple[Severity, ...] = ("error", "warning", "note")


def findings(
    recipe: Recipe,
    results: Sequence[Result],
    speeds: Mapping[Cell, Mapping[SpeedCondition, Measurement]],
    data: Sequence[Mapping[str, Any]],
) -> tuple[Finding, ...]:
    """Return what is unfair or leaks in a run; `data` has a task and pair's facts each.

    `results` have the provenance that the runner gives them; failed ones are passed over.
    """
    found: list[Finding] = []
    for facts in data:
        here = (facts["task"], facts["pair"])
        rows = [r for r in results if not r.failure and (r.cell.task, r.cell.pair) == here]
        group = Group(recipe.for_task(facts["task"]), rows, speeds, facts)
        found += [finding for check in _CHECKS for finding in check(group)]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def _leaks(group: Group) -> Iterator[Finding]:
    """Test rows among those that drafts were made of, or their target was fine-tuned on."""
    digests, tuned = group.data["digest"], group.data["fine_tuning"]
    texts = [text for row in group.rows for text in row.provenance["draft_texts"]]
    read = {text["rows"] for text in [*texts, *(tuned["texts"] if tuned else ())]}
    by_part = {(item["group"], item["part"]): item for item in group.data["overlaps"]}
    for (name, part), item in by_part.items():
        unread = name in digests and digests[name] not in read
        if part != "question" or unread or not item["partly"]:
            continue
        answers = by_part[name, "answer"]
        text = (
            f"of {item['test_rows']} test questions {item['duplicates']} are in the {item['rows']} "
            f"{name} rows, {item['copied']} with those copied for the most part, {item['partly']} "
            f"with those copied in part; of the gold answers {answers['duplicates']}, "
            f"{answers['copied']}, {answers['partly']}"
        )
        yield group.finding(_leak_severity(item), text, question=item, answer=answers)


def _leak_severity(overlap: Mapping[str, Any]) -> Severity:
    share, limit = overlap["copied"] / overlap["test_rows"], LEAK_SHARE
    if overlap["group"] == "validation":
        fewer = min(overlap["rows"], overlap["test_rows"])
        share, limit = overlap["copied"] / fewer, VALIDATION_SHARE
    if share > limit:
        return "error"
    return "warning" if overlap["copied"] else "note"


def _foreign_rows(group: Group) -> Iterator[Finding]:
    """Drafts made of test rows or of unknown ones, or whose checkpoint was chosen on them."""
    test = group.data["digest"]["test"]
    allowed = set(group.data["digest"].values()) - {test}
    for row in group.rows:
        for text in row.provenance["draft_texts"]:
            if text["rows"] in allowed:
                continue
            what = "test rows" if text["rows"] == test else "rows of neither train nor validation"
            why = f"was made of {what}, or its checkpoint chosen on them"
            yield group.finding("error", f"{name_of(row)} {why}: {text['label']}", text=text)


def _ground(group: Group) -> Iterator[Finding]:
    """Cells that were measured on other rows, texts or targets, or timed under other settings."""
    grounds = shared_grounds({name_of(row): row for row in group.rows})
    for what, values in differing(grounds).items():
        yield group.finding(
            "error", f"methods differ in what was to be the same: {listed({what: values})}"
        )
    rows = {ground["test rows"] for ground in grounds.values()} - {group.data["digest"]["test"]}
    if rows:
        yield group.finding(
            "error", "numbers are of other test rows than this run's", rows=sorted(rows)
        )


def _arms(group: Group) -> Iterator[Finding]:
    """Speed measurements whose arms did not run on the same terms."""
    limits = {
        "max_new_tokens": group.data["max_new_tokens"],
        "end_tokens": frozenset(group.data["end_tokens"]),
    }
    for row in group.rows:
        for number, (under, measured) in enumerate(group.speeds[row.cell].items()):
            name = f"speed of {name_of(row)}" + (f", {under.label}" if number else "")
            for severity, fault in of_measurement(under, measured, **limits):
                yield group.finding(severity, f"{name}: {fault}")


def _texts(group: Group) -> Iterator[Finding]:
    """Numbers of, and drafts made of, texts that the target did not write."""
    made_of_gold = []
    for row in group.rows:
        for text in row.provenance["scored_texts"]:
            if text["writer"] != "target":
                what = f"{name_of(row)} was scored on texts that the target did not write"
                yield group.finding("error", f"{what}: {text['label']}", text=text)
        if any(text["writer"] == "dataset" for text in row.provenance["draft_texts"]):
            made_of_gold.append(name_of(row))
    if made_of_gold:
        text = f"made of gold answers, which the target did not write: {', '.join(made_of_gold)}"
        yield group.finding("note", text, cells=made_of_gold)


_CHECKS: tuple[Check, ...] = (
    _leaks,
    _foreign_rows,
    _ground,
    _arms,
    _texts,
    *training_fairness.CHECKS,
)
