"""A measured server as a run: reports, compare and the gate read it as they read any other."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, run_command, sentence_of
from model_server import Server, serve
from server_replies import llama_cpp, vllm, vllm_counts

from draftmark import registry
from draftmark.analysis.stored_counts import stored_counts
from draftmark.store.run_folder import load_results

BETTER = ([3, 1], [2, 1], [1, 0, 1])  # accepted tokens of each pass, by the number of the request
Capture = pytest.CaptureFixture[str]


def measure(capsys: Capture, server: Server, out: Path, *more: object) -> Outcome:
    options = ("--prompts", 6, "--blocks", 2, "--out", out, *more)
    with serve(server):
        return run_command(capsys, "measure-server", server.url, *options)


def better() -> Server:
    return vllm(last=lambda number: vllm_counts(BETTER[number % 3]))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two drafts, measured at two loads, the first against a plain server."""
    folder = tmp_path_factory.mktemp("served") / "run"
    loads = ("--prompts", 6, "--blocks", 2, "--concurrency", "1,2", "--out", folder)
    with pytest.MonkeyPatch.context() as patch, serve(Server(drafts=0)) as plain:
        patch.setenv("COLUMNS", "80")
        for server, more in ((vllm(), ("--against", plain.url)), (better(), ("--label", "new"))):
            with serve(server):
                command = ("measure-server", server.url, "--model", "tiny", *loads, *more)
                assert _quietly(*command) == 0
    return folder


