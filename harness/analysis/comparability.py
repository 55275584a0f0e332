"""What has to be the same for every cell of a task and pair, and what each was measured on."""

from collections.abc import Mapping
from typing import Any

from draftmark.results import Result

# What tells one measurement of speed from the others of a recipe.
_TERMS = ("engine", "temperature", "num_speculative_tokens", "batch_size")


def shared_grounds(rows: Mapping[str, Result]) -> dict[str, dict[str, Any]]:
    """Return each row's grounds by name, of those that every row has.

    A measurement of speed that failed for one method leaves the others theirs.
    """
    found = {who: _ground_of(row) for who, row in rows.items()}
    shared = set.intersection(*(set(one) for one in found.values())) if found else set()
    return {
        who: {name: value for name, value in one.items() if name in shared}
        for who, one in found.items()
    }


def _ground_of(row: Result) -> dict[str, Any]:
    ground: dict[str, Any] = {}
    for entry in row.provenance["entries"]:
        settings, inputs = entry["settings"], entry["inputs"]
        if entry["stage"] == "grades":
            ground |= {"test rows": settings["rows"], "target": inputs["target"]}
        elif entry["stage"] == "scores":
            samplers = settings["samplers"]
            where = f"at temperature {samplers['target']['temperature']:g}"
            ground |= {f"texts scored {where}": inputs["features"], f"samplers {where}": samplers}
        elif entry["stage"] == "decodes":
            terms = ", ".join(str(settings[name]) for name in _TERMS if name in settings)
            which = f"({terms})" if "draft" in inputs else f"({terms}, noise floor)"
            ground |= {f"speed setting {name} {which}": value for name, value in settings.items()}
    return ground
