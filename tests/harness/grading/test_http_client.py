"""A server that drips, floods or stops early ends a request in one sentence, and in time."""

import json

import pytest
from raw_server import STREAM, serve_pieces

from draftmark.grading.http_client import HttpClient, RequestFailed

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "headers": ((OK,), b"X"),
    "whole answer": ((OK + b"Content-Length: 9999\r\n\r\n",), b" "),
    "no length": ((OK + b"\r\n",), b" "),
    "chunks": ((CHUNKED,), b"1\r\nx\r\n"),
    "continues": ((), b"HTTP/1.1 100 Continue\r\n\r\n"),
    "refusal": ((b"HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\n",), b" "),
}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize("drip", DRIPS)
def test_the_deadline_is_that_of_the_whole_answer(drip: str) -> None:
    pieces, repeat = DRIPS[drip]
    with (
        serve_pieces(*pieces, repeat=repeat, every_s=0.02) as url,
        pytest.raises(RequestFailed) as caught,
    ):
        HttpClient(url, timeout_s=0.2).read("/metrics")

    assert str(caught.value) == (
        "status 500, ''" if drip == "refusal" else "it did not finish within 0.2 s"
    )


@pytest.mark.parametrize("repeat", [b": alive\n\n", b"x", b"data: {}\n\n"])
def test_the_deadline_is_that_of_the_whole_stream(repeat: bytes) -> None:
    with (
        serve_pieces(STREAM, repeat=repeat, every_s=0.02) as url,
        pytest.raises(RequestFailed, match=r"did not finish within 0\.2 s"),
    ):
        list(HttpClient(url, timeout_s=0.2).events("chat", {}))


@pytest.mark.parametrize(
    ("head", "repeat", "words"),
    [
        (OK + b"\r\n", b"x" * 2**20, "more than 64 MiB"),
        (CHUNKED, b"100000\r\n" + b"x" * 2**20 + b"\r\n", "more than 64 MiB"),
        (OK, b"X: " + b"x" * 2**20, "got more than 65536 bytes when reading header line"),
        (OK, b"X: x\r\n" * 1000, "got more than 100 headers"),
    ],
)
def test_a_flood_is_refused(head: bytes, repeat: bytes, words: str) -> None:
    with serve_pieces(head, repeat=repeat) as url, pytest.raises(RequestFailed, match=words):
        HttpClient(url, timeout_s=10).read("/metrics")


def test_a_stream_has_neither_endless_lines_nor_endless_events() -> None:
    for repeat, words in (
        (b"x" * 2**20, "a line of more than 1 MiB"),
        (b"x" * 2**19 + b"\n", "64 MiB"),
    ):
        with (
            serve_pieces(STREAM, repeat=repeat) as url,
            pytest.raises(RequestFailed, match=words) as caught,
        ):
            list(HttpClient(url, timeout_s=60).events("chat", {}))
        assert not caught.value.is_temporary


@pytest.mark.parametrize("length", [b"100", b"1000000000000000"])
def test_half_an_answer_is_not_an_answer(length: bytes) -> None:
    with (
        serve_pieces(OK + b"Content-Length: " + length + b"\r\n\r\nhalf") as url,
        pytest.raises(RequestFailed, match="IncompleteRead"),
    ):
        HttpClient(url).read("/metrics")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe\r\n\r\n",
        b"HTTP/9.9 x\r\n\r\n",
        b"\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 99999999999 OK\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_a_reason(head: bytes) -> None:
    with serve_pieces(head) as url, pytest.raises(RequestFailed):
        HttpClient(url, timeout_s=5).read("/metrics")


def test_a_stream_ends_where_it_says_so() -> None:
    events = [b'data: {"a": 1}\n\n', b"event: x\nid: 7\n\n", b'data:{"b":2}\r\n\r\n']
    with serve_pieces(STREAM, *events, b"data: [DONE]\n\n", repeat=b"\n", every_s=0.05) as url:
        found = [json.loads(data) for data in HttpClient(url, timeout_s=5).events("chat", {})]

    assert found == [{"a": 1}, {"b": 2}]
