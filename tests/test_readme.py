"""What the README shows is there: its commands, its reports, its workflow."""

import re
from pathlib import Path

import typer.main
import yaml

from draftmark.cli.main import app
from draftmark.registry import names

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
WORKFLOW = re.search(r"\n    name: acceptance\n(?:    .*\n)+", README)


def test_every_command_it_shows_exists() -> None:
    shown = set(re.findall(r"draftmark ([a-z-]+)(?= )", "\n".join(_code())))
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]

    assert {"gate", "bless", "power", "compare", "trend"} <= shown
    assert shown <= set(known)


def test_every_report_it_shows_exists() -> None:
    shown = re.findall(r"draftmark report \S+ ([a-z_ ]+[a-z_])", "\n".join(_code()))

    assert shown
    assert {name for line in shown for name in line.split()} <= set(names("reports"))


def test_its_workflow_is_a_workflow() -> None:
    assert WORKFLOW
    steps = yaml.safe_load(WORKFLOW.group())["jobs"]["gate"]["steps"]

    assert [step for step in steps if "run" not in step and "uses" not in step] == []
    assert any("draftmark gate" in step.get("run", "") for step in steps)


def _code() -> list[str]:
    return [line for line in README.splitlines() if line.startswith("    ")]
