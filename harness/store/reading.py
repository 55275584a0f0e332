"""Reads files that someone else may have written, such as those of a run's folder or of a store.

A file that is malformed ends in one sentence that names it, whatever is wrong inside.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field, TypeAdapter, ValidationError

from draftmark.config.validation import explain_error
from draftmark.errors import UserError
from draftmark.store.plain_files import read_plain
from draftmark.text import printable_text

AGAIN = "run the recipe again"
_LONGEST_REASON = 300  # characters
# Numbers in files. Beyond these bounds nothing was measured, and sums and ratios could overflow.
Count = Annotated[int, Field(ge=0, le=10**15)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]  # 300 years
Duration = Annotated[float, Field(ge=1e-12, le=1e10)]  # seconds of something that ran
# What parsing and unpacking malformed data raises.
MALFORMED = (
    *(pa.ArrowException, OSError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RecursionError, MemoryError),
)


@contextmanager
def explained(path: Path, fix: str = AGAIN) -> Iterator[None]:
    """Raise UserError, with the path and the fix, if the block cannot read a file.

    A Parquet file is refused before the block if it would unpack to more than memory takes.
    """
    try:
        if path.suffix == ".parquet" and path.exists():
            from draftmark.store.parquet_files import check_parquet

            check_parquet(path)
        yield
    except UserError:
        raise
    except ValidationError as error:
        reason = explain_error(error, "").removeprefix(": ").removesuffix(".")
        raise _unreadable(path, reason, fix) from error
    except MALFORMED as error:
        raise _unreadable(path, f"{error}" or type(error).__name__, fix) from error


def _unreadable(path: Path, reason: str, fix: str) -> UserError:
    return UserError(f"{path} cannot be read: {printable_text(reason, _LONGEST_REASON)}; {fix}.")


def read_json(path: Path, kind: Any = dict[str, Any], fix: str = AGAIN) -> Any:
    """Return a JSON file as an instance of `kind`, by default an object.

    Raises UserError if the file is missing, is not JSON or is not of that kind.
    """
    with explained(path, fix):
        return adapter(kind).validate_json(read_plain(path))


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the validator of a type; making one takes longer than using it."""
    return TypeAdapter(kind)
