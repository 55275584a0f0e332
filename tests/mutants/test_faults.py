"""Faults are small changes that compile; `targets.toml` names what there is."""

import ast
import tomllib

import pytest
from places import ROOT

from tests.mutants.faults import faults_of

TARGETS = tomllib.loads((ROOT / "tests" / "mutants" / "targets.toml").read_text("utf-8"))["target"]
SOURCE = '''
"""A doc string with 1 < 2."""
LIMIT: int = 3


@dataclass(frozen=True)
def f(x: int | None) -> float:
    """Return a number."""
    return -x ** 2 if x is not None and x < LIMIT else (max(1.5, 0.0))
'''


def test_a_fault_is_another_operator_constant_or_condition() -> None:
    found = [(fault.line, fault.old, fault.new) for fault in faults_of(SOURCE)]
    assert sorted(found) == [
        (3, "3", "4"),
        (9, "**", "*"),
        (9, "-", ""),
        (9, "0.0", "1.0"),
        (9, "1.5", "1.65"),
        (9, "2", "3"),
        (9, "<", "<="),
        (9, "and", "or"),
        (9, "is not", "is"),
        (9, "max", "min"),
    ]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target["file"]))
def test_targets_exist_their_faults_compile_and_what_is_explained_is_a_fault(
    target: dict[str, object],
) -> None:
    source = (ROOT / str(target["file"])).read_text("utf-8")
    lines, faults = source.splitlines(), faults_of(source)
    assert faults
    for fault in faults:
        ast.parse(fault.plant(source))
    known = {(lines[fault.line - 1].strip(), fault.old, fault.new) for fault in faults}
    explained = target.get("explained", [])
    assert isinstance(explained, list)
    assert {tuple(item["fault"]) for item in explained} <= known
    tests = target["tests"]
    assert isinstance(tests, list)
    assert all((ROOT / name).is_file() for name in tests)
