"""The recipe that measures given drafts for a target on given prompts.

`draftmark score` and `draftmark.score` make it and run it as any other recipe.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draftmark import registry
from draftmark.config.recipe import Recipe
from draftmark.config.sections import TaskRows
from draftmark.data.own_rows import task_with_rows
from draftmark.data.prompt_formats import FORMATS
from draftmark.data.rows import Rows, describe_faults, parse_rows, read_splits
from draftmark.errors import UserError
from draftmark.models.find_draft import find_model, model_name_parts
from draftmark.pipeline.publish import data_folder, writable_folder
from draftmark.pipeline.recipe_files import recipe_of
from draftmark.progress import Progress
from draftmark.store.files import write_atomically
from draftmark.store.graph import json_digest
from draftmark.types import Task, Verification

NAME = "score"  # of the run: its folder is score-<key>
ENGINES = "vllm, reference or transformers"
_OWN_PROMPTS = "prompts"  # the task that reads a file of any of the formats
_SPEED_BLOCKS, _PROMPTS_PER_BLOCK = 5, 4
_WORDS = {"lookup": "prompt_lookup", "prompt_lookup": "prompt_lookup", "suffix": "suffix"}


@dataclass(frozen=True)
class ScoreRequest:
    """What is measured: drafts of a target, on the prompts of a file or on a task's sample rows.

    A draft is a folder, a name of draftmark or of the hub, `lookup` or `suffix`. `limit` takes the
    first rows alone. Without `engines` no speed is measured.
    """

    target: str
    drafts: Sequence[str]
    prompts: Path | None = None
    task: str | None = None
    engines: Sequence[str] = ()
    temperatures: Sequence[float] = (0.0, 1.0)
    num_speculative_tokens: int = 4
    max_new_tokens: int | None = None
    limit: int | None = None
    verification: Verification = "standard"
    data: Path | None = None


def score_recipe(request: ScoreRequest, progress: Progress) -> Recipe:
    """Return the recipe of a request; models of the hub are fetched, and named by their commit.

    Raises UserError for prompts or models that are not there or not usable.
    """
    task = registry.find_registered("tasks", request.task or _OWN_PROMPTS)
    source, rows = _rows(request, task)
    target = find_model(request.target, progress).reference
    labels = _labels(request.drafts)
    methods = [
        _method(draft, label, progress) for draft, label in zip(request.drafts, labels, strict=True)
    ]
    name = model_name_parts(request.target)[-1]
    drafts = [method["draft"] for method in methods if "draft" in method]
    document = {
        "title": f"{', '.join(labels)} for {name} on {rows.source.partition(',')[0]}",
        "tasks": [task.name],
        "speed": _speed(request, rows.num_rows) or False,
        "data": {"test_rows": rows.num_rows, **source.pop("data", {})},
        **source,
        "pairs": [{"name": name, "target": target, "draft": next(iter(drafts), {"model": target})}],
        "methods": methods,
        "evaluation": _evaluation(request),
    }
    return recipe_of(document, "draftmark score")


def _rows(request: ScoreRequest, task: Task) -> tuple[dict[str, Any], Rows]:
    """Return the recipe's sections of the rows, and the rows that they take."""
    if request.limit is not None and request.limit < 1:
        raise UserError(f"limit = {request.limit} takes no prompts; it must be 1 or more.")
    if request.prompts is not None:
        path = str(request.prompts.expanduser().resolve())
        if not Path(path).is_file():
            raise UserError(f"There is no file {str(request.prompts)!r} of prompts; name one.")
        source: dict[str, Any] = {"rows": {task.name: {"file": path}}}
        task = task_with_rows(task, TaskRows(file=path))
    elif request.task:
        source = {"data": {"sources": ["directory" if request.data else "samples"]}}
    else:
        raise UserError(
            "There are no prompts: give a file with --prompts (in Python prompts=, a file or a "
            f"list) of one of the formats {', '.join(FORMATS)} or text, or take the sample rows of "
            "a task, such as --task gsm8k (task=)."
        )
    places = source.get("data", {}).get("sources", ())
    folder = data_folder(request.data)
    [raw] = read_splits(task, ["test"], sources=places, directory=folder).values()
    rows = parse_rows(task, "test", raw, request.limit)
    if rows.malformed:
        raise UserError(next(describe_faults(rows.malformed)))
    if not rows.num_rows:
        raise UserError(f"{request.prompts or task.name} has no prompts.")
    return source, rows


