"""A running endpoint: what it counted, what the stream tells, and that no key gets out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from model_server import MODEL, Server, serve
from raw_server import STREAM, serve_pieces

from draftmark.analysis import statistics
from draftmark.cli import main
from draftmark.data.rows import load_rows
from draftmark.engines.measure.endpoint import Endpoint, Reply
from draftmark.engines.measure.endpoint_lines import measurement_lines, verdict_lines
from draftmark.engines.measure.endpoint_load import (
    Block,
    Load,
    Measurement,
    count_length_mismatches,
    endpoint_speedup,
    measure_endpoint,
)
from draftmark.errors import UserError
from draftmark.grading.http_client import HttpClient
from draftmark.progress import Progress
from draftmark.registry import find_registered
from draftmark.types import Arm

KEY = "sk-very-secret"
LOAD = Load(concurrency=3, blocks=2, max_tokens=32, temperature=0.0)


def examples(count: int = 6) -> Any:
    return load_rows(find_registered("tasks", "gsm8k"), "test", count, sources=["samples"]).examples


def test_acceptance_is_the_rise_of_the_servers_counters_over_the_requests() -> None:
    with serve(Server()) as server:
        found = measure_endpoint(
            {"draft": Endpoint(HttpClient(server.url), MODEL)},
            examples(),
            LOAD,
            Progress(quiet=True),
        )
    counted = found["draft"].counted
    assert counted is not None
    assert (counted.finished, counted.drafts, counted.drafted, counted.accepted) == (12, 24, 72, 36)
    assert counted.by_position == (24, 12, 0)
    assert counted.mean_acceptance_length == 2.5
    assert counted.draft_acceptance_rate == 0.5
    assert len(server.requests) == 2 + 12  # the shortest and the longest go before


def test_the_tasks_prompts_are_sent_as_they_are_asked() -> None:
    with serve(Server()) as server:
        measure_endpoint(
            {"draft": Endpoint(HttpClient(server.url), MODEL)},
            examples(),
            LOAD,
            Progress(quiet=True),
        )
    asked = {request["messages"][-1]["content"] for request in server.requests}
    assert asked == {example.messages[-1]["content"] for example in examples()}
    assert {request["max_tokens"] for request in server.requests} == {32}
    assert all(request["stream_options"] == {"include_usage": True} for request in server.requests)


def test_tokens_are_the_servers_own_count_however_the_stream_is_cut() -> None:
    with serve(Server()) as server:
        reply = Endpoint(HttpClient(server.url), MODEL).complete(
            examples(1)[0].messages, LOAD.options()
        )
    assert (reply.num_tokens, reply.text.split()) == (6, ["word"] * 6)
    assert 0 < reply.first_token_s <= reply.total_s


def test_two_endpoints_are_two_arms_in_blocks() -> None:
    with serve(Server()) as one, serve(Server(drafts=0)) as other:
        endpoints: Any = {
            "target": Endpoint(HttpClient(other.url), MODEL),
            "draft": Endpoint(HttpClient(one.url), MODEL),
        }
        found = measure_endpoint(endpoints, examples(), LOAD, Progress(quiet=True))
    assert [len(served.blocks) for served in found.values()] == [4, 4]
    assert endpoint_speedup(found).n == 2
    assert count_length_mismatches(found) == 0
    shown = "\n".join(measurement_lines(found, LOAD))
    assert "this server does not speculate" in shown
    assert "speedup" in shown


def test_a_prompt_that_is_asked_twice_counts_once() -> None:
    replies = tuple(Reply("", 9, 1.0 + number, 9.0 + 2 * number, "stop") for number in range(4))
    asked = (replies[:2], replies[:2], replies[2:], replies[2:])
    blocks = tuple(Block(some, 1.0) for some in asked)
    numbers = Measurement(blocks, None).numbers()
    first, later = [1.0, 2.0, 3.0, 4.0], [8.0] * 4
    assert numbers["first_token_s"] == statistics.estimate_mean(
        first, numbers["first_token_s"].definition, statistics.POSITIVE
    )
    per_token = statistics.estimate_ratio(
        [8.0, 9.0, 10.0, 11.0], later, numbers["token_s"].definition, statistics.POSITIVE
    )
    assert numbers["token_s"] == per_token


def timed(drafts: int, draft_s: float, target_s: float) -> dict[Arm, Measurement]:
    """Return what two servers did, as if each run had taken so long.

    The draft's later runs take 0.1% longer, as blocks of equal ratios have no interval.
    """
    with serve(Server()) as one, serve(Server(drafts=drafts)) as other:
        both: dict[Arm, Endpoint] = {
            "draft": Endpoint(HttpClient(one.url), MODEL),
            "target": Endpoint(HttpClient(other.url), MODEL),
        }
        found = measure_endpoint(both, examples(), LOAD, Progress(quiet=True))
    seconds = {"draft": [draft_s] * 2 + [draft_s * 1.001] * 2, "target": [target_s] * 4}
    return {
        arm: replace(
            measured,
            blocks=tuple(
                replace(block, wall_s=wall_s)
                for block, wall_s in zip(measured.blocks, seconds[arm], strict=True)
            ),
        )
        for arm, measured in found.items()
    }


def test_it_is_said_at_how_many_requests_at_a_time_a_draft_pays() -> None:
    fast, slow = timed(0, 1.0, 1.5), timed(0, 1.0, 0.8)
    told = "\n".join(verdict_lines([(replace(LOAD, concurrency=1), fast), (LOAD, slow)]))
    assert "of 1, 3 requests at a time, the draft certainly pays at: 1\n" in told
    assert "it certainly slows the server at: 3" in told


def test_held_against_a_server_that_drafts_too_there_is_no_speedup_of_a_draft() -> None:
    found = timed(2, 1.0, 1.5)
    lines = "\n".join(measurement_lines(found, LOAD))
    assert "1.499 [1.490, 1.509] over 2 blocks: not the speedup of a draft" in lines
    assert not list(verdict_lines([(LOAD, found)]))


def test_replies_of_other_lengths_at_temperature_zero_give_no_speedup() -> None:
    with serve(Server()) as one, serve(Server(tokens=lambda number: 4 + number % 2)) as other:
        endpoints: Any = {
            "target": Endpoint(HttpClient(other.url), MODEL),
            "draft": Endpoint(HttpClient(one.url), MODEL),
        }
        found = measure_endpoint(endpoints, examples(), LOAD, Progress(quiet=True))
    assert "no speedup: 6 prompts have replies of different lengths" in "\n".join(
        measurement_lines(found, LOAD)
    )


def test_traffic_of_others_is_told() -> None:
    with serve(Server(stranger=1)) as server:
        found = measure_endpoint(
            {"draft": Endpoint(HttpClient(server.url), MODEL)},
            examples(),
            LOAD,
            Progress(quiet=True),
        )
    assert "NOT ALONE: the server finished +12 other requests" in "\n".join(
        measurement_lines(found, LOAD)
    )


def test_a_server_without_metrics_still_has_times() -> None:
    with serve(Server(has_metrics=False)) as server:
        found = measure_endpoint(
            {"draft": Endpoint(HttpClient(server.url), MODEL)},
            examples(),
            LOAD,
            Progress(quiet=True),
        )
    assert found["draft"].counted is None
    assert found["draft"].numbers()["first_token_s"].value > 0
    assert "acceptance is not known" in "\n".join(measurement_lines(found, LOAD))


def test_the_command_prints_and_writes_what_it_measured_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    path = tmp_path / "served.json"
    with serve(Server()) as server:
        command = [
            "measure-server",
            server.url,
            "--model",
            MODEL,
            "--prompts",
            "4",
            "--blocks",
            "2",
        ]
        told = ["--concurrency", "1,2", "--key-variable", "SOME_KEY", "--out", str(path)]
        monkeypatch.setattr("sys.argv", ["draftmark", *command, *told])
        with pytest.raises(SystemExit) as end:
            main.main()
    assert end.value.code == 0
    assert {request["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    shown = capsys.readouterr()
    written = json.loads(path.read_text("utf-8"))
    assert "mean acceptance length  2.500" in shown.out
    assert [run["load"]["concurrency"] for run in written["runs"]] == [1, 2]
    assert written["runs"][0]["draft"]["counted"]["accepted"] == 24
    assert KEY not in shown.out + shown.err + path.read_text("utf-8")


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (Server(status=401), "status 401, 'no: Bearer [key]'"),
        (Server(usage=False), "no usage at the end of the stream"),
    ],
)
def test_a_server_that_fails_is_named_and_the_key_is_not(server: Server, said: str) -> None:
    with serve(server), pytest.raises(UserError) as error:
        Endpoint(HttpClient(server.url, KEY), MODEL).complete(examples(1)[0].messages, {})
    assert said in str(error.value)
    assert server.url in str(error.value)
    assert KEY not in str(error.value) + repr(Endpoint(HttpClient(server.url, KEY), MODEL))


@pytest.mark.parametrize(
    "url", ["http://me:pw@h/v1", "http://h/v1?key=secret", "h/v1", "file:///x"]
)
def test_a_url_that_may_hold_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UserError) as error:
        HttpClient(url)
    assert url not in str(error.value)
    assert "pw" not in str(error.value)
    assert "secret" not in str(error.value)


STREAMED = {
    "not JSON": ("{", "malformed event"),
    "not an object": ("[1]", "malformed event"),
    "choices": ('{"choices": {"delta": 1}}', "malformed event (choices"),
    "a choice": ('{"choices": [7]}', "malformed event (choices.0"),
    "a delta": ('{"choices": [{"delta": "x"}]}', "malformed event (choices.0.delta"),
    "content": ('{"choices": [{"delta": {"content": 7}}]}', "choices.0.delta.content"),
    "a reason": ('{"choices": [{"finish_reason": ["stop"]}]}', "choices.0.finish_reason"),
    "usage": ('{"usage": 6}', "malformed event (usage"),
    "no count": ('{"usage": {}}', "usage.completion_tokens: Field required"),
    "negative": ('{"usage": {"completion_tokens": -6}}', "greater than or equal to 0"),
    "text": ('{"usage": {"completion_tokens": "6"}}', "usage.completion_tokens"),
    "a part": ('{"usage": {"completion_tokens": 6.5}}', "usage.completion_tokens"),
    "true": ('{"usage": {"completion_tokens": true}}', "usage.completion_tokens"),
    "too many": ('{"usage": {"completion_tokens": 33}}', "33 tokens in a reply of at most 32"),
    "huge": ('{"usage": {"completion_tokens": 1' + "0" * 400 + "}}", "cannot be measured"),
    "an error": ('{"error": {"message": "out of memory"}}', "it streams an error"),
    "deep": ("[" * 100_000, "malformed event"),
    "half a pair": ('{"choices": [{"delta": {"content": "\\ud800"}}]}', "malformed event"),
}


@pytest.mark.parametrize("name", STREAMED)
def test_a_malformed_event_is_named_and_refused(name: str) -> None:
    data, words = STREAMED[name]
    word = b'data: {"choices": [{"delta": {"content": "word"}}]}\n\n'
    usage = b'data: {"usage": {"completion_tokens": 6}}\n\n'
    event = f"data: {data}\n\n".encode()
    order = (word, usage, event) if "usage" in data else (word, event, usage)
    with serve_pieces(STREAM, *order) as url, pytest.raises(UserError) as error:
        Endpoint(HttpClient(url), MODEL).complete(examples(1)[0].messages, LOAD.options())
    assert words in str(error.value)
    assert len(str(error.value)) < 700


COMMAND = ("measure-server", "--model", MODEL, "--prompts", "4", "--blocks", "2")


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Return the exit code of measure-server."""
    monkeypatch.setattr("sys.argv", ["draftmark", *COMMAND, *arguments])
    with pytest.raises(SystemExit) as end:
        main.main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("out", ["missing/served.json", "folder.json", "file/served.json"])
