"""A model behind an endpoint: what is sent, what is kept, what fails, and where the key goes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_server import Answer, says, serve

from draftmark.errors import UserError
from draftmark.grading.chat import ChatModel, Messages, ask_all
from draftmark.grading.http_client import HttpClient, read_key
from draftmark.progress import Progress

KEY = "sk-THE-SECRET-0123456789"
ASKED: Messages = ({"role": "user", "content": "Well?"},)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def test_a_request_is_what_the_protocol_says() -> None:
    with serve(lambda _: says("tie")) as server:
        chat = ChatModel(
            HttpClient(f"{server.endpoint}/", KEY), "judge-1", {"temperature": 0, "model": "other"}
        )
        assert chat.ask(ASKED) == "tie"

    assert server.requests == [
        {
            "model": "judge-1",
            "messages": list(ASKED),
            "temperature": 0,
            "path": "/v1/chat/completions",
            "authorization": f"Bearer {KEY}",
        }
    ]


def test_without_a_key_none_is_sent() -> None:
    with serve(lambda _: says("A")) as server:
        ChatModel(HttpClient(server.endpoint), "judge-1").ask(ASKED)

    assert server.requests[0]["authorization"] is None


def test_what_may_pass_is_tried_again() -> None:
    answers: Iterator[Answer] = iter([(429, "slow down"), (503, "busy"), says("B")])
    with serve(lambda _: next(answers)) as server:
        assert ChatModel(HttpClient(server.endpoint), "judge-1", waits_s=(0, 0)).ask(ASKED) == "B"

    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {"error": "no such key"}), r"status 401, '\{\"error\": \"no such key\"\}'"),
        ((404, "no such model"), "status 404, 'no such model'"),
        ((200, "<html>"), "not a chat completion, '<html>'"),
        ((200, "[" * 100_000), "not a chat completion"),
        ((200, {"choices": []}), "not a chat completion"),
        ((200, {"choices": [{"message": {"content": None}}]}), "not a chat completion"),
    ],
)
def test_what_will_not_pass_is_one_sentence_at_once(answer: Answer, words: str) -> None:
    with serve(lambda _: answer) as server, pytest.raises(UserError, match=words) as caught:
        ChatModel(HttpClient(server.endpoint), "judge-1").ask(ASKED)

    assert len(server.requests) == 1
    assert f"'judge-1' at {server.endpoint}" in str(caught.value)
    assert "leave [evaluation.judge] out" in str(caught.value)


def test_nobody_there_is_one_sentence() -> None:
    with serve(lambda _: says("A")) as server:
        pass
    with pytest.raises(UserError, match="Connection refused; fix that"):
        ChatModel(HttpClient(server.endpoint), "judge-1", waits_s=(0,)).ask(ASKED)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_refused(status: int) -> None:
    """It would take the key to where the recipe does not say."""
    with (
        serve(lambda _: says("A")) as elsewhere,
        serve(lambda _: (status, f"{elsewhere.endpoint}/chat/completions")) as server,
        pytest.raises(UserError, match=f"status {status}"),
    ):
        ChatModel(HttpClient(server.endpoint, KEY), "judge-1").ask(ASKED)

    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [200, 400])
def test_a_server_that_says_the_key_again_is_not_repeated(status: int) -> None:
    def echo(asked: dict[str, Any]) -> Answer:
        return status, {"you sent": asked["authorization"]}

    with serve(echo) as server, pytest.raises(UserError, match=r"Bearer \[key\]") as caught:
        ChatModel(HttpClient(server.endpoint, KEY), "judge-1").ask(ASKED)

    assert KEY not in str(caught.value)
    with serve(lambda asked: says(asked["authorization"])) as server:
        chat = ChatModel(HttpClient(server.endpoint, KEY), "judge-1")
        assert chat.ask(ASKED) == "Bearer [key]"
    assert KEY not in repr(chat)


def test_the_key_is_read_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", f"{KEY}\n")
    monkeypatch.delenv("NO_KEY", raising=False)

    assert read_key("A_KEY", "judge") == KEY
    assert read_key("", "judge") == ""
    with pytest.raises(UserError, match="NO_KEY, which is not set; set it"):
        read_key("NO_KEY", "judge")


@pytest.mark.parametrize("value", ["sk-a\nsk-b", "sk a", "sk-\u00e9"])
def test_what_cannot_be_a_key_is_refused_and_not_repeated(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", value)

    with pytest.raises(UserError, match="A_KEY does not hold a key") as caught:
        read_key("A_KEY", "judge")

    assert "sk" not in str(caught.value)


def test_replies_that_came_are_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    questions = {("a", True): ASKED, ("a", False): ASKED, ("b", True): ASKED}
    kept = tmp_path / "replies.jsonl"
    kept.write_text('\n[["a", false], "tie"]\n[["b", tr')  # killed while it wrote
    asked: list[Messages] = []

    def ask(messages: Messages) -> str:
        asked.append(messages)
        return "A"

    with Progress(quiet=True).step("", 3) as step:
        replies = ask_all(ask, questions, kept, step)
        again = ask_all(ask, questions, kept, step)

    assert list(replies.items()) == [(("a", True), "A"), (("a", False), "tie"), (("b", True), "A")]
    assert again == replies
    assert len(asked) == 2


def test_a_failure_keeps_the_replies_before_it(tmp_path: Path) -> None:
    questions = {(f"{number}", True): ({"content": f"{number}"},) for number in range(40)}
    kept = tmp_path / "replies.jsonl"
    asked: list[str] = []

    def ask(messages: Messages) -> str:
        asked.append(messages[0]["content"])
        if messages[0]["content"] == "3":
            raise UserError("gone")
        return "A"

    with Progress(quiet=True).step("", 40) as step, pytest.raises(UserError, match="gone"):
        ask_all(ask, questions, kept, step)

    lines = [json.loads(line) for line in kept.read_text().splitlines() if line]
    assert lines == [[[f"{number}", True], "A"] for number in range(3)]
