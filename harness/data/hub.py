"""Whether the Hugging Face hub answers, asked once and quickly.

Its clients retry for half a minute before they give up; a machine without a network should not wait
that long. With HF_HUB_OFFLINE set they answer from their own caches at once, so they are not kept
from it.
"""

import os
import urllib.error
import urllib.request
from functools import cache

TIMEOUT_S = 5


class Unreachable(Exception):
    """The hub does not answer."""


def require() -> None:
    """Raise Unreachable, with the reason, unless the hub answers or caches are to be used."""
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
        return None  # it answered
    except (OSError, ValueError) as error:
        return f"{endpoint} does not answer ({getattr(error, 'reason', error)})"
