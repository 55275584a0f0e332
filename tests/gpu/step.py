"""What the programs of the steps share: their options, and how they print a table or a reason."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.gpu.steps import SKIPPED


def options(description: str | None) -> argparse.Namespace:
    """Return the options of a step."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="as little work as shows that it runs")
    return parser.parse_args()


def print_table(rows: Sequence[Mapping[str, Any]], note: str = "") -> None:
    """Print a step's table, rows by column, as the last line of its output."""
    print(json.dumps({"rows": list(rows), "note": note}), flush=True)


def skip(reason: str) -> NoReturn:
    """End a step that this machine cannot run."""
    print(reason, flush=True)
    raise SystemExit(SKIPPED)
