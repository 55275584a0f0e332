"""Asks a model behind an OpenAI-compatible endpoint; the key is sent there and goes nowhere else.

It is in no message, file, log or representation: what a server says is stripped of it before
anyone reads it, and redirects, which would carry it elsewhere, are refused.
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.progress import Step

Messages = Sequence[Mapping[str, str]]
Name = tuple[str, bool]  # of a question: its prompt, and whether the draft's answer is the first
PARALLEL = 4
_TIMEOUT_S = 120
_MAX_BYTES = 2**20
_SHOWN = 200  # characters of what a server said
_PASSING = frozenset({408, 429, 500, 502, 503, 504})  # may be over in a moment


def read_key(variable: str, whose: str = "judge") -> str:
    """Return the key in an environment variable; "" if no variable is named.

    Raises UserError, which does not repeat it, if there is none or it cannot be a key.
    """
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise UserError(
            f"The {whose}'s key is read from the environment variable {variable}, which is not "
            "set; set it, or name no variable for an endpoint that needs none."
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"{variable} does not hold a key: it has spaces or signs that no key has.")
    return key


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Refuse: the error that follows names the status."""


class _Failed(Exception):
    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


@dataclass(frozen=True)
class Chat:
    """A model at an endpoint (its base URL, such as https://api.openai.com/v1)."""

    endpoint: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    key: str = field(default="", repr=False)
    waits_s: Sequence[float] = (1, 4, 16)  # before each further attempt

    def ask(self, messages: Messages) -> str:
        """Return the model's reply; raises UserError, naming the endpoint, if none is to be had."""
        for wait_s in (*self.waits_s, None):
            try:
                return self._ask(messages)
            except _Failed as failure:
                if wait_s is None or not failure.passing:
                    raise UserError(
                        f"The model {self.model!r} at {self.endpoint} gives no answer: {failure}; "
                        "mend that, or leave [evaluation.judge] out of the recipe, and run again: "
                        "the answers so far are kept."
                    ) from None
                time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, messages: Messages) -> str:
        fields = {**self.options, "model": self.model, "messages": list(messages)}
        request = urllib.request.Request(
            f"{self.endpoint.rstrip('/')}/chat/completions",
            data=json.dumps(fields).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "draftmark"},
        )
        if self.key:
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=_TIMEOUT_S) as got:
                text = got.read(_MAX_BYTES).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            said = self._harmless(error.read(_MAX_BYTES).decode("utf-8", "replace"))
            reason = f"status {error.code}, {said[:_SHOWN]!r}"
            raise _Failed(reason, passing=error.code in _PASSING) from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            raise _Failed(self._harmless(reason), passing=True) from None
        return self._reply(self._harmless(text))

    def _reply(self, text: str) -> str:
        try:
            reply = json.loads(text)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            reply = None
        if not isinstance(reply, str):
            raise _Failed(f"what it sends is no chat completion, {text[:_SHOWN]!r}", passing=False)
        return reply

    def _harmless(self, text: str) -> str:
        return text.replace(self.key, "[key]") if self.key else text


def ask_all(
    ask: Callable[[Messages], str], questions: Mapping[Name, Messages], kept: Path, step: Step
) -> dict[Name, str]:
    """Return the reply to each question, in their order; several are asked at a time.

    Each is appended to the file `kept` as it comes and is not asked for again if it is there.
    """
    replies = _read(kept)
    waiting = [name for name in questions if name not in replies]
    step.advance(len(questions) - len(waiting))
    with ThreadPoolExecutor(PARALLEL) as pool, kept.open("a", encoding="utf-8") as file:
        for name, reply in zip(
            waiting, pool.map(lambda name: ask(questions[name]), waiting), strict=True
        ):
            # The line's end comes first: what a killed run left half written spoils no other line.
            file.write("\n" + json.dumps([name, reply]))
            file.flush()
            replies[name] = reply
            step.advance()
    return {name: replies[name] for name in questions}


def _read(kept: Path) -> dict[Name, str]:
    replies = {}
    for line in kept.read_text("utf-8").splitlines() if kept.exists() else ():
        try:
            name, reply = json.loads(line)
        except ValueError:  # empty, or half written
            continue
        replies[tuple(name)] = reply
    return replies
