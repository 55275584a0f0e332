"""Checks once, quickly, that the Hugging Face hub answers.

The hub's clients retry for half a minute, which a machine without a network should not wait for.
With HF_HUB_OFFLINE they answer from their caches at once, so the check is skipped.
"""

import http.client
import os
import urllib.error
import urllib.request
from functools import cache

from draftmark.grading.bounded_exchange import open_url

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
        with open_url(urllib.request.Request(f"{endpoint}/robots.txt"), TIMEOUT_S):
            return None
    except urllib.error.HTTPError:
        return None  # the hub answered
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{endpoint} does not answer ({getattr(error, 'reason', error)})"
