"""The facts of rows, machines and code in a merged result, of all its runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from draftmark.analysis.merging.parts import Part

Facts = Mapping[str, Any]
_DIGITS = 8  # of a digest that names rows
# A run that trains nothing has these facts of its test rows alone.
_FACTS_OF_SPLITS = ("rows", "digest", "source", "hub", "left_out")


def joint_data(parts: Sequence[Part]) -> dict[tuple[str, str], Facts]:
    """Return the facts of each task and pair.

    Rows of a split that runs do not share are named by their hash: "train 1a2b3c4d".
    """
    found: dict[tuple[str, str], list[Facts]] = {}
    for part in parts:
        for facts in part.record.data:
            found.setdefault((facts["task"], facts["pair"]), []).append(facts)
    return {place: _joined(several) for place, several in found.items()}


def _joined(several: Sequence[Facts]) -> Facts:
    joined = dict(several[0])
    for other in several[1:]:
        names = _split_names(joined["digest"], other["digest"])
        for fact in _FACTS_OF_SPLITS:
            its = {names[split]: value for split, value in other.get(fact, {}).items()}
            joined[fact] = {**its, **joined.get(fact, {})}
        overlaps = (
            {**it, "group": names.get(it["group"], it["group"])} for it in other["overlaps"]
        )
        known = joined["overlaps"]
        joined["overlaps"] = [*known, *(item for item in overlaps if item not in known)]
        for fact in ("models", "drafts"):
            if both := {**other.get(fact, {}), **joined.get(fact, {})}:
                joined[fact] = both
    return joined


def _split_names(known: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    """Return the name of each split of other rows in the joint facts."""
    return {
        split: split if known.get(split, digest) == digest else f"{split} {digest[:_DIGITS]}"
        for split, digest in digests.items()
    }


def joint_manifest(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the manifest of all runs: what they share, and both values of what they do not.

    The commit is the newest one.
    """
    manifests = [part.record.manifest for part in parts]
    joined: dict[str, Any] = _both(manifests)
    for name in ("git", "project"):
        commits = [found for it in manifests if (found := it.get(name))]
        joined[name] = max(
            commits, key=lambda it: (it.get("date") or "", it["commit"]), default=None
        )
    return joined


def _both(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the keys of all tables; text that differs is joined, other values become None."""
    found = {}
    for key in dict.fromkeys(key for table in tables for key in table):
        values = [table[key] for table in tables if key in table]
        found[key] = _one_of(values)
    return found


def _one_of(values: Sequence[Any]) -> Any:
    if all(value == values[0] for value in values):
        return values[0]
    if all(isinstance(value, Mapping) for value in values):
        return _both(values)
    if all(isinstance(value, list) for value in values):
        return sorted({item for value in values for item in value})
    if all(isinstance(value, str) for value in values):
        return " and ".join(sorted(set(values)))
    return None
