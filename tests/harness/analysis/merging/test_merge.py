"""Runs that were made apart: joined they equal the run made whole, or are refused by name."""

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from board_runs import board_run
from commands import run_command, sentence_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import small_recipe

from draftmark.analysis.merging.merge import merge_runs
from draftmark.analysis.merging.order import joint_order
from draftmark.config.recipe import Recipe
from draftmark.config.validation import parse_toml, validate_section
from draftmark.errors import UserError
from draftmark.pipeline.merged_run import write_merged_run
from draftmark.pipeline.publish import RunOptions, run_recipe
from draftmark.pipeline.render import render_reports
from draftmark.results import Cell, Results
from draftmark.store.run_folder import load_results, save_results

METHODS = ("kd", "lk", "sft")
ALPHAS = {"kd": (0.6, 0.62), "lk": (0.7, 0.71), "sft": (0.5, 0.55)}
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three methods on two tasks, with two seeds."""
    folder = tmp_path_factory.mktemp("whole")
    board_run(folder, ALPHAS)
    return folder


def part_of(whole: Path, folder: Path, cells: Collection[Cell]) -> Path:
    """Write the run that would have made some of the cells of a run."""
    results = load_results(whole)
    rows = tuple(row for row in results.results if row.cell in cells)
    for row in rows:
        shutil.copytree(whole / row.records, folder / row.records)
    found = {name: {getattr(row.cell, name) for row in rows} for name in ("task", "method", "seed")}
    recipe = {
        **results.recipe,
        "tasks": [task for task in results.recipe["tasks"] if task in found["task"]],
        "methods": [it for it in results.recipe["methods"] if it["name"] in found["method"]],
        "seeds": [seed for seed in results.recipe["seeds"] if seed in found["seed"]],
    }
    own = replace(
        results,
        recipe=recipe,
        results=rows,
        data=tuple(facts for facts in results.data if facts["task"] in found["task"]),
        pooled=tuple(
            it
            for it in results.pooled
            if {(it.contender, seed) for seed in it.seeds} <= {(c.contender, c.seed) for c in cells}
        ),
    )
    save_results(own, folder)
    return folder


def changed(whole: Path, folder: Path, change: Change) -> Path:
    """Write a run that differs from another in what `change` does to its results."""
    shutil.copytree(whole, folder)
    document = json.loads((folder / "results.json").read_text())
    change(document)
    (folder / "results.json").write_text(json.dumps(document))
    (folder / "results.sha256").unlink()
    return folder


def cells_of(
    whole: Path, *, methods: Sequence[str] = METHODS, seeds: Sequence[int] = (0, 1)
) -> Any:
    rows = load_results(whole).results
    return {r.cell for r in rows if r.cell.method in methods and r.cell.seed in seeds}


def merged(*folders: Path, against: str | None = None) -> Results:
    """Return the result of all cells in run folders."""
    return merge_runs({folder: folder for folder in folders}, against).results


def comparable(results: Results) -> dict[str, Any]:
    """Return what a merged result and the run made whole must share."""
    document = asdict(results)
    rows = [{**row, "provenance": {**row["provenance"], "run": ""}} for row in document["results"]]
    kept = (
        "pooled",
        "comparisons",
        "standings",
        "block_comparisons",
        "block_standings",
        "findings",
    )
    return {**{name: document[name] for name in (*kept, "data", "recipe")}, "results": rows}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Real runs with a shared store: whole, by methods, and by seeds."""
    folder = tmp_path_factory.mktemp("apart")
    evaluation = "num_speculative_tokens = 4\nmax_new_tokens = 8\n[speed]\nblocks = 2\n"

    def make(name: str, methods: Sequence[str], seeds: Sequence[int]) -> Path:
        text = small_recipe(
            (8, 4, 4),
            methods,
            top=f"seeds = {[*seeds]}",
            evaluation=f"{evaluation}prompts_per_block = 1",
        )
        recipe = validate_section(Recipe, parse_toml(text, name), name)
        return run_recipe(recipe, "small", RunOptions(folder / name, folder / "store"))[1]

    everything = ("untrained", "kd", "prompt_lookup")
    return {
        "whole": make("whole", everything, (0, 1)),
        "first": make("first", everything[:2], (0, 1)),
        "second": make("second", (everything[0], everything[2]), (0, 1)),
        **{f"seed {seed}": make(f"seed {seed}", everything, (seed,)) for seed in (0, 1)},
    }


