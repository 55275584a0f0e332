"""Damaged inputs of every kind: rows, results, records, accepted numbers, published figures.

Each is a sentence that names the file, or what it was is still there; none is a traceback.
"""

import gzip
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stored_runs import run_of

from draftmark import registry
from draftmark.analysis import literature
from draftmark.analysis.gate import accepted
from draftmark.analysis.gate.gate import GateTerms, judge_run
from draftmark.analysis.stored_counts import stored_counts
from draftmark.data.rows import load_rows
from draftmark.errors import UserError
from draftmark.pipeline.render import render_reports
from draftmark.store.run_folder import load_results, run_folders


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw what becomes of a file: cut, a bit flipped, bytes put in the place of others."""
    where = draw(st.floats(0, 1, exclude_max=True))
    what = draw(st.one_of(st.just(None), st.integers(0, 7), st.binary(max_size=6)))
    length = draw(st.integers(1, 60))

    def damage(data: bytes) -> bytes:
        place = int(where * len(data))
        if what is None:
            return data[:place]
        if isinstance(what, int):
            return data[:place] + bytes([data[place] ^ 1 << what]) + data[place + 1 :]
        return data[:place] + what + data[place + length :]

    return damage


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "mine"
    results = run_of(directory, {"kd": [(0.5, 0.7, 0.9)], "sft": [(0.4, 0.7, 0.8)]})
    known = accepted.accept_run(results, directory, reason="first", date="2026-01-01")
    accepted.save_accepted(known, directory.parent / "accepted.json")
    return directory


@given(damage=damages())
@settings(max_examples=60)
def test_results_that_are_damaged_are_named_and_none_of_their_numbers_shown(
    run: Path, damage: Callable[[bytes], bytes]
) -> None:
    file = run / "results.json"
    before = file.read_bytes()
    file.write_bytes(damage(before))
    try:
        if file.read_bytes() != before:
            with pytest.raises(UserError, match=r"results\.json"):
                load_results(run)
        assert run_folders([run.parent]) == [run]
    finally:
        file.write_bytes(before)
    assert load_results(run).results


@given(damage=damages())
@settings(max_examples=40)
def test_a_damaged_table_of_a_run_is_named_by_every_report_that_reads_it(
    run: Path, damage: Callable[[bytes], bytes]
) -> None:
    results, file = load_results(run), run / "records/01/tables-t0.parquet"
    before = file.read_bytes()
    file.write_bytes(damage(before))
    try:
        if file.read_bytes() != before:
            with pytest.raises(UserError, match=r"tables-t0\.parquet"):
                load_results(run)
            with pytest.raises(UserError, match=r"tables-t0\.parquet"):
                stored_counts(results, run)
            with pytest.raises(UserError, match=r"tables-t0\.parquet"):
                render_reports(results, run, ["reconcile"])
    finally:
        file.write_bytes(before)


@given(damage=damages())
@settings(max_examples=40)
def test_a_damaged_table_without_a_sum_is_a_sentence_or_a_table(
    run: Path, damage: Callable[[bytes], bytes]
) -> None:
    """Of a run that was written without sums: what cannot be read is named."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("draftmark.store.run_folder.SUMS", "none")
        file = run / "records/01/tables-t0.parquet"
        before = file.read_bytes()
        file.write_bytes(damage(before))
        try:
            with suppress(UserError):
                stored_counts(load_results(run), run)
        finally:
            file.write_bytes(before)


def _documents(value: Any) -> list[tuple[Any, Any]]:
    """Return every place in a JSON document, as what holds it and its name there."""
    found = []
    inner: Any = ()
    if isinstance(value, dict | list):
        inner = list(value.items() if isinstance(value, dict) else enumerate(value))
    for name, item in inner:
        found += [(value, name), *_documents(item)]
    return found


