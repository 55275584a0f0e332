"""Where tests find files: a checkout or an unpacked sdist, and real rows if there are any."""

import os
from pathlib import Path

from draftmark.data.sources import DATA_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "draftmark"  # a link in a checkout; an sdist holds the code here alone
# Real rows, where the environment names them or a folder beside the checkout holds them.
REAL_ROWS = Path(os.environ.get(DATA_VARIABLE) or ROOT.parent / "shared" / "data")


def in_repository(path: str) -> Path:
    """Return where the repository's file of that path is here."""
    folder, _, rest = path.partition("/")
    if folder in ("tasks", "baselines", "reports"):
        return PACKAGE / path
    return (PACKAGE if folder == "harness" else ROOT / folder) / rest