@pytest.mark.slow
class TestEqualsTheWhole:
    @pytest.mark.parametrize("names", [("second", "first"), ("seed 1", "seed 0")])
    def test_real_runs(
        self, made: Mapping[str, Path], names: Sequence[str], tmp_path: Path
    ) -> None:
        write_merged_run([made[name] for name in names], tmp_path / "joined")
        joined, whole = load_results(tmp_path / "joined"), load_results(made["whole"])
        for name, value in comparable(whole).items():
            assert comparable(joined)[name] == value, name
        render_reports(joined, tmp_path / "joined", ["leaderboard", "tables"])
        render_reports(whole, made["whole"], ["leaderboard", "tables"])
        boards = [(f / "leaderboard.md").read_text() for f in (tmp_path / "joined", made["whole"])]
        merged_board, whole_board = (text.partition("## Manifest")[0] for text in boards)
        # The line to paste names the folder.
        assert merged_board.replace("joined", "") == whole_board.replace(made["whole"].name, "")

    def test_one_run_keeps_its_tables(self, made: Mapping[str, Path], tmp_path: Path) -> None:
        write_merged_run([made["whole"]], tmp_path / "out")
        assert comparable(load_results(tmp_path / "out")) == comparable(load_results(made["whole"]))

    def test_speeds_of_two_machines_are_left_out(
        self, made: Mapping[str, Path], tmp_path: Path
    ) -> None:
        def elsewhere(document: dict[str, Any]) -> None:
            for row in document["results"]:
                for entry in row["provenance"]["entries"]:
                    if entry["stage"] == "decodes":
                        entry["manifest"]["hardware"]["processor"] = "another processor"

        other = changed(made["second"], tmp_path / "other", elsewhere)
        write_merged_run([made["first"], other], tmp_path / "out")
        joined = load_results(tmp_path / "out")
        assert not [key for row in joined.results for key in row.numbers if "speedup" in key]
        assert not [*(tmp_path / "out/records").rglob("runs*")]
        (note,) = [it.text for it in joined.findings if "left out" in it.text]
        assert "another processor" in note
        assert "left out" in (tmp_path / "out/leaderboard.md").read_text()
        kept = merged(made["first"], made["second"])
        assert {"speedup"} <= kept.results[0].numbers.keys()


