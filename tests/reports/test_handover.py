"""What to paste: in the answer, and in full in the leaderboard, speed, what-if and on the site."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from draftmark.reports._site.pages import SiteRun
from draftmark.reports.answer import REPORT as ANSWER
from draftmark.reports.answer import WIDTH
from draftmark.reports.leaderboard import REPORT as LEADERBOARD
from draftmark.reports.speed import REPORT as SPEED
from draftmark.reports.what_if import REPORT as WHAT_IF
from draftmark.results import Results
from tests.reports.test_serving import with_parts
from tests.reports.test_what_if import run_of

MANIFEST = {
    "versions": {},
    "git": None,
    "hardware": {"processor": "x", "cores": 1, "accelerators": []},
}
SCHEDULE = [[1, 1, 4], [2, 4, 3], [5, 16, 0]]  # as tests/reports/test_serving.py derives by hand


@pytest.fixture
def timed(tmp_path: Path) -> Results:
    """A run whose draft pays with 4 tokens at batch 1, with 3 at batch 4, and not at 16."""
    results = run_of(tmp_path, {"kd": (0.8,), "untrained": (0.1,)})
    with_parts(results, tmp_path, 0.1, {1: 0.0, 4: 0.2, 16: 0.9})
    recipe: dict[str, Any] = {
        **results.recipe,
        "speed": {
            **{"blocks": 5, "engine": "reference", "temperature": 0.0, "dtype": "float32"},
            "num_speculative_tokens": 4,
        },
        "pairs": [{"name": "p", "target": "org/target", "draft": {"pruned": [0]}}],
        "methods": [{"name": "kd"}, {"name": "untrained"}],
    }
    data = {"task": "gsm8k", "pair": "p", "target": "org/target"}
    facts = {
        "task_version": 1,
        "target_digest": "0",
        "draft": "x",
        "rows": {"test": 4},
        "source": {"test": "samples"},
        "digest": {"test": "0"},
        "overlaps": [],
    }
    return replace(results, recipe=recipe, data=({**data, **facts},), manifest=MANIFEST)


def pasted(text: str) -> dict[str, Any]:
    """Return the JSON of the first --speculative-config, as a shell and vLLM would read it."""
    command = text[text.index("--speculative-config") :]
    found: dict[str, Any] = json.loads(shlex.split(command)[1])
    return found


def test_the_answer_ends_with_the_flag_and_the_command_before_it(
    timed: Results, tmp_path: Path
) -> None:
    text = ANSWER(timed, tmp_path)["answer.txt"]
    assert all(len(line) <= WIDTH or str(tmp_path) in line for line in text.splitlines())
    config = pasted(text)
    assert config["method"] == "draft_model"
    assert config["model"] == "drafts/gsm8k-p-kd-0/model"
    assert config["num_speculative_tokens"] == 4
    assert config["num_speculative_tokens_per_batch_size"] == SCHEDULE
    assert "first draftmark export" in " ".join(text.split())
    assert text.rstrip().endswith("}'")


@pytest.mark.parametrize(
    ("report", "file"),
    [(LEADERBOARD, "leaderboard.md"), (SPEED, "speed.md"), (WHAT_IF, "what_if.md")],
)
def test_every_page_has_the_commands_in_full(
    report: Any, file: str, timed: Results, tmp_path: Path
) -> None:
    text = str(report(timed, tmp_path)[file])
    section = text.split("## What to paste\n")[1]
    commands = re.findall(r"```bash\n(.*)\n```", section)
    assert commands[0] == f"draftmark export {shlex.quote(str(tmp_path))} --out drafts"
    assert commands[1].startswith("vllm serve org/target --speculative-config ")
    assert pasted(commands[1])["num_speculative_tokens_per_batch_size"] == SCHEDULE
    assert commands[2].startswith("python -m sglang.launch_server --model-path org/target")
    assert "--speculative-num-steps 4 " in commands[2]
    assert "batch sizes 1, 4, 16 were timed" in section


def test_the_site_has_them_as_plain_text(timed: Results, tmp_path: Path) -> None:
    (item,) = SiteRun(1, timed, tmp_path).pastes
    assert item.title.startswith("gsm8k, p: kd (cost model")
    assert pasted(item.commands[1])["num_speculative_tokens"] == 4


def test_where_no_draft_pays_nothing_is_pasted(tmp_path: Path, timed: Results) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    slow = run_of(folder, {"kd": (0.1,)})
    with_parts(slow, folder, 0.9, {1: 0.5})
    slow = replace(slow, recipe={**timed.recipe, "methods": [{"name": "kd"}]}, data=timed.data)
    assert "--speculative-config" not in ANSWER(slow, folder)["answer.txt"]
