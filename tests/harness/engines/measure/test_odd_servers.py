"""Mutations of what servers reply: never a traceback, never a hang, and the right exit code."""

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hangs import no_hang
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_server import STREAM, serve_pieces

from draftmark.engines.measure.draft_counters import count_drafts, read_counters
from draftmark.engines.measure.endpoint import Endpoint, Reply
from draftmark.errors import UserError
from draftmark.grading.chat import ChatModel
from draftmark.grading.http_client import HttpClient

ASKED = ({"role": "user", "content": "Well?"},)
EVENTS: list[Any] = [
    {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"delta": {"content": "word "}, "finish_reason": None}]},
    {"choices": [{"delta": {"content": "more"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"completion_tokens": 6}},
]
REPLY: Any = {"choices": [{"message": {"role": "assistant", "content": "A"}}]}
PAGE = "\n".join(
    f'vllm:{name}_total{{engine="0",model_name="m"{more}}} {value}'
    for name, more, value in (
        ("spec_decode_num_drafts", "", 16),
        ("spec_decode_num_draft_tokens", "", 48),
        ("spec_decode_num_accepted_tokens", "", 24),
        ("spec_decode_num_accepted_tokens_per_pos", ',position="0"', 16),
        ("spec_decode_num_accepted_tokens_per_pos", ',position="1"', 8),
        ("request_success", ',finished_reason="stop"', 8),
    )
)
ODD_VALUES = [
    *(None, True, -1, 0, 1.5, 10**400, 2**63, "", "6", "\ud800", [], {}, [[]], {"x": None}),
    *(float("nan"), float("inf"), -float("inf"), "\x1b[2J", "x" * 10_000),
]
ODD_BYTES = [
    *(b"\0", b"\xff", b"\n", b"\r\n\r\n", b"{", b"[" * 2000, b'"', b"NaN", b"1e999", b"-1", b" "),
    *(b"data: ", b"data: [DONE]\n", b"\xed\xa0\x80", b"}", b"# ", b'position="', b"9" * 400),
]


def replaced(value: Any, chance: random.Random) -> Any:
    """Return JSON in which one value, at any depth, is another or missing."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.15:
        return chance.choice(ODD_VALUES)
    copied: Any = value.copy()
    key = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if chance.random() < 0.2:
        del copied[key]
    else:
        copied[key] = replaced(value[key], chance)
    return copied


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return bytes of which some were removed, replaced, repeated or inserted."""
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.randrange(1, 40))
        new = chance.choice([b"", chance.choice(ODD_BYTES), data[start:end] * 2])
        data = data[:start] + new + data[end:]
    return data


def head(data: bytes) -> bytes:
    """Return the headers of an answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data)


def stream(events: list[Any]) -> bytes:
    """Return a stream of events."""
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return STREAM + "".join([*lines, "data: [DONE]\n\n"]).encode()


def mutated_streams(seed: int) -> Iterator[bytes]:
    """Yield a stream with a mutated event, and one with damaged bytes, headers included."""
    chance = random.Random(seed)
    events = EVENTS.copy()
    place = chance.randrange(len(events))
    events[place] = replaced(events[place], chance)
    yield stream(events)
    yield damaged(stream(EVENTS), chance)


def mutated_replies(seed: int) -> Iterator[bytes]:
    """Yield a judge's answer with a mutated value, and one with damaged bytes."""
    chance = random.Random(seed)
    odd = json.dumps(replaced(REPLY, chance)).encode()
    whole = json.dumps(REPLY).encode()
    yield head(odd) + odd
    yield damaged(head(whole) + whole, chance)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


MUTATIONS = int(os.environ.get("DRAFTMARK_MUTATIONS", "150"))
FUZZED = settings(
    max_examples=MUTATIONS, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def refusal(call: Callable[[], object]) -> tuple[Any, str]:
    """Return what a call returns and "", or None and the sentence of its refusal."""
    try:
        return call(), ""
    except (UserError, ValueError) as error:
        return None, str(error)


@FUZZED
@given(st.integers(0, 2**32))
def test_a_mutated_stream_is_a_reply_or_a_sentence(seed: int) -> None:
    for data in mutated_streams(seed):
        with serve_pieces(data) as url, no_hang():
            endpoint = Endpoint(HttpClient(url, timeout_s=5), "m")
            reply, sentence = refusal(partial(endpoint.complete, ASKED, {"max_tokens": 32}))
        assert sentence or (isinstance(reply, Reply) and 0 < reply.num_tokens <= 32)
        assert not sentence or f"'m' at {url} cannot be measured" in sentence


@FUZZED
@given(st.integers(0, 2**32))
def test_a_mutated_reply_of_a_judge_is_a_reply_or_a_sentence(seed: int) -> None:
    for data in mutated_replies(seed):
        with serve_pieces(data) as url, no_hang():
            judge = ChatModel(HttpClient(url, timeout_s=5), "m", waits_s=())
            reply, sentence = refusal(partial(judge.ask, ASKED))
        assert isinstance(reply, str) or f"'m' at {url} gives no usable answer" in sentence


@settings(max_examples=max(400, MUTATIONS))
@given(st.integers(0, 2**32))
def test_a_mutated_page_has_possible_counts_or_is_refused(seed: int) -> None:
    page = damaged(PAGE.encode(), random.Random(seed)).decode("utf-8", "replace")
    for before, after in ((page, PAGE), (PAGE, page), ("", page)):
        counted, sentence = refusal(
            lambda before=before, after=after: count_drafts(
                read_counters(before, ["m"]), read_counters(after, ["m"])
            )
        )
        assert "counter" in sentence or 0 <= counted.accepted <= counted.drafted
        assert sentence or counted.drafts == 0 or 0 <= counted.draft_acceptance_rate <= 1
