"""Whether methods were trained on the same terms, and whether their training came to anything."""

from collections.abc import Iterator, Mapping

from draftmark.analysis import validation_history
from draftmark.analysis.fairness_checks import Check, Group, differing, listed, name_of
from draftmark.results import Finding, Severity

BUDGET_TOLERANCE = 0.02
BUDGETS = (
    "steps",
    "rows",
    "supervised_tokens",
    "generated_tokens",
    "target_forward_tokens",
    "reference_forward_tokens",
    "flops",
)
_TEXT_SETTINGS = {"text", "text_temperature", "mixture"}


def _budgets(group: Group) -> Iterator[Finding]:
    """Training that cost one method more than another."""
    unequal = {}
    for quantity in BUDGETS:
        spent = {name_of(row): getattr(row.ledger, quantity) for row in group.trained}
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
    """Trained methods whose settings differ; on other text, that is a warning."""
    titles = dict.fromkeys(row.cell.method for row in group.trained)
    settings = {
        title: group.recipe.training_of(group.recipe.method(title)).key_settings()
        for title in titles
    }
    found = differing(settings)
    if found:
        severity: Severity = "warning" if found.keys() & _TEXT_SETTINGS else "note"
        text = f"trained methods have settings of their own: {listed(found)}"
        yield group.finding(severity, text, settings=found)


def _seeds(group: Group) -> Iterator[Finding]:
    """Methods with numbers for other seeds than the rest."""
    seeds = {
        entry.title: sorted(r.cell.seed for r in group.rows if r.cell.method == entry.title)
        for entry in group.recipe.methods
    }
    if len(set(map(tuple, seeds.values()))) > 1:
        text = f"methods have numbers for different seeds: {listed({'seeds': seeds})}"
        yield group.finding("warning", text, seeds=seeds)


def _learned_nothing(group: Group) -> Iterator[Finding]:
    """Trainings, of drafts or of the target, that kept the weights they started with."""
    histories = {name_of(row): row.history for row in group.rows}
    if tuned := group.data["fine_tuning"]:
        histories["the fine-tuned target"] = tuned.get("history", ())
    for who, history in histories.items():
        if not validation_history.learned_nothing(history):
            continue
        name, start, last = validation_history.criterion(history), history[0], history[-1]
        after = validation_history.kept(history[1:])[name]
        text = (
            f"{who} is what it was before training: of the checkpoints of {last['step']:.0f} steps "
            f"none was better on validation than that of step 0 ({name.replace('_', ' ')} "
            f"{start[name]:.4g}, at best {after:.4g} later)"
        )
        yield group.finding("warning", text, history=list(history))


CHECKS: tuple[Check, ...] = (_budgets, _training, _seeds, _learned_nothing)
