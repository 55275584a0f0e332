"""What a run tells: verbatim lines, a bar on a terminal, silence where none is wanted."""

import time
from io import StringIO

import pytest
from rich.console import Console

from draftmark.progress import NamedStep, Progress


def _progress(*, terminal: bool = False, quiet: bool = False) -> tuple[Progress, StringIO]:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=40, highlight=False)
    return Progress(console, quiet=quiet), out


@pytest.mark.parametrize(
    "line",
    ["[bold]plain[/bold]", "rows [1, 2] of /a/path", "hub:x: :warning: here", "word " * 30 + "end"],
)
def test_a_line_is_printed_as_it_is(line: str) -> None:
    progress, out = _progress()

    progress.say(line)

    assert out.getvalue() == f"{line}\n"


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


def test_a_log_shows_now_and_then_that_the_run_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, out = _progress()
    clock = iter([0.0, 1.0, 16.0, 17.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    with progress.step("training", 9) as step:
        step.advance()
        step.advance(2, "loss 0.5")
        step.advance()

    assert out.getvalue() == "  training: 3/9 loss 0.5, 0:00:48 left\n"


def test_what_an_earlier_run_did_says_nothing_of_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, out = _progress()
    clock = iter([0.0, 1.0, 20.0, 40.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    with progress.step("training", 100) as step:
        step.advance(90)
        step.advance(2)
        step.advance(4)

    lines = ["92/100 0:01:20 left", "96/100 0:00:20 left"]
    assert out.getvalue() == "".join(f"  training: {line}\n" for line in lines)


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


@pytest.mark.parametrize("terminal", [False, True])
def test_an_error_passes_through_a_step(terminal: bool) -> None:
    progress, _ = _progress(terminal=terminal)

    with pytest.raises(ZeroDivisionError), progress.step("training", 3):
        raise ZeroDivisionError
