"""Checks that a run compared its methods on the same terms.

The checks read the run's records (ledgers, decodes, store entries, rows), not the recipe. After an
error numbers must not be compared; a warning must be read before they are; a note is worth knowing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from draftmark.analysis import validation_history
from draftmark.analysis.speed_fairness import speed_faults
from draftmark.analysis.text_artefacts import artefacts
from draftmark.config.recipe import Recipe
from draftmark.config.sections import SpeedCondition
from draftmark.results import Cell, Finding, Result, Severity
from draftmark.store.speed_records import Measurement

# Copied test rows lift a rate by at most their share; above 1 % that would exceed the width of
# intervals over a few hundred prompts.
LEAK_SHARE = 0.01
# Validation only picks one of a few checkpoints: a tenth of its rows cannot decide that.
VALIDATION_SHARE = 0.1
BUDGET_TOLERANCE = 0.02
BUDGETS = (
    *("steps", "rows", "supervised_tokens", "generated_tokens"),
    *("target_forward_tokens", "reference_forward_tokens", "flops"),
)
_ORDER: tuple[Severity, ...] = ("error", "warning", "note")
_TEXT_SETTINGS = {"text", "text_temperature", "mixture"}
# Settings that distinguish the speed conditions of a recipe.
_SPEED_TERMS = ("engine", "temperature", "num_speculative_tokens", "batch_size", "verification")


@dataclass(frozen=True)
class Rows:
    """The successful cells of one task and pair, with the facts of their data."""

    rows: Sequence[Result]
    data: Mapping[str, Any]

    def finding(self, severity: Severity, text: str, /, **facts: Any) -> Finding:
        """Return a finding on this task and pair."""
        return Finding(severity, f"{self.data['task']}, {self.data['pair']}", text, facts)

    @property
    def trained(self) -> list[Result]:
        """The cells whose draft was trained."""
        return [row for row in self.rows if row.ledger and row.ledger.steps]


@dataclass(frozen=True)
class Group(Rows):
    """The same cells, with the recipe on their task and their speed measurements."""

    recipe: Recipe
    speeds: Mapping[Cell, Mapping[SpeedCondition, Measurement]]


def fairness_findings(
    recipe: Recipe,
    results: Sequence[Result],
    speeds: Mapping[Cell, Mapping[SpeedCondition, Measurement]],
    data: Sequence[Mapping[str, Any]],
    earlier: Sequence[Finding] = (),
) -> tuple[Finding, ...]:
    """Return the findings of a run, errors first; `data` holds the facts of each task and pair.

    `results` need the runner's provenance; failed cells are skipped. `earlier` are findings of the
    checks before the run.
    """
    found: list[Finding] = [*earlier]
    for facts in data:
        rows = _rows_of(results, facts)
        group = Group(rows, facts, recipe.for_task(facts["task"]), speeds)
        found += [finding for check in _CHECKS for finding in check(group)]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def data_findings(
    results: Sequence[Result], data: Sequence[Mapping[str, Any]]
) -> tuple[Finding, ...]:
    """Return the findings on rows, texts and leaks alone, which need neither recipe nor speeds."""
    groups = [Rows(_rows_of(results, facts), facts) for facts in data]
    return tuple(found for group in groups for check in _OF_DATA for found in check(group))


def _rows_of(results: Sequence[Result], facts: Mapping[str, Any]) -> list[Result]:
    here = (facts["task"], facts["pair"])
    return [r for r in results if not r.failure and (r.cell.task, r.cell.pair) == here]


def _leaks(group: Rows) -> Iterator[Finding]:
    """Yield overlaps of test rows with the rows that trained a draft or fine-tuned the target."""
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


def _foreign_rows(group: Rows) -> Iterator[Finding]:
    """Yield drafts that test rows or unknown rows trained, or chose the checkpoint of."""
    test = group.data["digest"]["test"]
    allowed = set(group.data["digest"].values()) - {test}
    for row in group.rows:
        for text in row.provenance["draft_texts"]:
            if text["rows"] in allowed:
                continue
            what = "test rows" if text["rows"] == test else "rows of neither train nor validation"
            why = f"was trained on {what}, or its checkpoint was chosen on them"
            yield group.finding("error", f"{_name(row)} {why}: {text['label']}", text=text)


def _measured_on(group: Rows) -> Iterator[Finding]:
    """Yield terms (rows, texts, target, speed settings) that differ between cells.

    Terms that some cells lack are skipped: speed measurements of one method may have failed.
    """
    terms = {_name(row): dict(_terms_of(row)) for row in group.rows}
    shared = set.intersection(*map(set, terms.values())) if terms else set()
    for what, values in _differing(terms).items():
        if what in shared:
            text = f"methods were not measured on the same terms: {_in_words({what: values})}"
            yield group.finding("error", text)
    rows = {own["test rows"] for own in terms.values() if "test rows" in shared}
    if other := rows - {group.data["digest"]["test"]}:
        text = "numbers were measured on other test rows than this run's"
        yield group.finding("error", text, rows=sorted(other))


def _terms_of(row: Result) -> Iterator[tuple[str, Any]]:
    """Yield the name and value of each term that a cell was measured on."""
    for entry in row.provenance["entries"]:
        settings, inputs = entry["settings"], entry["inputs"]
        if entry["stage"] == "grades":
            yield from {"test rows": settings["rows"], "target": inputs["target"]}.items()
        elif entry["stage"] == "scores":
            samplers = settings["samplers"]
            temperature = f"{samplers['target']['temperature']:g}"
            where = f"at temperature {temperature}"
            # Other code may write the same texts under another key; old runs have no hash of them.
            digest = row.provenance.get("text_digests", {}).get(temperature)
            yield f"texts scored {where}", digest or inputs["features"]
            yield f"samplers {where}", samplers
        elif entry["stage"] == "decodes":
            which = ", ".join(str(settings[name]) for name in _SPEED_TERMS if name in settings)
            which += "" if "draft" in inputs else ", noise floor"
            for name, value in settings.items():
                yield f"speed setting {name} ({which})", value


def _arms(group: Group) -> Iterator[Finding]:
    """Yield the faults of speed measurements."""
    limits = group.data["max_new_tokens"], frozenset(group.data["end_tokens"])
    for row in group.rows:
        for number, (condition, measured) in enumerate(group.speeds[row.cell].items()):
            name = f"speed of {_name(row)}" + (f", {condition.label}" if number else "")
            for severity, fault in speed_faults(condition, measured.decodes, *limits):
                yield group.finding(severity, f"{name}: {fault}")


def _texts(group: Rows) -> Iterator[Finding]:
    """Yield cells scored on texts not written by the target, and drafts trained on gold answers."""
    trained_on_gold = []
    for row in group.rows:
        for text in row.provenance["scored_texts"]:
            if text["writer"] != "target":
                what = f"{_name(row)} was scored on texts that the target did not write"
                yield group.finding("error", f"{what}: {text['label']}", text=text)
        if any(text["writer"] == "dataset" for text in row.provenance["draft_texts"]):
            trained_on_gold.append(_name(row))
    if trained_on_gold:
        names = ", ".join(trained_on_gold)
        text = f"trained on gold answers, which the target did not write: {names}"
        yield group.finding("note", text, cells=trained_on_gold)


def _own_drafts(group: Group) -> Iterator[Finding]:
    """Yield the drafts that methods have of their own, and the heads that other runs trained."""
    pairs, drafts = group.data.get("draft"), group.data.get("drafts", {})
    if own := {title: facts for title, facts in drafts.items() if facts["draft"] != pairs}:
        inits = "; ".join(f"{title} from {facts['draft']}" for title, facts in own.items())
        text = f"methods start from different drafts: {inits}; others from {pairs}"
        yield group.finding("note", text, drafts=own)
    heads = [_name(row) for row in group.rows if _starts_from_head(group, row)]
    if heads:
        text = (
            f"the rows that trained the heads of {', '.join(heads)} before this run are unknown: "
            "test rows may be among them"
        )
        yield group.finding("note", text, cells=heads)


def _vocabularies(group: Group) -> Iterator[Finding]:
    """Yield what drafts with another tokenizer share with the target: no other token is drafted."""
    sharing: dict[str, list[Result]] = {}
    for row in group.rows:
        if facts := row.provenance.get("vocabulary"):
            sharing.setdefault(_describe_vocabulary(facts), []).append(row)
    for shared, rows in sharing.items():
        text = f"{', '.join(map(_name, rows))}: the tokenizer is not the target's. {shared}"
        yield group.finding("note", text, vocabulary=rows[0].provenance["vocabulary"])


def _describe_vocabulary(facts: Mapping[str, Any]) -> str:
    texts = ", ".join(
        f"{shared / total:.1%} at temperature {temperature}"
        for temperature, (shared, total) in facts["tokens_of_texts"].items()
    )
    ends = "" if facts["shared_end_tokens"] else ", nor the end of a text"
    return (
        f"The draft shares {facts['shared_tokens']:,} of the target's {facts['target_tokens']:,} "
        f"tokens; of the tokens of the scored texts, {texts}. It can draft no other token{ends}"
    )


def _starts_from_head(group: Group, row: Result) -> bool:
    init = group.data.get("drafts", {}).get(row.cell.method, group.data)
    drafts = (entry for entry in row.provenance["entries"] if entry["stage"] == "draft")
    return init.get("draft", "").startswith("head ") and any(
        "init" in made["inputs"] for made in drafts
    )


def _artefacts(group: Group) -> Iterator[Finding]:
    """Yield a warning for each temperature at which most texts are cut, empty or repeat."""
    temperatures = group.recipe.evaluation.temperatures
    sentences = [text for row in group.rows for text in artefacts(row.numbers, temperatures)]
    for text in dict.fromkeys(sentences):  # the cells share their texts
        yield group.finding("warning", text, text_artefacts=True)


def _budgets(group: Group) -> Iterator[Finding]:
    """Yield training budgets that differ between cells by more than the tolerance."""
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


def _training(group: Group) -> Iterator[Finding]:
    """Yield training settings that differ between methods: a warning if they set the text."""
    titles = dict.fromkeys(row.cell.method for row in group.trained)
    settings = {
        title: group.recipe.training_of(group.recipe.method(title)).key_settings()
        for title in titles
    }
    if found := _differing(settings):
        severity: Severity = "warning" if found.keys() & _TEXT_SETTINGS else "note"
        text = f"trained methods differ in their settings: {_in_words(found)}"
        yield group.finding(severity, text, settings=found)


def _seeds(group: Group) -> Iterator[Finding]:
    """Yield a warning if methods have numbers for different seeds; one without any has failed."""
    found = {
        entry.title: sorted(r.cell.seed for r in group.rows if r.cell.method == entry.title)
        for entry in group.recipe.methods
    }
    seeds = {title: numbers for title, numbers in found.items() if numbers}
    if len(set(map(tuple, seeds.values()))) > 1:
        text = f"methods have numbers for different seeds: {_in_words({'seeds': seeds})}"
        yield group.finding("warning", text, seeds=seeds)


def _learned_nothing(group: Group) -> Iterator[Finding]:
    """Yield trainings of drafts or of the target that kept the initial weights."""
    histories = {_name(row): row.history for row in group.rows}
    if tuned := group.data["fine_tuning"]:
        histories["the fine-tuned target"] = tuned.get("history", ())
    for who, history in histories.items():
        if not validation_history.learned_nothing(history):
            continue
        name, start, last = (
            validation_history.validation_criterion(history),
            history[0],
            history[-1],
        )
        after = validation_history.kept_point(history[1:])[name]
        text = (
            f"{who} kept its initial weights: no checkpoint of {last['step']:.0f} steps was better "
            f"on validation than that of step 0 ({name.replace('_', ' ')} {start[name]:.4g}, at "
            f"best {after:.4g} later)"
        )
        yield group.finding("warning", text, history=list(history))


def _name(row: Result) -> str:
    return f"{row.cell.method} (seed {row.cell.seed})"


def _differing(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the settings that differ between owners: setting -> owner -> value."""
    names = dict.fromkeys(name for settings in values.values() for name in settings)
    by_name = {name: {owner: s.get(name) for owner, s in values.items()} for name in names}
    return {
        name: owners
        for name, owners in by_name.items()
        if any(value != next(iter(owners.values())) for value in owners.values())
    }


def _in_words(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the values of each setting by owner as text; long values are cut."""
    return "; ".join(
        f"{name} {', '.join(f'{value!s:.40} ({owner})' for owner, value in owners.items())}"
        for name, owners in found.items()
    )


_OF_DATA: tuple[Callable[[Rows], Iterator[Finding]], ...] = (
    *(_leaks, _foreign_rows, _measured_on, _texts),
)
_CHECKS: tuple[Callable[[Group], Iterator[Finding]], ...] = (
    *(_leaks, _foreign_rows, _measured_on, _arms, _texts, _own_drafts, _vocabularies, _artefacts),
    *(_budgets, _training, _seeds, _learned_nothing),
)
