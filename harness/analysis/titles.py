"""Titles of tasks and methods, as people write them: GSM8K for gsm8k, KD for kd.

A title stands in the first line of the file that registers it, before the colon.
"""

from functools import cache

from draftmark import registry
from draftmark.registry import Group


def task_title(task: str) -> str:
    """Return a task's name as people write it."""
    return _titles("tasks").get(task, task)


def method_title(label: str) -> str:
    """Return a method's label as people write it: "KD, 3 passes" for "kd, 3 passes"."""
    name, comma, rest = label.partition(",")
    return _titles("baselines").get(name, name) + comma + rest


@cache
def _titles(group: Group) -> dict[str, str]:
    described = registry.described_names(group)
    return {name: line.partition(":")[0] for name, line in described.items() if ":" in line}
