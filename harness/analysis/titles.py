"""Titles of tasks and methods, as people write them: GSM8K for gsm8k, KD for kd.

A title stands in the first line of the file that registers it, before the colon.
"""

import re
from functools import cache

from draftmark import registry
from draftmark.registry import Group


def task_title(task: str) -> str:
    """Return a task's name as people write it."""
    return _titles("tasks").get(task, task)


def method_title(label: str) -> str:
    """Return a method's label as people write it: "CSD (S,S)" for "csd (S,S)"."""
    name, *_ = re.split(r"\W", label, maxsplit=1)
    return _titles("baselines").get(name, name) + label.removeprefix(name)


@cache
def _titles(group: Group) -> dict[str, str]:
    described = registry.described_names(group)
    return {name: line.partition(":")[0] for name, line in described.items() if ":" in line}
