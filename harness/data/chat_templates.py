"""Applies a model's chat template: a program that somebody else wrote, within a time limit.

transformers runs templates in Jinja's sandbox, which reaches no file but bounds no loop.
"""

import ctypes
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from draftmark.errors import UserError
from draftmark.text import printable_text
from draftmark.types import Turn

TIMEOUT_S = 10.0
_FIX = "fix chat_template.jinja in the model's folder, or set prompting.format = 'plain'"


class _OutOfTime(Exception):
    """Raised in the thread that applies a template, once its time is over."""


def apply_template(
    tokenizer: Any, messages: Sequence[Turn], options: Mapping[str, Any], *, tokenize: bool
) -> Any:
    """Return the template's text for turns and the opening of the answer, or its ids.

    Raises UserError for a template that fails, or that does not end within TIMEOUT_S.
    """
    _check_powers(tokenizer.get_chat_template())
    try:
        with _time_limit(TIMEOUT_S):
            return tokenizer.apply_chat_template(
                list(messages),
                add_generation_prompt=True,
                tokenize=tokenize,
                return_dict=False,
                **options,
            )
    except _OutOfTime:
        raise UserError(f"The chat template did not end within {TIMEOUT_S:g} s; {_FIX}.") from None
    except Exception as error:  # whatever the template does
        reason = printable_text(f"{type(error).__name__}: {error}", 200)
        raise UserError(f"The chat template fails ({reason}); {_FIX}.") from error


@lru_cache(maxsize=8)
def _check_powers(template: str) -> None:
    """Raise UserError for a power: a single one can take for ever, and nothing interrupts it."""
    from jinja2 import Environment, TemplateSyntaxError

    before = ""
    try:
        for line, kind, value in Environment().lex(template):
            if kind == "operator" and value == "**" and before not in ("(", ","):
                raise UserError(f"The chat template computes a power in line {line}; {_FIX}.")
            before = before if kind == "whitespace" else value
    except TemplateSyntaxError:
        return  # applying the template says what is wrong


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise _OutOfTime in the block, between two steps of Python, when its time is over."""
    thread, lock, ended = threading.get_ident(), threading.Lock(), threading.Event()

    def interrupt() -> None:
        with lock:
            if not ended.is_set():
                _raise_in(thread, _OutOfTime)

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            ended.set()
        timer.cancel()


def _raise_in(thread: int, error: type[Exception]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
