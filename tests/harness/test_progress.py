"""What a run tells: verbatim lines, a bar on a terminal, silence where none is wanted."""

import re
import time
from io import StringIO

import pytest
from rich.console import Console

from draftmark.progress import NamedStep, Progress, _TimeLeft
from draftmark.text import format_span


def _progress(
    *, terminal: bool = False, quiet: bool = False, width: int = 40
) -> tuple[Progress, StringIO]:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, highlight=False)
    return Progress(console, quiet=quiet), out


@pytest.mark.parametrize(
    "line",
    ["[bold]plain[/bold]", "rows [1, 2] of /a/path", "hub:x: :warning: here", "word " * 30 + "end"],
)
def test_a_line_is_printed_as_it_is(line: str) -> None:
    progress, out = _progress()

    progress.say(line)

    assert out.getvalue() == f"{line}\n"


def test_a_line_to_say_once_is_printed_once() -> None:
    progress, out = _progress()
    for line in ("no rows of gsm8k", "no rows of mbpp", "no rows of gsm8k"):
        progress.say_once(line)
    assert out.getvalue() == "no rows of gsm8k\nno rows of mbpp\n"


def test_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Progress().say("hello")

    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_says_nothing(terminal: bool) -> None:
    progress, out = _progress(terminal=terminal, quiet=True)

    progress.say("hello")
    with progress.step("training", 2) as step:
        step.advance(2, "loss 1")

    assert out.getvalue() == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_stages_that_are_done_are_counted(terminal: bool) -> None:
    progress, out = _progress(terminal=terminal, width=80)

    progress.stage_done("before: 1 s")
    with progress.stages(2):
        progress.stage_done("draft kd (gsm8k): 1 s")
        with progress.step("training", 2) as step:
            step.advance()
        progress.stage_done("scores (gsm8k): 2 s")
    progress.stage_done("after: 1 s")

    plain = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", out.getvalue().replace("\r", "\n"))
    lines = [line.strip() for line in plain.split("\n")]
    shown = [line for line in lines if line.endswith(" s")]
    assert shown == [
        "before: 1 s",
        "[1/2] draft kd (gsm8k): 1 s",
        "[2/2] scores (gsm8k): 2 s",
        "after: 1 s",
    ]
    assert any("all stages" in line for line in lines) == terminal


@pytest.mark.parametrize("width", [40, 80])
def test_a_stage_that_is_done_takes_one_line_of_a_terminal(width: int) -> None:
    title = (
        "time distillspec, half on-policy, blocks of 4, transformers engine, T=0 (cnn_dm): 3.1 s"
    )
    progress, out = _progress(terminal=True, width=width)
    with progress.stages(152):
        progress.stage_done(title)
    plain = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", out.getvalue().replace("\r", "\n"))
    [line] = [line for line in plain.split("\n") if line.startswith("[1/152]")]
    assert len(line) <= width
    assert line.startswith("[1/152] time dist")
    assert line.endswith("(cnn_dm): 3.1 s")

    progress, out = _progress(width=width)
    with progress.stages(152):
        progress.stage_done(title)
    assert out.getvalue() == f"[1/152] {title}\n"