def test_a_file_that_cannot_be_written_is_refused_before_the_measurement(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    with serve(Server()) as server:
        code = command(monkeypatch, server.url, "--out", str(tmp_path / out))
    assert code == 2
    assert f"--out {tmp_path / out} cannot be written" in capsys.readouterr().err
    assert server.requests == []


def test_what_was_measured_is_kept_whatever_fails_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server fails in the second block of the second load: 2 + 8 + 2 + 4 requests work."""
    path = tmp_path / "served.json"
    server = Server(tokens=lambda number: 6 if number < 16 else 99_999)
    with serve(server):
        code = command(monkeypatch, server.url, "--concurrency", "1,2", "--out", str(path))
    shown = capsys.readouterr()
    written = json.loads(path.read_text("utf-8"))
    assert code == 2
    assert "in a reply of at most 256; fix that and measure again." in shown.err
    assert f"What was measured before is in {path}." in shown.err
    assert [run["load"]["concurrency"] for run in written["runs"]] == [1]
    assert written["unfinished"]["load"]["concurrency"] == 2
    assert len(written["unfinished"]["draft"]["blocks"]) == 2
    assert "tokens / s" in shown.out


def test_impossible_counts_are_refused_and_the_times_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "served.json"
    with serve(Server(accepted=7)) as server:
        code = command(monkeypatch, server.url, "--out", str(path))
    shown = capsys.readouterr()
    assert code == 2
    assert "counters are impossible: 112 tokens accepted of 48 drafted" in shown.err
    assert "acceptance" not in shown.out
    assert len(json.loads(path.read_text("utf-8"))["unfinished"]["draft"]["blocks"]) == 4
