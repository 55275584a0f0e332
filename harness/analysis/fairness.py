"""Whether a run's methods were compared on the same terms: findings, the worst first.

Read from what the run recorded (ledgers, decodes, store entries, rows), not from what it meant to
do. An error is what makes numbers unfit to be compared, a warning what a reader must know before
comparing them, a note what is worth knowing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.arms import of_measurement
from harness.analysis.grounds import shared_grounds
from harness.config import Recipe
from harness.published import Cell, Finding, Result, Severity
from harness.settings.sections import Condition
from harness.storage.speed_records import Measurement

# A copied test row can lift a rate by its share at most: beyond 1 in 100 by more than the
# intervals over some hundred prompts can hide.
LEAK_SHARE = 0.01
# Validation only picks one of a few checkpoints: a tenth of its rows cannot steer that.
VALIDATION_SHARE = 0.1
BUDGET_TOLERANCE = 0.02
_TEXT_SETTINGS = {"text", "text_temperature", "mixture"}
BUDGETS = (
    "steps",
    "rows",
    "supervised_tokens",
    "generated_tokens",
    "target_forward_tokens",
    "reference_forward_tokens",
    "flops",
)
_ORDER: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class _Group:
    """The cells of one task and pair that have numbers."""

    recipe: Recipe
    rows: Sequence[Result]
    speeds: Mapping[Cell, Mapping[Condition, Measurement]]
    data: Mapping[str, Any]

    def finding(self, severity: Severity, text: str, /, **facts: Any) -> Finding:
        """Return a finding about this task and pair."""
        return Finding(severity, f"{self.data['task']}, {self.data['pair']}", text, facts)

    @property
    def trained(self) -> list[Result]:
        """The cells whose draft was trained."""
        return [row for row in self.rows if row.ledger and row.ledger.steps]


def findings(
    recipe: Recipe,
    results: Sequence[Result],
    speeds: Mapping[Cell, Mapping[Condition, Measurement]],
    data: Sequence[Mapping[str, Any]],
) -> tuple[Finding, ...]:
    """Return what is unfair or leaks in a run; `data` has a task and pair's facts each.

    `results` have the provenance that the runner gives them; failed ones are passed over.
    """
    found: list[Finding] = []
    for facts in data:
        here = (facts["task"], facts["pair"])
        rows = [r for r in results if not r.failure and (r.cell.task, r.cell.pair) == here]
        group = _Group(recipe.for_task(facts["task"]), rows, speeds, facts)
        found += [finding for check in _CHECKS for finding in check(group)]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def _leaks(group: _Group) -> Iterator[Finding]:
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


def _foreign_rows(group: _Group) -> Iterator[Finding]:
    """Drafts made of test rows or of unknown ones, or whose checkpoint was chosen on them."""
    test = group.data["digest"]["test"]
    allowed = set(group.data["digest"].values()) - {test}
    for row in group.rows:
        for text in row.provenance["draft_texts"]:
            if text["rows"] in allowed:
                continue
            what = "test rows" if text["rows"] == test else "rows of neither train nor validation"
            why = f"was made of {what}, or its checkpoint chosen on them"
            yield group.finding("error", f"{_name(row)} {why}: {text['label']}", text=text)


def _budgets(group: _Group) -> Iterator[Finding]:
    """Training that cost one method more than another."""
    unequal = {}
    for quantity in BUDGETS:
        spent = {_name(row): getattr(row.ledger, quantity) for row in group.trained}
        if spent and max(spent.values()) > (1 + BUDGET_TOLERANCE) * min(spent.values()):
            unequal[quantity] = spent
    if unequal:
        parts = [f"{quantity} {_range(spent)}" for quantity, spent in unequal.items()]
        text = "training budgets are unequal: " + "; ".join(parts).replace("_", " ")
        yield group.finding("warning", text, budgets=unequal)


def _range(spent: Mapping[str, float]) -> str:
    least, most = min(spent, key=spent.__getitem__), max(spent, key=spent.__getitem__)
    ratio = f" ({spent[most] / spent[least]:.2f} times)" if spent[least] else ""
    return f"{spent[least]:.4g} of {least}, {spent[most]:.4g} of {most}{ratio}"


def _training(group: _Group) -> Iterator[Finding]:
    """Trained methods whose settings differ; on other text, that is a warning."""
    titles = dict.fromkeys(row.cell.method for row in group.trained)
    settings = {
        title: group.recipe.training_of(group.recipe.method(title)).deciding() for title in titles
    }
    differing = _differing(settings)
    if differing:
        severity: Severity = "warning" if differing.keys() & _TEXT_SETTINGS else "note"
        text = f"trained methods have settings of their own: {_listed(differing)}"
        yield group.finding(severity, text, settings=differing)


def _seeds(group: _Group) -> Iterator[Finding]:
    """Methods with numbers for other seeds than the rest."""
    seeds = {
        entry.title: sorted(r.cell.seed for r in group.rows if r.cell.method == entry.title)
        for entry in group.recipe.methods
    }
    if len(set(map(tuple, seeds.values()))) > 1:
        text = f"methods have numbers for different seeds: {_listed({'seeds': seeds})}"
        yield group.finding("warning", text, seeds=seeds)


def _ground(group: _Group) -> Iterator[Finding]:
    """Cells that were measured on other rows, texts or targets, or timed under other settings."""
    grounds = shared_grounds({_name(row): row for row in group.rows})
    for what, values in _differing(grounds).items():
        yield group.finding(
            "error", f"methods differ in what was to be the same: {_listed({what: values})}"
        )
    rows = {ground["test rows"] for ground in grounds.values()} - {group.data["digest"]["test"]}
    if rows:
        yield group.finding(
            "error", "numbers are of other test rows than this run's", rows=sorted(rows)
        )


def _arms(group: _Group) -> Iterator[Finding]:
    """Speed measurements whose arms did not run on the same terms."""
    limits = {
        "max_new_tokens": group.data["max_new_tokens"],
        "end_tokens": frozenset(group.data["end_tokens"]),
    }
    for row in group.rows:
        for number, (under, measured) in enumerate(group.speeds[row.cell].items()):
            name = f"speed of {_name(row)}" + (f", {under.label}" if number else "")
            for severity, fault in of_measurement(under, measured, **limits):
                yield group.finding(severity, f"{name}: {fault}")


def _texts(group: _Group) -> Iterator[Finding]:
    """Numbers of, and drafts made of, texts that the target did not write."""
    made_of_gold = []
    for row in group.rows:
        for text in row.provenance["scored_texts"]:
            if text["writer"] != "target":
                what = f"{_name(row)} was scored on texts that the target did not write"
                yield group.finding("error", f"{what}: {text['label']}", text=text)
        if any(text["writer"] == "dataset" for text in row.provenance["draft_texts"]):
            made_of_gold.append(_name(row))
    if made_of_gold:
        text = f"made of gold answers, which the target did not write: {', '.join(made_of_gold)}"
        yield group.finding("note", text, cells=made_of_gold)


def _differing(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, of settings by owner, those that differ: setting -> owner -> value."""
    names = dict.fromkeys(name for settings in values.values() for name in settings)
    by_name = {name: {owner: s.get(name) for owner, s in values.items()} for name in names}
    return {
        name: owners
        for name, owners in by_name.items()
        if any(value != next(iter(owners.values())) for value in owners.values())
    }


def _listed(differing: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{name} {', '.join(f'{value!s:.40} ({owner})' for owner, value in owners.items())}"
        for name, owners in differing.items()
    )


def _name(row: Result) -> str:
    return f"{row.cell.method} (seed {row.cell.seed})"


_CHECKS: tuple[Callable[[_Group], Iterator[Finding]], ...] = (
    _leaks,
    _foreign_rows,
    _ground,
    _arms,
    _texts,
    _budgets,
    _training,
    _seeds,
)
