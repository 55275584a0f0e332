"""The base classes of methods; builds methods from a recipe."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from draftmark import registry
from draftmark.config.model_sections import DraftInit
from draftmark.config.recipe import MethodEntry
from draftmark.config.validation import explain_error, toml_to_json
from draftmark.errors import UserError, unknown_name_error
from draftmark.models.heads.block_layouts import TrainedHead
from draftmark.speculation.interfaces import Drafter, FeatureMethod, Method, StartsFromHead
from draftmark.text import printable_text
from draftmark.types import Kind, Ledger, Placement, TrainingRun

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext

_DRAFTING = "drafting"  # in the metadata of a knob's field
_NEEDED = ("kind", "trains", "train", "drafter")  # the attributes of a Method
_BASE = "draftmark.speculation.methods.LanguageModelMethod"


@dataclass(frozen=True)
class LanguageModelMethod:
    """Base class of methods whose draft is a language model, which proposes token by token."""

    kind: ClassVar[Kind] = "language_model"
    trains: ClassVar[bool] = True

    def training_runs(self, run: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the training runs that make a draft: the recipe's `run` alone."""
        return (run,)

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the saved language model as a drafter."""
        from draftmark.models.language_model import load_model
        from draftmark.speculation.language_model_drafter import LanguageModelDrafter

        return LanguageModelDrafter(load_model(directory, placement))


@dataclass(frozen=True)
class TrainingFreeMethod:
    """Base class of methods without a model; `score` and `start` make the method a drafter."""

    kind: ClassVar[Kind] = "training_free"
    trains: ClassVar[bool] = False

    def train(self, context: "TrainingContext") -> "Draft":
        """Return a draft without a model, with an empty ledger."""
        from draftmark.training.context import Draft

        return Draft(None, Ledger())

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the method itself, without reading the folder."""
        return cast(Drafter, self)


def build_method(entry: MethodEntry) -> Method:
    """Return the method of a recipe entry, with the entry's knobs.

    Raises UserError for an unknown method, for a class that is not a frozen dataclass with the
    interface of a Method, and for unknown or invalid knobs.
    """
    name, knobs = entry.name, entry.knobs
    method = _method_class(name)
    fields = {field.name for field in dataclasses.fields(method)}
    if unknown := [knob for knob in knobs if knob not in fields]:
        known = fields | MethodEntry.model_fields.keys() - {"name"}
        raise unknown_name_error(f"knob of method {name!r}", unknown[0], known)
    try:
        return cast(Method, _adapter(method).validate_json(toml_to_json(knobs), strict=True))
    except ValidationError as error:
        raise UserError(explain_error(error, f"method {name!r}")) from error
    except PydanticUserError as error:
        reason = printable_text(error.message.partition("\n")[0], 200)
        raise UserError(f"A knob of method {name!r} has an unusable type: {reason}") from error


def drafting_knob(default: Any) -> Any:
    """Return the field of a knob that decides how a trained draft drafts, not how it trains.

    Entries that differ only in such knobs share one draft.
    """
    return dataclasses.field(default=default, metadata={_DRAFTING: True})


def as_trained(method: Method) -> Method:
    """Return a method whose drafting knobs have their defaults, as its training sees it."""
    own = cast(Any, method)
    defaults = {field.name: field.default for field in _drafting_fields(method)}
    return cast(Method, dataclasses.replace(own, **defaults)) if defaults else method


def drafting_knobs(method: Method) -> dict[str, Any]:
    """Return the drafting knobs of a method that differ from their defaults."""
    knobs = {field.name: getattr(method, field.name) for field in _drafting_fields(method)}
    usual = as_trained(method)
    return {name: value for name, value in knobs.items() if value != getattr(usual, name)}


def _drafting_fields(method: Method) -> list[dataclasses.Field[Any]]:
    return [it for it in dataclasses.fields(cast(Any, method)) if it.metadata.get(_DRAFTING)]


def start_from_head(method: Method, entry: MethodEntry, head: TrainedHead) -> FeatureMethod:
    """Return the method as it starts from a trained head.

    Raises UserError if the method trains no head, or a head of another architecture.
    """
    if not isinstance(method, StartsFromHead):
        raise UserError(
            f"method {entry.title!r} does not start from a trained head such as {head.reference}; "
            "take untrained to measure the head, eagle or eagle3 to train it further, or give the "
            "method a draft with model, pruned or random."
        )
    try:
        return method.start_from(head)
    except ValueError as error:
        raise UserError(f"method {entry.title!r} and the head {head.reference}: {error}.") from None


def check_draft_has_effect(method: Method, entry: MethodEntry) -> None:
    """Raise UserError for an entry's own draft that the entry's method does not read."""
    if entry.draft is None or method.kind == "language_model" or entry.draft.trained_head:
        return
    makes = "drafts without a model" if method.kind == "training_free" else "makes its own head"
    raise UserError(
        f"method {entry.title!r} {makes}, so draft = {{ ... }} ({entry.draft.describe()}) has no "
        "effect; leave it out."
    )


def check_vocabulary(method: Method, entry: MethodEntry, init: DraftInit) -> None:
    """Raise UserError if a method trains a draft whose vocabulary is shared.

    Losses compare all tokens of the target, and such a draft cannot propose some of them.
    """
    if init.vocabulary == "shared" and method.kind == "language_model" and method.trains:
        raise UserError(
            f"method {entry.title!r} trains its draft, but a draft with vocabulary = 'shared' is "
            "measured as it is; take untrained, or a draft with its target's tokenizer."
        )


def takes_list(name: str, knob: str) -> bool | None:
    """True if a knob of a method may be a list; None if the method has no such knob."""
    kinds = {field.name: field.type for field in dataclasses.fields(_method_class(name))}
    if knob not in kinds:
        return None
    kind = kinds[knob]
    if isinstance(kind, str):  # of a file with `from __future__ import annotations`
        return re.search(r"\b(list|tuple|Sequence)\b", kind) is not None
    return any(
        (get_origin(part) or part) in (list, tuple, Sequence) for part in (kind, *get_args(kind))
    )


@cache
def _adapter(method: Any) -> TypeAdapter[Any]:
    return TypeAdapter(method)


def _method_class(name: str) -> Any:
    """Return the class in a method's file, whose fields are the knobs."""
    method = registry.find_registered("baselines", name)
    where = registry.module_name("baselines", name)
    if not isinstance(method, type):
        raise UserError(
            f"METHOD in {where} is {method!r:.60}, not a class; name the class itself, without ()."
        )
    # Look in the class's own names: a subclass of a dataclass must be decorated itself.
    declared: Any = vars(method).get("__dataclass_params__")
    if declared is None or not declared.frozen:
        raise UserError(
            f"{method.__name__} in {where} is not a frozen dataclass, so its knobs would not "
            "count; write @dataclass(frozen=True) above it."
        )
    missing = [part for part in _NEEDED if not hasattr(method, part)]
    if missing:
        raise UserError(
            f"{method.__name__} in {where} has no {', '.join(missing)}; define it, or derive the "
            f"class from {_BASE}, which has everything except train."
        )
    return method
