"""One bit, anywhere in anything that a run stored: it is found, by loading and by `verify`."""

import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_server import says, serve

from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.store import garbage_collection
from draftmark.store.entries import ENTRY, SEAL, Damaged
from draftmark.store.graph import Node
from draftmark.store.store import Store

QUIET = Progress(quiet=True)
RECIPE = """
title = "every kind of stage"
tasks = ["gsm8k"]
threads = 1
[data]
sources = ["samples"]
train_rows = 4
validation_rows = 2
test_rows = 2
[[pairs]]
name = "tiny"
target = "tiny-target"
draft = {{ pruned = [0, 7] }}
fine_tune = {{ passes = 1, validations = 1 }}
[training]
validations = 1
[[methods]]
name = "kd"
[[methods]]
name = "eagle"
[evaluation]
temperatures = [0]
max_new_tokens = 8
[evaluation.samples]
count = 2
[evaluation.judge]
endpoint = "{endpoint}"
model = "judge"
key_variable = ""
[speed]
blocks = 2
prompts_per_block = 1
"""
KINDS = {
    "target",
    "responses",
    "features",
    "draft",
    "scores",
    "decodes",
    "grades",
    "likelihoods",
    "verdicts",
}


@dataclass(frozen=True)
class Run:
    """A run's store, and its files by the kind of stage that wrote them."""

    store: Path
    nodes: dict[str, Node]
    files: dict[str, list[Path]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "small.toml"
    with pytest.MonkeyPatch.context() as patch, serve(lambda _: says("A")) as judge:
        patch.setenv("no_proxy", "*")
        recipe.write_text(RECIPE.format(endpoint=judge.endpoint))
        prepared = plan_experiment(load_recipe(str(recipe)), QUIET)
        results = run_experiment(prepared, "small", Store(folder / "store"), QUIET)
    assert [row.failure for row in results.results] == [None, None]
    files = defaultdict(list)
    for path in sorted((folder / "store").glob("*/*/**/*")):
        if path.is_file() and (path.relative_to(folder).parts[1] in KINDS):
            files[path.relative_to(folder).parts[1]].append(path)
    return Run(folder / "store", {node.key: node for node in prepared.nodes}, dict(files))


def flip(path: Path, bit: int) -> None:
    with path.open("rb+") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


@pytest.mark.slow
def test_a_small_run_has_every_kind_of_stage(small: Run) -> None:
    assert small.files.keys() == KINDS
    assert {path.name for paths in small.files.values() for path in paths} > {
        ENTRY,
        SEAL,
        "states.bin",
        "model.safetensors",
        "tables.parquet",
        "verdicts.parquet",
    }


@pytest.mark.slow
@settings(max_examples=80)
@given(data=st.data())
def test_a_bit_flipped_anywhere_is_found_by_loading_and_by_verify(
    small: Run, data: st.DataObject
) -> None:
    path = data.draw(
        st.sampled_from(sorted(KINDS)).flatmap(lambda k: st.sampled_from(small.files[k]))
    )
    bit = data.draw(st.integers(0, 8 * path.stat().st_size - 1))
    folder = small.store / Path(*path.relative_to(small.store).parts[:2])
    flip(path, bit)
    try:
        with pytest.raises(Damaged):
            Store(small.store).load(small.nodes[folder.name])
        (wrong,) = [said for _, said in garbage_collection.verify_store(Store(small.store)) if said]
        assert str(folder) in wrong
        assert path.name in wrong or path.name == SEAL
        assert not Store(small.store).has(small.nodes[folder.name])
    finally:
        for aside in (small.store / "damaged").glob("*/entry"):
            aside.rename(folder)
            shutil.rmtree(aside.parent)
        flip(path, bit)
    assert Store(small.store).load(small.nodes[folder.name])
