"""Asks a judge: a model at an OpenAI-compatible endpoint."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.grading.http_client import HttpClient, RequestFailed, not_a_completion
from draftmark.progress import Step

Messages = Sequence[Mapping[str, str]]
QuestionId = tuple[str, bool]  # the example's id, and True if the draft's answer is A
PARALLEL = 4


@dataclass(frozen=True)
class ChatModel:
    """A model at a server, with further fields of each request."""

    client: HttpClient
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    waits_s: Sequence[float] = (1, 4, 16)  # before each further attempt

    def ask(self, messages: Messages) -> str:
        """Return the model's reply; raises UserError, naming the endpoint, if there is none."""
        for wait_s in (*self.waits_s, None):
            try:
                return self._ask(messages)
            except RequestFailed as failure:
                if wait_s is None or not failure.is_temporary:
                    raise UserError(
                        f"The model {self.model!r} at {self.client.url} gives no usable answer: "
                        f"{failure}; fix that, or leave [evaluation.judge] out of the recipe, and "
                        "run again: the replies so far are kept."
                    ) from None
                time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, messages: Messages) -> str:
        fields = {**self.options, "model": self.model, "messages": list(messages)}
        answer = self.client.read("chat/completions", fields)
        try:
            reply = json.loads(answer)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            reply = None
        if not isinstance(reply, str):
            raise not_a_completion(answer)
        return reply


def ask_all(
    ask: Callable[[Messages], str], questions: Mapping[QuestionId, Messages], kept: Path, step: Step
) -> dict[QuestionId, str]:
    """Return the reply to each question, in order; PARALLEL questions are asked at a time.

    Each reply is appended to the file `kept` as it arrives; a question whose reply is in that file
    is not asked again.
    """
    replies = _read(kept)
    waiting = [name for name in questions if name not in replies]
    step.advance(len(questions) - len(waiting))
    with ThreadPoolExecutor(PARALLEL) as pool, kept.open("a", encoding="utf-8") as file:
        answers = pool.map(lambda name: ask(questions[name]), waiting)
        for name, reply in zip(waiting, answers, strict=True):
            # The line break comes first: half a line of a killed run must not spoil this one.
            file.write("\n" + json.dumps([name, reply]))
            file.flush()
            replies[name] = reply
            step.advance()
    return {name: replies[name] for name in questions}


def _read(kept: Path) -> dict[QuestionId, str]:
    replies = {}
    for line in kept.read_bytes().splitlines() if kept.is_file() else ():
        with suppress(ValueError, TypeError, RecursionError):  # empty, half written or damaged
            (example_id, draft_is_a), reply = json.loads(line)
            if isinstance(reply, str):
                replies[example_id, draft_is_a] = reply
    return replies
