"""Checks once, quickly, that the Hugging Face hub answers.

The hub's clients retry for half a minute, which a machine without a network should not wait for.
With HF_HUB_OFFLINE they answer from their caches at once, so the check is skipped.
"""

import os
import urllib.error
import urllib.request
from functools import cache

TIMEOUT_S = 5


class Unreachable(Exception):
    """The hub does not answer."""


def check_reachable() -> None:
    """Raise Unreachable, with the reason, unless the hub answers or HF_HUB_OFFLINE is set."""
    reason = None if os.environ.get("HF_HUB_OFFLINE") else _why_unreachable()
    if reason:
        raise Unreachable(reason)


@cache
def _why_unreachable() -> str | None:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urllib.request.urlopen(f"{endpoint}/robots.txt", timeout=TIMEOUT_S):
            return None
    except urllib.error.HTTPError:
        return None  # the hub answered
    except (OSError, ValueError) as error:
        return f"{endpoint} does not answer ({getattr(error, 'reason', error)})"
