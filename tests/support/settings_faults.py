"""Recipes with one fault each, made from a recipe that has every key."""

import copy
import datetime
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
WHOLE: dict[str, Any] = {
    "title": "every key",
    "tasks": ["gsm8k", "mbpp"],
    "seeds": [0, 1],
    "threads": 2,
    "data": {
        "sources": ["directory", "samples"],
        "train_rows": 64,
        "validation_rows": 8,
        "test_rows": 16,
        "max_features_gb": 1.5,
    },
    "prompting": {
        "format": "chat",
        "shots": 1,
        "styles": {"gsm8k": "adaspec"},
        "stop": ["\n\n"],
    },
    "pairs": [
        {
            "name": "p",
            "target": "tiny-target",
            "draft": {"pruned": [0, 7], "head": "shared"},
            "fine_tune": {"passes": 2.0, "learning_rate": 1e-5, "beta2": 0.9},
            "dtype": "float32",
            "trust_remote_code": True,
        },
        {"name": "q", "target": "tiny-target", "draft": {"model": "tiny-target"}},
    ],
    "training": {
        "budget": {"flops": 1e12},
        "rows_per_batch": 4,
        "learning_rate": 0.001,
        "warmup_fraction": 0.5,
        "schedule": "constant",
        "weight_decay": 0.25,
        "clip_norm": 2.5,
        "validations": 2,
        "processes": 1,
        "trackers": ["jsonl"],
        "text": "mixture",
        "text_temperature": 0.5,
        "mixture": {"dataset": 0.5, "draft": 0.5},
    },
    "methods": [
        {"name": "kd", "temperature": 2.0, "training": {"passes": 3.0}},
        {"name": "adaspec", "label": "ada", "keep": 0.4, "against": ["kd"]},
        {"name": "eagle3", "depth": 3, "decay": 0.8},
    ],
    "evaluation": {
        "temperatures": [0.0, 1.0],
        "top_k": 5,
        "top_p": 0.9,
        "draft": {"temperature": 0.5, "top_k": 3, "top_p": 0.8},
        "num_speculative_tokens": 3,
        "max_new_tokens": 64,
        "samples": {"count": 3, "temperatures": [0.5], "prompts": 4},
        "judge": {
            "endpoint": "https://api.test/v1",
            "model": "judge",
            "key_variable": "JUDGE_KEY",
            "against": "reference",
            "prompts": 4,
        },
    },
    "speed": {
        "engine": "reference",
        "temperature": 0.5,
        "num_speculative_tokens": 2,
        "blocks": 2,
        "prompts_per_block": 2,
        "dtype": "bfloat16",
    },
    "by_task": {
        "mbpp": {
            "seeds": [0],
            "data": {"train_rows": 32},
            "training": {"learning_rate": 0.01},
            "fine_tune": {"passes": 1.0},
            "methods": {"kd": {"temperature": 3.0, "training": {"passes": 1.0}}},
        }
    },
}
REQUIRED: tuple[Path, ...] = (
    ("title",),
    ("tasks",),
    ("pairs",),
    ("methods",),
    ("pairs", 0, "name"),
    ("pairs", 0, "target"),
    ("pairs", 1, "draft"),
    ("methods", 1, "name"),
    ("evaluation", "judge", "endpoint"),
    ("evaluation", "judge", "model"),
)
BELOW: dict[str, float] = {  # the nearest value below a key's range
    "train_rows": 0,
    "test_rows": 0,
    "validation_rows": 0,
    "max_features_gb": 0,
    "shots": -1,
    "threads": 0,
    "passes": 0,
    "learning_rate": 0,
    "beta2": 0,
    "flops": 0,
    "rows_per_batch": 0,
    "weight_decay": -0.1,
    "warmup_fraction": -0.1,
    "clip_norm": 0,
    "validations": 0,
    "processes": 0,
    "text_temperature": -0.1,
    "top_k": -1,
    "top_p": 0,
    "num_speculative_tokens": 0,
    "max_new_tokens": 0,
    "count": 1,
    "prompts": 0,
    "blocks": 1,
    "prompts_per_block": 0,
    "temperature": -0.1,
    "keep": -0.1,
    "depth": 0,
    "decay": -0.1,
}
ABOVE: dict[str, float] = {
    "warmup_fraction": 1.1,
    "beta2": 1,
    "top_p": 1.1,
    "num_speculative_tokens": 33,
    "keep": 1.1,
    "threads": 10**6,
    "prompts": 17,
    "blocks": 17,
}
NAMES = ("tasks", "sources", "format", "text", "schedule", "dtype", "engine", "against", "head")
OTHERS: tuple[Any, ...] = (
    "text",
    7,
    1.5,
    True,
    [[]],
    {"table": 1},
    datetime.date(2026, 1, 1),
    10**400,
)


@dataclass(frozen=True)
class Fault:
    """A recipe with one fault, and the key that the error must name."""

    kind: str
    key: str
    toml: str