@given(data=st.data())
@settings(max_examples=150)
def test_results_of_another_shape_are_named_with_the_key(run: Path, data: st.DataObject) -> None:
    """Without sums, as of a run of old: whatever holds a wrong type is found on loading."""
    file = run / "results.json"
    before = file.read_bytes()
    document = json.loads(before)
    kept = {name: document.pop(name) for name in ("recipe", "manifest", "data")}  # open tables
    holder, name = data.draw(st.sampled_from(_documents(document)))
    holder[name] = data.draw(
        st.sampled_from([{"x": []}, [[]], {}]).filter(lambda v: v != holder[name])
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("draftmark.store.run_folder.SUMS", "none")
            file.write_text(json.dumps({**document, **kept}))
            with suppress(UserError):
                render_reports(load_results(run), run, ["tables", "export"])
    finally:
        file.write_bytes(before)


@given(damage=damages())
@settings(max_examples=150)
@example(damage=lambda data: data.replace(b'"gamma": 4', b'"gamma": "4"'))
@example(damage=lambda data: data.replace(b'"gamma": 4', b'"gamma": NaN'))
@example(damage=lambda data: data.replace(b'"0":', b'"zero":'))
@example(damage=lambda data: data.replace(b'"tested"', b'"tasted"'))
def test_accepted_numbers_that_are_damaged_are_a_sentence_or_numbers(
    run: Path, damage: Callable[[bytes], bytes]
) -> None:
    before = (run.parent / "accepted.json").read_bytes()
    file = run.parent / "spoiled.json"
    file.write_bytes(damage(before))
    results = load_results(run)

    with suppress(UserError):
        known = accepted.load_accepted(file)
        judge_run(results, stored_counts(results, run, known.gamma), known, GateTerms(0.01))


def test_what_is_wrong_with_accepted_numbers_is_named_by_its_key(run: Path) -> None:
    text = (run.parent / "accepted.json").read_text()
    for old, new, key in (
        ('"gamma": 4', '"gamma": 99', "gamma"),
        ('"task": "gsm8k"', '"task": 3', "cells.0.task"),
        ('"reason": "first"', '"raeson": "first"', "history.0"),
        ('"temperature": 0.0', '"temperature": NaN', "cells.0.temperature"),
    ):
        assert old in text
        (run.parent / "spoiled.json").write_text(text.replace(old, new))
        with pytest.raises(UserError, match=rf"spoiled\.json cannot be read.*{key}"):
            accepted.load_accepted(run.parent / "spoiled.json")


@given(damage=damages(), name=st.sampled_from(["adaspec", "csd"]))
@settings(max_examples=60)
def test_published_figures_that_are_damaged_are_a_sentence_or_figures(
    name: str, damage: Callable[[bytes], bytes]
) -> None:
    file = resources.files("draftmark.baselines") / "recipes" / "published" / f"{name}.toml"
    text = damage(file.read_bytes()).decode("utf-8", "replace")

    with suppress(UserError):
        assert all(
            0 <= figure.value <= 1 for figure in literature.read_figures(text, f"{name}.toml")
        )


@given(
    damage=damages(),
    name=st.sampled_from(["alpaca", "cnn_dm", "gsm8k", "mbpp", "xsum"]),
    packed=st.booleans(),
)
@settings(max_examples=80)
def test_damaged_rows_are_named_by_file_or_line_or_are_rows(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    packed: bool,
    damage: Callable[[bytes], bytes],
) -> None:
    task = registry.find_registered("tasks", name)
    folder = tmp_path_factory.mktemp("data")
    (folder / (task.folder or name)).mkdir()
    path = folder / (task.folder or name) / ("test.jsonl.gz" if packed else "test.jsonl")
    data = (task.samples / "test.jsonl.gz").read_bytes()
    path.write_bytes(damage(data if packed else gzip.decompress(data)[:4000]))

    with suppress(UserError):
        rows = load_rows(task, "test", 2, sources=["directory"], directory=folder).examples
        assert len(rows) == 2
    shutil.rmtree(folder)