def _method(draft: str, label: str, progress: Progress) -> dict[str, Any]:
    """Return the recipe's entry of a draft."""
    if draft in _WORDS:
        if Path(draft).is_dir():
            raise UserError(
                f"{draft!r} is a word for {_WORDS[draft]} and a folder in {Path.cwd()}; write "
                f"'./{draft}' for the folder, or run elsewhere."
            )
        return {"name": _WORDS[draft]}
    if draft in registry.registered_names("baselines") and not Path(draft).is_dir():
        raise UserError(
            f"{draft!r} is a method, and drafts are measured as they are: name a draft's folder or "
            "model, lookup or suffix; a recipe trains with a method (draftmark run)."
        )
    found = find_model(draft, progress)
    kind = "head" if found.is_head else "model"
    return {"name": "untrained", "label": label, "draft": {kind: found.reference}}


def _labels(drafts: Sequence[str]) -> list[str]:
    """Return a name for each draft: its model's or folder's, with what tells equal ones apart.

    Raises UserError for no draft, and for one that is given twice.
    """
    if not drafts:
        raise UserError("There is no draft: name a folder, a model, lookup or suffix.")
    names = [_WORDS.get(draft) or draft for draft in drafts]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"The draft {repeated[0]!r} is given twice; name it once.")
    parts = [
        (name,) if draft in _WORDS else model_name_parts(name)
        for draft, name in zip(drafts, names, strict=True)
    ]
    return list(_distinct(parts, names))


def _distinct(parts: Sequence[tuple[str, ...]], names: Sequence[str]) -> Iterator[str]:
    """Yield the shortest end of each name that no other has; else the name as it was given."""
    for own, name in zip(parts, names, strict=True):
        ends = ("-".join(own[-length:]) for length in range(1, len(own) + 1))
        others = [other for other in parts if other is not own]
        free = (
            end
            for length, end in enumerate(ends, 1)
            if all("-".join(other[-length:]) != end for other in others)
        )
        yield next(free, name.replace("/", "-"))


def _evaluation(request: ScoreRequest) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "temperatures": list(request.temperatures),
        "num_speculative_tokens": request.num_speculative_tokens,
    }
    if request.max_new_tokens is not None:
        settings["max_new_tokens"] = request.max_new_tokens
    return settings


def _speed(request: ScoreRequest, prompts: int) -> dict[str, Any]:
    """Return the recipe's section on speed; empty if no engine is named.

    Raises UserError for a single prompt.
    """
    if not request.engines:
        return {}
    if prompts < 2:
        raise UserError(
            "Speed is measured in blocks of prompts, and there is one prompt; give two."
        )
    return {
        "engine": list(request.engines),
        "temperature": list(request.temperatures),
        "blocks": min(_SPEED_BLOCKS, prompts),
        "prompts_per_block": _PROMPTS_PER_BLOCK,
        "verification": [request.verification],
    }


def save_prompts(prompts: Sequence[Any], out: Path) -> Path:
    """Return a file of prompts below `out`, named by what is in it.

    An item is a text, a list of turns or of messages, or a row of one of the formats. A list of
    messages alone is one conversation. Raises UserError for other items.
    """
    if prompts and all(isinstance(item, Mapping) and "role" in item for item in prompts):
        rows = [{"messages": list(prompts)}]
    else:
        rows = [_row(number, item) for number, item in enumerate(prompts)]
    folder = writable_folder(out / "prompts")
    try:
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    except (TypeError, ValueError) as error:
        raise UserError(f"The prompts cannot be written as JSON: {error}.") from error
    path = folder / f"{json_digest(rows)[:12]}.jsonl"
    write_atomically(path, lines.encode())
    return path


def _row(number: int, item: Any) -> dict[str, Any]:
    match item:
        case str() | list() | tuple():
            return {"prompt": item}
        case Mapping():
            return dict(item)
    raise UserError(
        f"prompts[{number}] is {type(item).__name__}; give texts, lists of turns or messages, or "
        f"dicts with one of the columns {', '.join(FORMATS)}."
    )
