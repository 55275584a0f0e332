"""Folders that tests read: the checkout, and real rows if present."""

import os
from pathlib import Path

from draftmark.data.sources import DATA_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
# Real rows: the environment names the folder, or it lies beside the checkout.
REAL_ROWS = Path(os.environ.get(DATA_VARIABLE) or ROOT.parent / "shared" / "data")
