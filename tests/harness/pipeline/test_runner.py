"""The whole path on the tiny pair: results, the cache, failures."""

import shutil
import sys
from pathlib import Path

import pytest
from made_once import made_once
from small_runs import small_recipe

from draftmark.analysis.quantities import quantity_key
from draftmark.cli import main
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.registry import find_registered
from draftmark.results import Results
from draftmark.store.run_folder import load_results, save_results
from draftmark.store.store import Store

RECIPE = small_recipe(
    (32, 4, 8),
    ["untrained", "kd"],
    evaluation="max_new_tokens = 64\n[speed]\nblocks = 2\nprompts_per_block = 2",
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """Return the store of a run that other runs begin with, and its results."""

    def make() -> tuple[Path, Results]:
        folder = tmp_path_factory.mktemp("made")
        (folder / "small.toml").write_text(RECIPE)
        return folder / "store", run_recipe(folder / "small.toml", folder / "store")

    return made_once(tmp_path_factory, "small_run", make)


@pytest.fixture
def store(made: tuple[Path, Results], tmp_path: Path) -> Path:
    """Return a copy of the store that has all stages of the small run."""
    return Path(shutil.copytree(made[0], tmp_path / "store"))


def run_recipe(recipe: Path, store: Path) -> Results:
    quiet = Progress(quiet=True)
    prepared = plan_experiment(load_recipe(str(recipe)), quiet)
    return run_experiment(prepared, "small", Store(store), quiet)


@pytest.mark.slow
def test_a_run_gives_every_number_and_a_second_one_makes_nothing(
    recipe: Path, made: tuple[Path, Results], store: Path
) -> None:
    _, first = made
    untrained, trained = first.results
    name = quantity_key("acceptance_rate", 0.0, 4)
    assert trained.numbers[name].value > untrained.numbers[name].value
    compared = {item.quantity: item for item in first.comparisons}
    assert compared[name].difference.n == 8
    assert compared[name].contender.method == "kd"
    groups = {(s.contender.method, s.quantity): s.letters for s in first.standings}
    rank = quantity_key("block_efficiency", 0.0, 4)
    assert (groups["kd", rank], groups["untrained", rank]) == ("a", "b")
    assert trained.numbers["identical"].value == 1.0
    for row in first.results:
        counted, predicted = row.numbers["counted_passes"], row.numbers["predicted_passes"]
        assert counted.value == predicted.value
        assert row.provenance["entries"]
        assert {text["writer"] for text in row.provenance["scored_texts"]} == {"target"}
        assert row.provenance["text_digests"] == untrained.provenance["text_digests"] != {}
    assert [text["writer"] for text in trained.provenance["draft_texts"]] == ["dataset", "target"]
    *warnings, note = first.findings
    assert note.severity == "note"
    assert all(warning.facts["text_artefacts"] for warning in warnings)  # at 64 tokens most are cut
    prepared = plan_experiment(load_recipe(str(recipe)), Progress(quiet=True))
    assert Store(store).missing(prepared.nodes) == {}
    assert run_recipe(recipe, store) == first


@pytest.mark.slow
def test_a_run_prints_its_leaderboard_and_its_folder_is_all_that_reports_need(
    recipe: Path,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def draftmark(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["draftmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main.main()
        assert not stop.value.code
        return capsys.readouterr().out

    printed = draftmark("run", recipe, "--out", tmp_path / "results", "--store", store)
    assert printed.startswith("# a small run")
    directory = next((tmp_path / "results").glob("small-*"))
    for file in ("leaderboard.md", "results.json"):
        assert f"Written: {directory / file}" in printed
    shutil.rmtree(store)
    rendered = (directory / "leaderboard.md").read_text()
    (directory / "leaderboard.md").unlink()
    draftmark("report", directory)
    assert (directory / "leaderboard.md").read_text() == rendered
    assert "| vLLM | Mean acceptance length |" in draftmark("reconcile", directory)
    assert "| c | w = 0.02 |" in draftmark("what-if", directory, "--verification-cost", 0.02)
    assert (directory / "what_if.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_run_is_verified_by_its_folder_and_its_store(
    recipe: Path,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_results(run_recipe(recipe, store), tmp_path / "small-00000000")
    command = ["verify", tmp_path / "small-00000000", "--prompts", "3"]
    monkeypatch.setattr(sys, "argv", ["draftmark", *map(str, command)])
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert "All checks passed: reference engine, float32." in printed
    # Two drafts: three checks of each at temperature 0 and at 1.
    assert printed.count("| pass |") == 12
    command += ["--store", tmp_path / "elsewhere"]
    monkeypatch.setattr(sys, "argv", ["draftmark", *map(str, command)])
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert stop.value.code == 2
    assert "No draft of this run is in" in capsys.readouterr().err


@pytest.mark.slow
def test_a_checkpoint_chosen_on_test_rows_ends_a_run_in_an_error_with_its_results_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    samples: Path = find_registered("tasks", "gsm8k").samples
    (tmp_path / "gsm8k").mkdir()
    for split, source in (("train", "train"), ("validation", "test"), ("test", "test")):
        shutil.copyfile(samples / f"{source}.jsonl.gz", tmp_path / f"gsm8k/{split}.jsonl.gz")
    recipe = tmp_path / "leaky.toml"
    text = RECIPE.replace('"samples"', '"directory"').replace("train_rows = 32", "train_rows = 4")
    recipe.write_text("speed = false\n" + text.partition("[speed]")[0])
    arguments = ["run", recipe, "--out", tmp_path / "results", "--data", tmp_path]
    monkeypatch.setattr(sys, "argv", ["draftmark", *map(str, arguments)])

    with pytest.raises(SystemExit) as stop:
        main.main()

    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert "draftmark: gsm8k, tiny: of 8 test questions 4 are in the 4 validation" in printed.err
    assert "Do not compare these numbers" in printed.out
    (found,) = (tmp_path / "results").glob("leaky-*")
    loaded = load_results(found).findings
    assert [f.severity for f in loaded if "validation rows" in f.text] == ["error"]


@pytest.mark.slow
def test_a_method_that_fails_is_a_row_with_its_reason_and_the_others_go_on(
    recipe: Path, store: Path
) -> None:
    recipe.write_text(
        RECIPE.replace(
            'name = "kd"', 'name = "kd"\ntraining = { clip_norm = 1e9, learning_rate = 1e30 }'
        )
    )
    untrained, failed = run_recipe(recipe, store).results
    assert untrained.failure is None
    assert untrained.numbers
    assert failed.failure is not None
    assert "at step" in failed.failure
    assert "learning_rate" in failed.failure
