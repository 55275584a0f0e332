"""A server's own counts of each request: paired records, rates, and what it does not say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from model_server import Server, serve
from server_replies import STEPS, llama_cpp, models, sglang, vllm, vllm_counts

from draftmark.analysis.served_counts import served_counts, served_quantities
from draftmark.cli import main
from draftmark.engines.measure.endpoint import Endpoint, Reply
from draftmark.errors import UserError
from draftmark.grading.http_client import HttpClient
from draftmark.store.served_records import RequestCounts, ServedRequest, read_requests

ASKED = ({"role": "user", "content": "Well?"},)


def request(name: str, tokens: int, counts: RequestCounts | None, **more: Any) -> ServedRequest:
    fields = {"arm": "draft", "concurrency": 1, "block": 0, "repeat": 0, "example_id": name}
    times = {"later_tokens": tokens - 1, "first_token_s": 0.1, "total_s": 1.0}
    return ServedRequest(
        **{**fields, **times, "num_tokens": tokens, "finish_reason": "stop", **more}, counts=counts
    )


def of_steps(steps: list[int], block: int = 3) -> RequestCounts:
    histogram = tuple(steps.count(number) for number in range(block + 1))
    return RequestCounts(sum(steps), block * len(steps), len(steps), histogram, block)


def values(requests: list[ServedRequest]) -> dict[str, float]:
    counts = served_counts(requests)
    assert counts is not None
    found = served_quantities(counts, 0.0, 3)
    return {key: float(i.counts[0].sum() / i.counts[1].sum()) for key, i in found.items()}


def test_rates_are_those_of_the_steps_by_hand() -> None:
    steps = [2, 0, 3, 1]  # tested: 3 + 1 + 3 + 2 = 9; tokens: 1 + 6 + 4 = 11
    found = values([request("a", 11, of_steps(steps))])
    assert found["block_efficiency[t=0,gamma=3]"] == 10 / 4
    assert found["acceptance_rate[t=0,gamma=3]"] == 6 / 9
    assert found["draft_acceptance_rate[t=0,gamma=3]"] == 6 / 12
    assert found["mean_acceptance_length[t=0,gamma=3]"] == 1 + 6 / 4
    marginal = [found[f"marginal_acceptance[t=0,gamma=3,position={p}]"] for p in (1, 2, 3)]
    assert marginal == [3 / 4, 2 / 4, 1 / 4]
    conditional = [found[f"conditional_acceptance[t=0,gamma=3,position={p}]"] for p in (1, 2, 3)]
    assert conditional == [3 / 4, 2 / 3, 1 / 2]


def test_passes_without_a_draft_are_those_that_the_tokens_need() -> None:
    """A lookup drafted in 2 of 8 passes: 9 tokens = 1 + 2 * 1 + ... + 6 plain ones."""
    counts = RequestCounts(accepted=1, drafted=4, drafts=2, by_accepted=(1, 1, 0, 0), block=3)
    found = values([request("a", 10, counts)])
    assert found["block_efficiency[t=0,gamma=3]"] == 9 / 8
    assert "acceptance_rate[t=0,gamma=3]" not in found  # not all drafts had 3 tokens
    assert found["draft_acceptance_rate[t=0,gamma=3]"] == 1 / 4


def test_a_prompt_is_the_mean_of_its_requests_and_one_without_counts_leaves_none() -> None:
    two = [request("a", 11, of_steps([2, 0, 3, 1])), request("a", 9, of_steps([3, 3]))]
    counts = served_counts([*two, request("b", 5, of_steps([3]))])
    assert counts is not None
    assert counts.prompts == ("a", "b")
    assert counts.columns["passes"].tolist() == [3.0, 1.0]
    assert counts.columns["tokens"].tolist() == [9.0, 4.0]
    assert served_counts([*two, request("b", 5, None)]) is None
    untimed = [replace(item, total_s=None, first_token_s=None) for item in two]
    again = served_counts([request("a", 5, None), *untimed])
    assert again is not None
    assert again.columns["tokens"].tolist() == [9.0]


@pytest.mark.parametrize(
    "fields",
    [
        {"accepted": 3, "drafted": 2},
        {"accepted": 1, "drafts": 3, "by_accepted": (1, 1)},
        {"accepted": 2, "by_accepted": (1, 1)},
        {"accepted": 0, "by_accepted": (0,) * 60_000},  # each position would have its numbers
        {"accepted": 0, "block": 10**9},
    ],
)
def test_counts_that_no_server_can_have_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"accepted|drafts"):
        RequestCounts(**fields)


def measured(server: Server, tmp_path: Path, capsys: Any, *more: str) -> tuple[str, Path, int]:
    """Return what the command prints, the run's folder, and the exit code."""
    folder = tmp_path / "run"
    command = ["measure-server", "--prompts", "6", "--blocks", "2", "--out", str(folder), *more]
    with serve(server), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["draftmark", *command, server.url])
        with pytest.raises(SystemExit) as end:
            main.main()
    shown = capsys.readouterr()
    return shown.out + shown.err, folder, int(end.value.code or 0)


