"""Where tests find files: the checkout, and real rows if this machine has them."""

import os
from pathlib import Path

from draftmark.data.sources import DATA_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
# Real rows, where the environment names them or a folder beside the checkout holds them.
REAL_ROWS = Path(os.environ.get(DATA_VARIABLE) or ROOT.parent / "shared" / "data")
