"""Titles of tasks, methods and quantities, as people write them: GSM8K for gsm8k, KD for kd.

The title of a task or method stands in the first line of the file that registers it, before the
colon.
"""

import re
from functools import cache

from draftmark import registry
from draftmark.registry import Group

_QUANTITIES = {
    "quality_target": "quality of target alone",
    "quality_draft": "quality of draft alone",
}
# What is printed for a term of a key; {} is its value.
_TERMS = {
    "t": "T={}",
    "gamma": "blocks of {}",
    "position": "position {}",
    "draft": "draft {}",
    "engine": "{} engine",
    "batch": "batch {}",
    "length": "{} length",
    "verification": "{} verification",
    "category": "{}",
    "context": "context of {} tokens",
}


def task_title(task: str) -> str:
    """Return a task's name as people write it."""
    return _titles("tasks").get(task, task)


def method_title(label: str) -> str:
    """Return a method's label as people write it: "CSD (S,S)" for "csd (S,S)"."""
    name, *_ = re.split(r"\W", label, maxsplit=1)
    return _titles("baselines").get(name, name) + label.removeprefix(name)


def quantity_title(key: str) -> str:
    """Return a key's name in words: "block efficiency" for "block_efficiency[t=0,gamma=4]"."""
    name = key.partition("[")[0]
    return _QUANTITIES.get(name, name.replace("_", " ").replace("top1", "top-1"))


def score_title(name: str) -> str:
    """Return a score's name as people write it: "exact match", "ROUGE-L"."""
    return re.sub(r"^rouge", "ROUGE-", name).replace("_", " ")


def terms_title(terms: str) -> str:
    """Return the terms of a key in words: "T=0, blocks of 4" for "t=0,gamma=4"."""
    return ", ".join(_term_title(term) for term in terms.split(",") if term)


def key_title(key: str) -> str:
    """Return a key in words: "block efficiency, T=0, blocks of 4"."""
    _, _, rest = key.partition("[")
    return ", ".join(filter(None, (quantity_title(key), terms_title(rest.removesuffix("]")))))


def _term_title(term: str) -> str:
    name, equals, value = term.partition("=")
    if not equals:
        return score_title(term)
    if name in _TERMS:
        return _TERMS[name].replace("{}", value)
    return f"{name.replace('_', ' ')} {value}"


@cache
def _titles(group: Group) -> dict[str, str]:
    lines = {name: item.text for name, item in registry.described_names(group).items()}
    return {name: line.partition(":")[0] for name, line in lines.items() if ":" in line}