def test_vllms_counts_are_records_of_each_prompt(tmp_path: Path, capsys: Any) -> None:
    server = vllm()
    shown, folder, code = measured(server, tmp_path, capsys)
    assert code == 0
    assert "block efficiency       " in shown
    assert "(per request)" in shown
    requests = read_requests(folder / "records/00/requests.parquet")
    assert len(requests) == 12
    # The shortest and the longest question go before, so the first is number 2.
    assert [item.counts for item in requests[:3]] == [of_steps(STEPS[n % 3]) for n in (2, 3, 4)]
    options = server.requests[-1]["stream_options"]
    assert options == {"include_usage": True, "continuous_usage_stats": True}
    results = json.loads((folder / "results.json").read_text("utf-8"))
    assert results["manifest"]["server"] == {"software": "vLLM", "version": "0.32.0"}
    numbers = results["results"][0]["numbers"]
    assert numbers["acceptance_rate[t=0,gamma=3]"]["n"] == 6


def test_sglangs_counts_come_with_replies_that_it_does_not_stream(
    tmp_path: Path, capsys: Any
) -> None:
    server = sglang()
    shown, folder, code = measured(server, tmp_path, capsys)
    assert code == 0
    assert "block efficiency       2.500" in shown
    untimed = [r for r in read_requests(folder / "records/00/requests.parquet") if not r.total_s]
    assert [item.counts for item in untimed] == [RequestCounts(3, 6, 2, (0, 1, 1), 3)] * 6
    assert all(item["return_meta_info"] for item in server.requests if "stream" not in item)


def test_sglangs_older_names_and_trees_are_read_and_give_no_acceptance_by_position(
    tmp_path: Path, capsys: Any
) -> None:
    old = {"spec_verify_ct": 2, "spec_accept_token_num": 3, "spec_draft_token_num": 30}
    info = {"speculative_num_steps": 3, "speculative_eagle_topk": 8}
    server = sglang(meta=old, pages={**models("sglang"), "/get_server_info": info})
    shown, folder, code = measured(server, tmp_path, capsys, "--num-speculative-tokens", "3")
    assert code == 0
    assert "draft acceptance rate  0.1" in shown
    numbers = json.loads((folder / "results.json").read_text("utf-8"))["results"][0]["numbers"]
    assert numbers["block_efficiency[t=0,gamma=3]"]["value"] == 2.5
    assert not [key for key in numbers if "position" in key or key.startswith("acceptance_rate")]


def test_sglang_without_a_draft_has_its_gauge_by_name_or_a_sentence(
    tmp_path: Path, capsys: Any
) -> None:
    shown, _, code = measured(sglang(meta={}), tmp_path, capsys)
    assert code == 0
    assert "SGLang reports no spec_verify_ct in meta_info" in shown
    page = 'sglang:spec_accept_length{model_name="tiny"} 1.55\n'
    gauged = sglang(meta={})
    gauged.pages["/metrics"] = page
    shown, _, _ = measured(gauged, tmp_path, capsys, "--label", "again")
    assert "sglang:spec_accept_length 1.55: the server's own gauge" in shown