def _quietly(*arguments: object) -> int:
    """Run a command outside of a test; return its exit code."""
    from draftmark.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["draftmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
    return int(end.value.code or 0)


def test_drafts_of_one_folder_are_compared_paired_on_prompts(measured: Path) -> None:
    results = load_results(measured)
    assert [row.cell.method for row in results.results] == ["served", "new"]
    efficiency = "block_efficiency[t=0,gamma=3]"
    comparison = next(item for item in results.comparisons if item.quantity == efficiency)
    values = [row.numbers[efficiency].value for row in results.results]
    assert comparison.difference.value == pytest.approx(values[1] - values[0])
    assert comparison.difference.n == 6
    assert {item.contender.method for item in results.standings} == {"served", "new"}
    first, second = stored_counts(results, measured)
    assert first.prompts == second.prompts
    assert first.gamma == 3


def test_speed_numbers_are_those_of_each_load(measured: Path) -> None:
    numbers = load_results(measured).results[0].numbers
    for batch in (1, 2):
        terms = f"gamma=3,engine=vLLM server,t=0,batch={batch},length=natural"
        assert numbers[f"speedup[{terms}]"].n == 2
        assert numbers[f"first_token_s[arm=draft,{terms}]"].value > 0
        assert numbers[f"counted_drafted[{terms}]"].value == pytest.approx(3.0)
    assert "speedup" in numbers


@pytest.mark.parametrize(
    "name",
    sorted(
        {*registry.registered_names("reports")} - {"board", "compare", "gate", "lossless", "trend"}
    ),
)
def test_every_report_reads_it(name: str, measured: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = shutil.copytree(measured, tmp_path / "run")
    outcome = run_command(capsys, "report", folder, name)
    if name == "hf_eval_results":
        assert "No rows of this run are from a hub data set" in sentence_of(outcome)
    elif name == "counts":
        assert "was measured at a server: it has no acceptance tables" in sentence_of(outcome)
    else:
        assert outcome.code == 0, outcome.err


def test_the_leaderboard_names_server_rows_and_what_was_looked_for(measured: Path) -> None:
    text = (measured / "leaderboard.md").read_text("utf-8")
    assert "server: software vLLM, version 0.32.0" in text
    assert "A server was measured from outside." in text
    assert "| served | 0." in text
    assert "One seed: another training" not in text
    assert "An older version counted" not in text
    assert "float32" not in text


def test_compare_reads_two_folders_of_servers(tmp_path: Path, capsys: Capture) -> None:
    assert measure(capsys, vllm(), tmp_path / "a").code == 0
    assert measure(capsys, better(), tmp_path / "b").code == 0
    outcome = run_command(capsys, "compare", tmp_path / "a", tmp_path / "b")
    assert outcome.code == 0
    assert "gsm8k/tiny/served/t=0 | block\\_efficiency" in outcome.out.replace(
        "block_efficiency", "block\\_efficiency"
    )
    assert "rates of two" not in outcome.out
    found = json.loads((tmp_path / "b" / "compare.json").read_text("utf-8"))
    assert {item["quantity"] for item in found["comparisons"]} == {
        *("acceptance_rate", "block_efficiency")
    }
    assert found["differing"] == []


def test_the_gate_judges_a_server_against_its_accepted_counts(
    tmp_path: Path, capsys: Capture
) -> None:
    accepted = tmp_path / "accepted.json"
    many = ("--prompts", 24)
    assert measure(capsys, better(), tmp_path / "a", *many).code == 0
    assert run_command(capsys, "bless", tmp_path / "a", accepted, "--reason", "first").code == 0
    assert measure(capsys, better(), tmp_path / "b", *many).code == 0
    assert run_command(capsys, "gate", tmp_path / "b", "--against", accepted).code == 0
    worse = vllm(last=lambda number: vllm_counts([[0] * 5, [0, 1, 0, 0]][number % 2]))
    assert measure(capsys, worse, tmp_path / "c", *many).code == 0
    fallen = run_command(
        capsys, "gate", tmp_path / "c", "--against", accepted, "--quantity", "acceptance_rate"
    )
    assert fallen.code == 1, fallen.out
    other = vllm(last=lambda number: vllm_counts([2, 1], block=5))
    assert measure(capsys, other, tmp_path / "d", *many).code == 0
    refused = sentence_of(run_command(capsys, "gate", tmp_path / "d", "--against", accepted))
    assert "num_speculative_tokens" in refused


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "has a draft called 'served'; name this one with --label"),
        (("--label", "x", "--max-tokens", 32), "another max_new_tokens (256, not 32)"),
        (("--label", "x", "--temperature", 1), "another temperature"),
        (("--label", "x", "--task", "alpaca"), "another task (gsm8k, not alpaca)"),
        (("--label", "x", "--concurrency", 4), "another concurrency"),
    ],
)
def test_a_folder_takes_only_what_can_be_paired_before_anything_is_asked(
    more: tuple[Any, ...], said: str, measured: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = shutil.copytree(measured, tmp_path / "run")
    server, loads = vllm(), ("--concurrency", "1,2")
    outcome = measure(capsys, server, folder, *loads, *more)
    assert said in sentence_of(outcome)
    assert server.requests == []


def test_another_block_length_is_refused_and_what_was_measured_is_kept(
    tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "run"
    assert measure(capsys, vllm(), folder).code == 0
    other = vllm(last=lambda number: vllm_counts([2, 1], block=5))
    said = sentence_of(measure(capsys, other, folder, "--label", "longer"))
    assert "blocks of 3 drafted tokens, and this server drafts 5" in said
    assert f"What was measured before is in {folder / 'measured.json'}." in said
    assert [row.cell.method for row in load_results(folder).results] == ["served"]


def test_the_results_of_a_recipe_are_not_joined(tmp_path: Path, capsys: Capture) -> None:
    from stored_runs import run_of

    run_of(tmp_path / "run", {"kd": [[0.5, 0.7]]})
    said = sentence_of(measure(capsys, vllm(), tmp_path / "run"))
    assert "has the results of a recipe; name another folder with --out" in said


def test_the_answer_ends_with_what_to_paste(tmp_path: Path, capsys: Capture) -> None:
    """A server that drafts is as fast as one that does not: whatever the verdict, it is known."""
    outcome = measure(capsys, vllm(), tmp_path / "run")
    assert "--speculative-config '{\"num_speculative_tokens\": 3}'" in outcome.out
    board = (tmp_path / "run" / "leaderboard.md").read_text("utf-8")
    assert "merge this into the server's own --speculative-config" in board
    assert "measure again with --against the same model without a draft" in board
    named = measure(capsys, llama_cpp(), tmp_path / "llama", "--num-speculative-tokens", 4)
    assert "llama.cpp: --draft-max 4" in named.out


QUESTIONS = [
    {"turns": ["What is a draft?", "And a target?"], "category": "words"},
    {"turns": ["Why twice?"], "category": "words"},
    {"turns": ["How many?"], "category": "numbers"},
    {"turns": ["How long?"], "category": "numbers"},
]


def test_a_file_of_prompts_has_its_turns_asked_in_order_and_its_categories(
    tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), "utf-8")
    server, out = vllm(), tmp_path / "run"
    outcome = measure(capsys, server, out, "--prompts", file)
    assert outcome.code == 0, outcome.err
    asked = [[turn["content"] for turn in item["messages"]] for item in server.requests]
    assert ["What is a draft?", ("word " * 6), "And a target?"] in asked
    results = load_results(out)
    numbers = results.results[0].numbers
    whole = numbers["block_efficiency[t=0,gamma=3]"]
    assert whole.n == 4  # conversations
    parts = [numbers[key] for key in numbers if key.startswith("block_efficiency_by_category")]
    assert [part.n for part in parts] == [2, 2]
    assert numbers["block_efficiency_macro_mean[t=0,gamma=3]"].value == pytest.approx(
        sum(part.value for part in parts) / 2
    )
    assert results.data[0]["categories"] == {"words": 3, "numbers": 2}
    assert results.data[0]["task"] == "prompts"


@pytest.mark.parametrize(
    ("prompts", "said"), [("1", "too few"), ("missing.jsonl", "missing.jsonl")]
)
def test_prompts_that_are_no_number_and_no_file_are_a_sentence(
    prompts: str, said: str, tmp_path: Path, capsys: Capture
) -> None:
    server = vllm()
    assert said in sentence_of(measure(capsys, server, tmp_path / "run", "--prompts", prompts))
    assert server.requests == []
