"""Published tables and figures are what `make tables` makes from the counts in the repository."""

import runpy
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_runs import board_run
from hangs import no_hang
from hypothesis import given
from hypothesis import strategies as st
from mutated_files import MUTATED
from mutations import Draw, mutated_bytes, mutated_counts, mutated_toml
from places import in_repository

from draftmark.analysis.quantities import quantity_key
from draftmark.errors import UserError
from draftmark.pipeline.render import render_reports
from draftmark.reports._tables.differences import DifferenceMap, difference_map
from draftmark.reports._tables.study import Declaration, study_table
from draftmark.results import Comparison, Contender, Number, Pooled

MAX_BYTES = 5_000_000  # of all published counts together
MADE = runpy.run_path(str(in_repository("tools/make_tables.py")))
ALPHAS = {"kd": (0.6, 0.62), "lk": (0.7, 0.71)}


def test_the_repository_has_what_make_tables_makes() -> None:
    root = in_repository("README.md").parent
    assert [*MADE["differing"](MADE["make_files"](root))] == []


def test_published_counts_are_small() -> None:
    folder = in_repository("reports/measured")
    assert sum(file.stat().st_size for file in folder.rglob("counts.parquet")) <= MAX_BYTES


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published counts of a run."""
    run = tmp_path_factory.mktemp("run")
    (made,) = render_reports(board_run(run, ALPHAS), run, ["counts"])
    return made


@pytest.fixture
def root(tmp_path: Path, counts: Path) -> Path:
    """A repository with one study, whose table stands in the README."""
    study = tmp_path / "reports/measured/mine"
    study.mkdir(parents=True)
    shutil.copy(counts, study)
    columns = ["block_efficiency t=1", "block_efficiency t=1 verification=block", "flops"]
    (study / "study.toml").write_text(f"[tables.rates]\ntask = 'mbpp'\ncolumns = {columns}\n")
    page = "Before.\n\n<!-- table: mine/rates -->\nold\n<!-- end -->\n\nAfter.\n"
    (tmp_path / "README.md").write_text(page)
    return tmp_path


def test_a_table_stands_between_its_marks(root: Path) -> None:
    page = root / "README.md"
    (made,) = MADE["make_files"](root).items()
    assert made[0] == page
    before, table, after = made[1].partition("| method |")[0], made[1], made[1][-7:]
    assert before.startswith("Before.\n\n<!-- table: mine/rates -->\n")
    assert after == "After.\n"
    assert "old" not in table
    assert [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")] == [
        *("| method", "| ---"),
        *("| LK losses", "| KD"),
    ]
    assert [*MADE["differing"](MADE["make_files"](root))] == [page]
    page.write_text(made[1])
    assert [*MADE["differing"](MADE["make_files"](root))] == []


def test_a_mark_without_a_declaration_is_named(root: Path) -> None:
    (root / "README.md").write_text("<!-- table: mine/other -->\n<!-- end -->\n")
    with pytest.raises(SystemExit, match="mine/other"):
        MADE["make_files"](root)


@pytest.mark.parametrize(
    ("name", "mutate"), [("study.toml", mutated_toml), ("counts.parquet", mutated_counts)]
)
def test_a_mutated_study_is_made_or_refused_in_a_sentence(
    root: Path, name: str, mutate: Callable[[bytes, Draw], bytes]
) -> None:
    file = root / "reports/measured/mine" / name
    whole = file.read_bytes()

    @MUTATED
    @given(st.data())
    def make(data: Any) -> None:
        change = data.draw(st.sampled_from([mutate, mutate, mutated_bytes]))
        file.write_bytes(change(whole, data.draw))
        with suppress(UserError, SystemExit), no_hang():
            MADE["make_files"](root)

    make()


@pytest.mark.parametrize("column", ["", "speedup t", "speedup t=x", "speedup gamma=x", "a b"])
def test_a_column_that_is_none_is_named(root: Path, column: str) -> None:
    study = root / "reports/measured/mine/study.toml"
    study.write_text(f"[tables.rates]\ncolumns = ['{column}']\n")
    with pytest.raises(UserError, match=r"mine/study\.toml: tables\.rates\.columns\.0"):
        MADE["make_files"](root)


def test_a_column_that_nobody_has_is_named(tmp_path: Path) -> None:
    results = board_run(tmp_path, ALPHAS)
    with pytest.raises(UserError, match="'speedup'"):
        study_table(results, Declaration(columns=("block_efficiency t=0", "speedup")))
    with pytest.raises(UserError, match="xsum"):
        study_table(results, Declaration(columns=("block_efficiency t=0",), task="xsum"))


def test_a_table_of_some_methods_names_their_rows(tmp_path: Path) -> None:
    """Ranks and letters are those among all methods."""
    results, columns = board_run(tmp_path, ALPHAS), ("block_efficiency t=0", "flops")
    every = study_table(results, Declaration(columns=columns)).splitlines()
    some = study_table(results, Declaration(columns=columns, methods={"kd": "KD | here"}))
    assert some.splitlines() == [*every[:2], every[3].replace("| KD |", r"| KD \| here |")]
    with pytest.raises(UserError, match=r"Unknown method 'kdd'\. Did you mean 'kd'\?"):
        study_table(results, Declaration(columns=columns, methods={"kdd": "KD"}))


def test_a_map_has_each_pairs_differences(tmp_path: Path) -> None:
    small, large = (Contender("gsm8k", pair, "lk") for pair in ("1 of 8", "4 of 8"))
    key = quantity_key("acceptance_rate", 1.0, 4)
    compared = tuple(
        Comparison(item, "kd", key, Number(*value, 64, "accepted / tested"), *p, 0.01, 60)
        for item, value, p in (
            (small, (0.0312, 0.02, 0.04), (0.001, 0.002)),
            (large, (-0.0041, -0.02, 0.01), (0.4, 0.5)),
        )
    )
    own = {key: Number(0.5, 0.4, 0.6, 64, "accepted / tested")}
    pooled = (Pooled(replace(small, method="kd"), (0, 1), own),)
    results = replace(board_run(tmp_path, ALPHAS), comparisons=compared, pooled=pooled)
    table = difference_map(results, DifferenceMap(quantity="acceptance_rate t=1"))
    assert table.splitlines() == [
        "| method | 1 of 8 | 4 of 8 |",
        "| --- | ---: | ---: |",
        "| KD itself | 0.500 [0.400, 0.600] | - |",
        r"| LK losses | +0.031 [0.020, 0.040] \* | -0.004 [-0.020, 0.010] |",
    ]


def test_a_map_of_what_is_not_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'overhead'"):
        difference_map(board_run(tmp_path, ALPHAS), DifferenceMap(quantity="overhead"))


def test_a_picture_is_drawn_again_when_its_data_differ_and_not_for_its_bytes(
    tmp_path: Path,
) -> None:
    picture, data = tmp_path / "figure.png", tmp_path / "figure.csv"
    picture.write_bytes(b"of another machine")
    data.write_text("1\n")
    assert MADE["differing"]({picture: b"of this one", data: "1\n"}) == []
    assert MADE["differing"]({picture: b"of this one", data: "2\n"}) == [picture, data]