def test_llama_cpps_counts_are_0_where_it_drafts_elsewhere_and_absent_where_it_never_does(
    tmp_path: Path, capsys: Any
) -> None:
    shown, folder, code = measured(llama_cpp(), tmp_path, capsys)
    assert code == 0
    requests = read_requests(folder / "records/00/requests.parquet")
    drafted = {item.counts.drafted for item in requests if item.counts}
    assert drafted == {0, 8}
    # 5 tokens after the first: 2 passes where 3 tokens were accepted, else 5.
    assert "draft acceptance rate  0.375" in shown
    assert "does not say how many tokens it drafts" in (folder / "leaderboard.md").read_text()
    never = llama_cpp(last=lambda number: {"timings": {"predicted_n": 6}})
    shown, folder, _ = measured(never, tmp_path / "never", capsys)
    assert "llama.cpp reports no timings.draft_n" in shown
    assert "acceptance is not known" in shown
    numbers = json.loads((folder / "results.json").read_text("utf-8"))["results"][0]["numbers"]
    assert not [key for key in numbers if "acceptance" in key or "efficiency" in key]


def test_an_unknown_server_gets_a_sentence_and_no_zero(tmp_path: Path, capsys: Any) -> None:
    shown, folder, code = measured(Server(has_metrics=False), tmp_path, capsys, "--model", "x")
    assert code == 0
    assert "no counts of drafts, in replies or at /metrics: acceptance is not known" in shown
    assert "0.000" not in (folder / "answer.txt").read_text("utf-8")


def test_impossible_counts_in_a_reply_are_refused(tmp_path: Path, capsys: Any) -> None:
    wrong = vllm_counts([2, 1])
    wrong["metrics"]["speculative_decoding"]["num_accepted_draft_tokens"] = 5
    shown, _, code = measured(vllm(last=lambda number: wrong), tmp_path, capsys)
    assert code == 2
    assert "its counts are impossible" in shown


def reply_of(events: list[dict[str, Any]], owner: str = "vllm") -> Reply:
    """Return the reply to a stream of these events."""
    server = Server(pages=models(owner))
    server.events = lambda number: iter(events)  # type: ignore[method-assign]
    with serve(server):
        return Endpoint.find(HttpClient(server.url), None).complete(ASKED, {})


def text_event(tokens: int | None = None, **delta: Any) -> dict[str, Any]:
    usage = {} if tokens is None else {"usage": {"completion_tokens": tokens}}
    return {"choices": [{"delta": delta}], **usage}


END = {"choices": [], "usage": {"completion_tokens": 6}}


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        ({"reasoning": "thus "}, "thus "),
        ({"reasoning_content": "thus "}, "thus "),
        ({"refusal": "no "}, "no "),
        ({"tool_calls": [{"function": {"name": "f", "arguments": '{"x": 1}'}}]}, 'f{"x": 1}'),
    ],
)
def test_thoughts_and_calls_are_text(delta: dict[str, Any], text: str) -> None:
    reply = reply_of([text_event(1, **delta), text_event(6, content="so"), END])
    assert reply.text == f"{text}so"
    assert (reply.first_tokens, reply.later_tokens, reply.pieces) == (1, 5, 2)


def test_tokens_before_the_first_text_are_not_in_the_time_for_each_token() -> None:
    hidden = [text_event(1, content=""), text_event(4, content="word"), text_event(6, content="s")]
    reply = reply_of([*hidden, END])
    assert (reply.first_tokens, reply.later_tokens) == (4, 2)
    whole = reply_of([text_event(content="all at once"), END], owner="other")
    assert whole.later_tokens is None
    ended = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    silent = reply_of([ended, {"choices": [], "usage": {"completion_tokens": 2}}])
    assert (silent.text, silent.pieces, silent.later_tokens) == ("", 0, 0)


def test_what_did_not_arrive_together_is_said(tmp_path: Path, capsys: Any) -> None:
    server = vllm()
    server.events = lambda number: iter(  # type: ignore[method-assign]
        [text_event(4, content="word"), {**END, **vllm_counts([2, 1])}]
    )
    shown, folder, _ = measured(server, tmp_path, capsys)
    assert "NOT THE FIRST TOKEN: in 12 of 12 replies the first text came with up to 4" in shown
    assert "NOT THE FIRST TOKEN" in (folder / "leaderboard.md").read_text("utf-8")


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(UserError, match="--model"):
        Endpoint.find(HttpClient("http://127.0.0.1:9/v1"), None)
