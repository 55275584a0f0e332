"""The hub data sets that a run's rows came from."""

from collections.abc import Mapping
from typing import Any

from draftmark import registry
from draftmark.errors import UserError


def hub_data_set(facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the name and commit of the data set of a task's test rows; None for other rows.

    `facts` are a run's facts of the task. They store the beginning of the commit, and the task has
    all of it if it still names that commit.
    """
    source, _, place = str(facts["source"]["test"]).partition(" ")
    name, _, commit = place.partition("@")
    if source != "hub" or not name:
        return None
    try:
        known = str(registry.find_registered("tasks", facts["task"]).hub.revision)
    except (UserError, AttributeError):
        return name, commit
    return name, known if known.startswith(commit) else commit
