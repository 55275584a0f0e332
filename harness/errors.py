"""What a person can mend: one sentence with the value, the known choices and the mend.

The command line prints a `UserError` without a traceback and exits with code 2;
any other exception is a bug and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that the person at the keyboard can put right."""


class Unsupported(UserError):
    """Sound in itself, but not done by the engine that was asked: others may do it."""


def unknown(kind: str, value: str, choices: Iterable[str]) -> UserError:
    """Return the error for a name that is none of `choices`, with the nearest one."""
    known = sorted(choices)
    near = get_close_matches(value, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"Unknown {kind} {value!r}.{hint} Known: {', '.join(known) or 'none'}.")