def test_a_log_shows_now_and_then_that_the_run_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, out = _progress()
    clock = iter([0.0, 1.0, 16.0, 17.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    with progress.step("training", 9) as step:
        step.advance()
        step.advance(2, "loss 0.5")
        step.advance()

    assert out.getvalue() == "  training: 3/9 loss 0.5, 48 s left\n"


def test_a_time_left_that_does_not_fall_becomes_a_range() -> None:
    left = _TimeLeft()
    estimates = [(0.0, 900.0), (30.0, 870.0), (60.0, 1140.0), (80.0, 1120.0), (130.0, 1070.0)]
    assert [left.describe(*item) for item in estimates] == [
        *("15 min left", "14 min left"),  # falls with the time
        *("14 to 19 min left", "14 to 19 min left"),  # a slower part
        "18 min left",  # that has lasted for a minute
    ]


@pytest.mark.parametrize(
    ("shortest", "longest", "words"),
    [
        *((0, 0.4, "0 s"), (39.6, 40.4, "40 s"), (40, 70, "40 to 70 s")),
        *((90, 130, "2 min"), (90, 720, "2 to 12 min"), (5400, 9000, "1.5 to 2.5 h")),
        (0, 10**6, "0.0 to 277.8 h"),
    ],
)
def test_a_span_is_in_one_unit(shortest: float, longest: float, words: str) -> None:
    assert format_span(shortest, longest) == words


def test_what_an_earlier_run_did_says_nothing_of_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, out = _progress()
    clock = iter([0.0, 1.0, 20.0, 40.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    with progress.step("training", 100) as step:
        step.advance(90)
        step.advance(2)
        step.advance(4)

    lines = ["92/100 80 s left", "96/100 20 to 60 s left"]
    assert out.getvalue() == "".join(f"  training: {line}\n" for line in lines)


def test_a_download_prints_bytes_speed_and_time_left_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress, out = _progress()
    clock = iter([0.0, 4.0, 10.0, 15.0, 20.0, 31.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    with progress.download("org/toy@0123456", 50_000_000) as step:
        step.advance(8_000_000)
        step.advance(12_000_000)
        step.advance(-5_000_000)  # the client starts a file again
        step.advance(15_000_000)
        step.advance(20_000_000)

    lines = [
        "20 MB/50 MB 2.0 MB/s, 15 s left",
        "30 MB/50 MB 1.0 MB/s, 5 to 20 s left",
        "50 MB/50 MB 1.8 MB/s",
    ]
    assert out.getvalue() == "".join(f"  org/toy@0123456: {line}\n" for line in lines)


def test_a_terminal_shows_a_download_in_bytes() -> None:
    progress, out = _progress(terminal=True, width=100)

    with progress.download("org/toy@0123456", 50_000_000) as step:
        step.advance(8_000_000)
        time.sleep(0.01)  # a speed needs two moments
        step.advance(12_000_000)

    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert re.search(r"org/toy@0123456 .* 20 MB/50 MB \d[\d.]* [MGT]B/s \d+ s left", shown)


def test_what_is_done_on_the_way_is_told_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, out = _progress()
    clock = iter([0.0, 1.0, 16.0, 17.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    with progress.step("training", 9) as step:
        step.advance(2)
        NamedStep(step, "reference").advance(5, "loss 0.5")
        NamedStep(step, "reference").advance()

    assert out.getvalue() == "  training: 2/9 reference: loss 0.5\n"


def test_a_terminal_shows_a_bar_and_then_clears_it() -> None:
    progress, out = _progress(terminal=True)

    with progress.step("training", 3) as step:
        step.advance(3, "")

    assert "training" in out.getvalue()
    assert "3/3" in out.getvalue()


def test_a_terminal_shows_each_of_several_steps_on_a_line_of_its_own() -> None:
    progress, out = _progress(terminal=True, width=60)

    with progress.step("draft kd, seed 0: training", 160) as first:
        with progress.step("the target's hidden states on gold answers", 64) as second:
            first.advance(40, "loss 0.25, 4000 tokens/s")
            second.advance(9)
            progress.say("scores: done")
            assert progress._bars is not None
            progress._bars.refresh()
        first.advance(120)

    assert progress._bars is None
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).replace("\r", "\n")
    lines = [line.rstrip() for line in shown.splitlines()]
    both = next(index for index, line in enumerate(lines) if "40/160" in line)
    assert lines[both].startswith("  draft kd, seed 0: tra…")
    assert lines[both + 1].startswith("  the target's hidden s…")
    assert "9/64" in lines[both + 1]
    assert "scores: done" in lines
    assert "160/160" in shown.split("9/64")[-1]
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize("terminal", [False, True])
def test_an_error_passes_through_a_step(terminal: bool) -> None:
    progress, _ = _progress(terminal=terminal)

    with pytest.raises(ZeroDivisionError), progress.step("training", 3):
        raise ZeroDivisionError
