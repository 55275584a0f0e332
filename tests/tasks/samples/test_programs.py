"""Tests that the programs pass their tests, and that the tests can fail."""

import re
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.tasks.samples.generate import SOURCES, read_split
from draftmark.tasks.samples.programs import FAMILIES, LOCALS, PARAMETERS, Family, fill_family

SEEDS = st.integers(min_value=0, max_value=2**32)


def run(code: str, tests: list[str]) -> None:
    """Run one of the project's own programs with its tests."""
    names: dict[str, Any] = {}
    exec(code, names)
    for test in tests:
        exec(test, names)


@pytest.mark.parametrize("split", SOURCES["mbpp"].sizes)
def test_every_written_program_passes_its_tests(split: str) -> None:
    for row in read_split("mbpp", split):
        run(row["code"], row["test_list"])


@given(family=st.sampled_from(FAMILIES), seed=SEEDS)
def test_every_way_of_a_family_passes_what_is_expected_apart_from_it(
    family: Family, seed: int
) -> None:
    row = fill_family(family, rng=Random(seed))
    run(row["code"], row["test_list"])
    assert len(set(row["test_list"])) == 3


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.text)
def test_a_program_that_returns_nothing_fails(family: Family) -> None:
    row = fill_family(family, rng=Random(0))
    header = row["code"].partition("\n")[0]
    with pytest.raises(AssertionError):
        run(f"{header}\n    return None", row["test_list"])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.text)
def test_no_name_of_a_program_can_hide_another(family: Family) -> None:
    pools = [*LOCALS.values(), *(PARAMETERS[kind] for kind in family.takes)]
    names = [name for pool in pools for name in pool]
    assert len(set(names)) == len(names)


@given(family=st.sampled_from(FAMILIES), seed=SEEDS)
def test_no_wording_choice_or_field_is_left_open(family: Family, seed: int) -> None:
    row = fill_family(family, rng=Random(seed))
    assert not re.search(r"[\[\]{}|$]|  | [.,]", row["text"])
    assert "$" not in row["code"]


def test_families_are_many_and_each_has_two_ways_or_more() -> None:
    assert len(FAMILIES) >= 40
    assert all(len(family.bodies) >= 2 for family in FAMILIES)