class TestSplits:
    @settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_order_and_nesting_do_not_matter(
        self, whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        folder = tmp_path_factory.mktemp("splits")
        cells = sorted(cells_of(whole), key=str)
        runs = data.draw(st.lists(st.integers(0, 2), min_size=len(cells), max_size=len(cells)))
        twice = data.draw(st.integers(0, len(cells) - 1))  # a cell that stands in two runs
        parts = []
        for run in range(3):
            own = {cell for cell, its_run in zip(cells, runs, strict=True) if its_run == run}
            parts.append(part_of(whole, folder / f"part {run}", own | {cells[twice]}))
        one, two, three = data.draw(st.permutations(parts))
        write_merged_run([one, two, three], folder / "at once")
        write_merged_run([two, one], folder / "nested")
        write_merged_run([three, folder / "nested"], folder / "then")
        at_once, then = (folder / name / "results.json" for name in ("at once", "then"))
        assert at_once.read_bytes() == then.read_bytes()
        joined, first = load_results(folder / "at once"), load_results(whole)
        assert {r.cell: r.numbers for r in joined.results} == {
            r.cell: r.numbers for r in first.results
        }
        pooled = {it.contender: it.numbers for it in joined.pooled}
        for item in first.pooled:
            assert item.numbers.items() <= pooled[item.contender].items()

    def test_a_subset_is_the_whole_without_the_others(self, whole: Path, tmp_path: Path) -> None:
        folder = part_of(whole, tmp_path / "part", cells_of(whole, methods=("kd", "sft")))
        apart = [part_of(whole, tmp_path / f"{n}", cells_of(whole, seeds=(n,))) for n in (0, 1)]
        both, halves = (comparable(merged(*runs)) for runs in ([folder, whole], apart))
        for name in both.keys() - {"pooled"}:  # `whole` has fewer numbers than its records show
            assert both[name] == halves[name], name


REFUSED: Mapping[str, tuple[Change, str]] = {
    "block length": (
        lambda it: it["recipe"]["evaluation"].update(num_speculative_tokens=3),
        "evaluation.num_speculative_tokens: 4 in .*, 3 in |3 in .*, 4 in ",
    ),
    "temperatures": (
        lambda it: it["recipe"]["evaluation"].update(temperatures=[0.0]),
        r"evaluation.temperatures: .*\[0.0\]",
    ),
    "shots": (lambda it: it["recipe"]["prompting"].update(shots=2), "prompting.shots: "),
    "target": (lambda it: it["data"][0].update(target_digest="1" * 64), "target_digest of gsm8k"),
    "draft": (
        lambda it: it["recipe"]["pairs"][0]["draft"].update(pruned=[0, 6]),
        "pair tiny.draft",
    ),
    "test rows": (lambda it: it["data"][1]["digest"].update(test="x"), "test rows of mbpp, tiny"),
    "length limit": (lambda it: it["data"][0].update(max_new_tokens=8), "max_new_tokens of gsm8k"),
    "texts": (
        lambda it: it["results"][0]["provenance"]["text_digests"].update({"1": "other"}),
        "texts of gsm8k, tiny at temperature 1",
    ),
    "a method's settings": (
        lambda it: it["recipe"]["methods"][1].update(training={"learning_rate": 1.0}),
        "lk on gsm8k.training.learning_rate: .* 1.0 in ",
    ),
    "a label for another method": (
        lambda it: it["recipe"]["methods"][1].update(name="dld", label="lk"),
        "the method called lk: ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_difference_is_refused_by_name(name: str, whole: Path, tmp_path: Path) -> None:
    change, named = REFUSED[name]
    other = changed(whole, tmp_path / "other", change)
    with pytest.raises(UserError, match=named) as refused:
        write_merged_run([whole, other], tmp_path / "out")
    assert str(whole) in str(refused.value)
    assert str(other) in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_cell_with_other_counts_is_refused(whole: Path, tmp_path: Path) -> None:
    board_run(tmp_path / "other", {**ALPHAS, "lk": (0.7, 0.8)})
    with pytest.raises(UserError, match="lk on gsm8k, tiny, seed 1 stands in two runs"):
        merged(whole, tmp_path / "other")


def test_methods_that_trained_otherwise_keep_their_settings(whole: Path, tmp_path: Path) -> None:
    def slower(document: dict[str, Any]) -> None:
        document["recipe"]["training"]["learning_rate"] = 0.001

    first = part_of(whole, tmp_path / "first", cells_of(whole, methods=("kd", "sft")))
    part_of(whole, tmp_path / "second", cells_of(whole, methods=("lk",)))
    second = changed(tmp_path / "second", tmp_path / "slower", slower)
    document = merged(first, second).recipe
    recipe: Recipe = validate_section(Recipe, dict(document), "the merged recipe")
    rates = {m.title: recipe.training_of(m).learning_rate for m in recipe.methods}
    assert rates == {"kd": 0.003, "lk": 0.001, "sft": 0.003}


def test_machines_and_commits_may_differ(whole: Path, tmp_path: Path) -> None:
    def elsewhere(document: dict[str, Any]) -> None:
        document["manifest"]["hardware"]["processor"] = "y"
        document["manifest"]["git"]["commit"] = "1" * 40

    first = part_of(whole, tmp_path / "first", cells_of(whole, seeds=(0,)))
    part_of(whole, tmp_path / "second", cells_of(whole, seeds=(1,)))
    second = changed(tmp_path / "second", tmp_path / "elsewhere", elsewhere)
    write_merged_run([first, second], tmp_path / "out")
    board = (tmp_path / "out/leaderboard.md").read_text()
    assert "at commit 111111111111: kd on gsm8k, tiny (seed 1)" in board.replace("\\", "")
    assert load_results(tmp_path / "out").manifest["hardware"]["processor"] == "x and y"


def test_a_failed_cell_is_taken_from_the_run_that_made_it(whole: Path, tmp_path: Path) -> None:
    def stopped(document: dict[str, Any]) -> None:
        row = document["results"][2]
        row |= {"failure": "draft lk: stopped", "numbers": {}, "records": "", "ledger": None}
        row["provenance"] = {}

    partly = changed(whole, tmp_path / "partly", stopped)
    alone = merged(partly)
    assert alone.results[2].failure == "draft lk: stopped"
    both = merged(partly, whole)
    assert [row.failure for row in both.results] == [None] * len(both.results)
    assert [row.numbers for row in both.results] == [
        row.numbers for row in load_results(whole).results
    ]


class TestCommand:
    def test_a_refusal_is_one_sentence(
        self, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = changed(whole, tmp_path / "other", REFUSED["shots"][0])
        refused = run_command(capsys, "merge", whole, other, "--out", tmp_path / "out")
        assert "prompting.shots" in sentence_of(refused)

    def test_a_merged_run_is_replaced_and_another_is_kept(
        self, whole: Path, tmp_path: Path
    ) -> None:
        first = part_of(whole, tmp_path / "first", cells_of(whole, methods=("kd",)))
        out = tmp_path / "out"
        write_merged_run([first], out)
        write_merged_run([out, whole], out)
        assert len(load_results(out).results) == len(load_results(whole).results)
        with pytest.raises(UserError, match="would be replaced"):
            write_merged_run([whole], first)

    def test_against(self, whole: Path) -> None:
        results = merged(whole, against="lk")
        assert {item.against for item in results.comparisons} == {"lk"}
        with pytest.raises(UserError, match="lk"):
            merged(whole, against="lkk")


@given(st.permutations("abcdef"), st.lists(st.sets(st.sampled_from("abcdef")), max_size=4))
def test_joint_order_keeps_an_order_that_all_share(order: list[str], parts: list[set[str]]) -> None:
    sequences = [[name for name in order if name in part] for part in parts]
    found = joint_order(sequences)
    assert sorted(found) == sorted(set().union(*parts))
    for sequence in sequences:
        assert [name for name in found if name in sequence] == sequence
    assert joint_order(reversed(sequences)) == found


def test_joint_order_of_sequences_that_disagree() -> None:
    assert joint_order([["b", "a"], ["a", "b"], ["c"]]) == joint_order(
        [["c"], ["a", "b"], ["b", "a"]]
    )