def faults(count: int, seed: int) -> Iterator[Fault]:
    """Yield `count` recipes with one fault each, of every kind in turn."""
    draw = random.Random(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)](draw, copy.deepcopy(WHOLE))


def toml(document: dict[str, Any]) -> str:
    """Return a document as TOML, one line per key."""
    return "\n".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in document.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def _places(value: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield at, value
    inner: Any = ()
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in inner:
        yield from _places(item, (*at, name))


def _set(document: Any, place: Path, value: Any) -> None:
    *before, last = place
    for name in before:
        document = document[name]
    document[last] = value


def _get(document: Any, place: Path) -> Any:
    for name in place:
        document = document[name]
    return document


def _key(place: Path) -> str:
    return next(str(name) for name in reversed(place) if isinstance(name, str))


def _wrong_type(draw: random.Random, document: dict[str, Any]) -> Fault:
    leaves = [
        (place, value)
        for place, value in _places(document)
        if place and not (isinstance(value, dict) and "by_task" in place)
    ]
    place, value = draw.choice(leaves)
    wrong = [other for other in OTHERS if not _alike(other, value)]
    _set(document, place, draw.choice(wrong))
    return Fault("wrong type", _key(place), toml(document))


def _alike(other: Any, value: Any) -> bool:
    if isinstance(value, bool) or isinstance(other, bool):
        return isinstance(value, bool) and isinstance(other, bool)
    if isinstance(value, int | float) and isinstance(other, int | float):
        too_large = isinstance(value, float) and other == 10**400
        return not (too_large or (isinstance(value, int) and isinstance(other, float)))
    return type(other) is type(value)


def _unknown_key(draw: random.Random, document: dict[str, Any]) -> Fault:
    open_ones = ("styles", "mixture", "by_task")
    tables = [
        place
        for place, value in _places(document)
        if isinstance(value, dict) and not (place and place[-1] in open_ones)
    ]
    place = draw.choice([each for each in tables if each[-2:] != ("mbpp", "methods")])
    near = draw.choice([str(name) for name in _get(document, place)])
    key = draw.choice([near + "s_", near[:-1] + "_", "zzz", "__class__", "a.b", "ключ", ""])
    _set(document, (*place, key), draw.choice([1, "x", {}]))
    return Fault("unknown key", key, toml(document))


def _out_of_range(draw: random.Random, document: dict[str, Any]) -> Fault:
    bounds = draw.choice([BELOW, BELOW, ABOVE])
    places = [p for p, v in _places(document) if p and p[-1] in bounds and not isinstance(v, dict)]
    place = draw.choice(places)
    while place[-3:-1] == ("evaluation", "draft") and place[-1] in ABOVE and bounds is BELOW:
        place = draw.choice(places)
    _set(document, place, bounds[str(place[-1])])
    return Fault("out of range", _key(place), toml(document))


def _unknown_name(draw: random.Random, document: dict[str, Any]) -> Fault:
    wrong = draw.choice(["gsm9k", "", "../gsm8k", "/etc/passwd", "a/b", "float", "Kd", "x" * 300])
    places = [p for p, v in _places(document) if isinstance(v, str) and _key(p) in NAMES]
    places += [("methods", 0, "name"), ("training", "trackers", 0)]
    place = draw.choice(places)
    _set(document, place, wrong)
    key = {"tasks": "task", "name": "method"}.get(_key(place), _key(place))
    return Fault("unknown name", key, toml(document))


def _missing(draw: random.Random, document: dict[str, Any]) -> Fault:
    place = draw.choice(REQUIRED)
    del _get(document, place[:-1])[place[-1]]
    return Fault("missing", _key(place), toml(document))


def _duplicate(draw: random.Random, document: dict[str, Any]) -> Fault:
    key = draw.choice(["tasks", "seeds", "pairs", "methods", *document])
    if key in ("tasks", "seeds", "pairs", "methods") and draw.random() < 0.7:
        document[key].append(document[key][0])
        return Fault("duplicate", key, toml(document))
    return Fault("duplicate", key, toml(document) + "\n" + toml({key: document[key]}))


def _not_finite(draw: random.Random, document: dict[str, Any]) -> Fault:
    floats = [place for place, value in _places(document) if isinstance(value, float)]
    place = draw.choice(floats)
    _set(document, place, draw.choice([float("nan"), float("inf"), float("-inf")]))
    return Fault("not finite", _key(place), toml(document))


def _misplaced(draw: random.Random, document: dict[str, Any]) -> Fault:
    tables = [n for n, value in document.items() if isinstance(value, dict) and n != "by_task"]
    name, into = draw.sample(tables, 2)
    document[into][name] = document.pop(name) if draw.random() < 0.5 else document[name]
    return Fault("misplaced", name, toml(document))


Make = Callable[[random.Random, dict[str, Any]], Fault]
KINDS: tuple[Make, ...] = (
    _wrong_type,
    _unknown_key,
    _out_of_range,
    _unknown_name,
    _missing,
    _duplicate,
    _not_finite,
    _misplaced,
)
