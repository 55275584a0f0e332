"""The device that tests compare with the CPU: `make gpu` sets DRAFTMARK_DEVICE, by default cuda."""

import os

DEVICE = os.environ.get("DRAFTMARK_DEVICE", "cuda")
