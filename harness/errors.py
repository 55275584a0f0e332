"""Errors that a user can fix: one sentence with the value, the known choices and the fix.

The command line prints a `UserError` without a traceback and exits with code 2;
any other exception is a bug, which keeps its traceback and exits with code 70.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake that the user can fix."""


class Unsupported(UserError):
    """A valid request that this engine does not serve; another engine may."""


class MachineError(UserError):
    """The machine failed at work that a result depends on; that result is not kept."""


# Names of other tools' settings that have no meaning here.
_REFUSED = {
    "enable_adaptive_verification": (
        "vLLM then cuts blocks by its load, which no text decides, so no acceptance can be scored "
        "under it; dspark's confidence_threshold cuts blocks by the text alone"
    )
}


def unknown_name_error(kind: str, value: str, choices: Iterable[str]) -> UserError:
    """Return the error for a name that is not among `choices`; it suggests the nearest one."""
    if reason := _REFUSED.get(value.rpartition(".")[2]):
        return UserError(f"The {kind} {value!r} is refused: {reason}.")
    known = sorted(choices)
    near = get_close_matches(value, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"Unknown {kind} {value!r}.{hint} Known: {', '.join(known) or 'none'}.")
