"""Reports on a terminal: their opening, as plain text that a small terminal shows."""

import re
import sys
from pathlib import Path

import pytest
from commands import run_command
from stored_runs import run_of

from draftmark.cli.opening import LINES, opening
from draftmark.cli.terminal import echo_state

REPORT = """# The title

No &lt;rate&gt; fell: 0.5 \\[0.4, 0.6\\], **twice**.

- accepted: a
- this run: b

## Rates

![A picture](rates.png)

| method | rate |
| --- | --- |
| kd | 0.5 |

More.
"""


def test_the_opening_ends_before_the_first_table_and_has_no_marks() -> None:
    assert opening(REPORT).splitlines() == [
        "The title",
        "No <rate> fell: 0.5 [0.4, 0.6], twice.",
        "- accepted: a",
        "- this run: b",
    ]


def test_a_long_list_is_cut_and_counted() -> None:
    items = "\n".join(f"- train rows {n}: {n} -&gt; {n + 1}, {'again ' * 12}" for n in range(30))
    shown = opening(f"# The title\n\nThe verdict.\n\n## What differs\n\n{items}\n").splitlines()
    assert len(shown) <= LINES
    assert all(len(line) <= 80 for line in shown)
    assert shown[3].startswith("- train rows 0: 0 -> 1, again")
    assert shown[-1] == "- and 26 more"


def test_what_does_not_fit_is_left_out_with_its_heading() -> None:
    shown = opening(f"# The title\n\nThe verdict.\n\n## Why\n\n{'words ' * 200}\n")
    assert shown == "The title\nThe verdict."


def test_a_title_and_its_verdict_are_always_whole() -> None:
    assert opening(f"# The title\n\n{'words ' * 300}\n\nMore.\n").count("words") == 300


@pytest.mark.parametrize("command", ["reconcile", "compare"])
def test_a_terminal_gets_the_opening_and_a_pipe_all(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(tmp_path / "run", {"kd": [[0.8, 0.7]], "untrained": [[0.5, 0.5]]}, length=16)
    words = [command, "run", *["run"] * (command == "compare")]
    whole = run_command(capsys, *words).out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    brief, again = run_command(capsys, *words).out, run_command(capsys, *words, "--full").out

    assert "\n| " in whole
    assert "\n| " in again
    lines = brief.splitlines()
    assert not any(line.startswith(("#", "|")) or "\\" in line for line in lines)
    assert len(lines) <= LINES + 2
    assert lines[0] == whole.splitlines()[0].removeprefix("# ")[:80]
    assert lines[-1] == "With --full: all of it, as in the file."


@pytest.mark.parametrize("no_color", [True, False])
def test_a_state_is_coloured_on_a_terminal_alone(
    no_color: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words say what colours do; long lines are wrapped, and pipes get them whole."""
    monkeypatch.setenv("NO_COLOR", "1")
    if not no_color:
        monkeypatch.delenv("NO_COLOR")
    text = "hub            https://example.org/a/long/address does not answer; " + "check it " * 9
    echo_state(False, text)
    assert capsys.readouterr().out == f"✗ missing {text}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for has in (True, False, None):
        echo_state(has, text)
    shown = capsys.readouterr().out
    assert ("\x1b[" in shown) is not no_color
    assert all(len(re.sub(r"\x1b\[\d+m", "", line)) <= 80 for line in shown.splitlines())
