"""FIFOs, devices, sockets and sparse giants are refused before they are read."""

import errno
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hangs import no_hang
from huggingface_hub import constants
from stored_runs import run_of

from draftmark.analysis.gate.accepted import load_accepted
from draftmark.analysis.stored_counts import stored_counts
from draftmark.data.hub.failures import Damaged as DamagedModel
from draftmark.data.hub.failures import Repository
from draftmark.data.hub.files import Commit, kept_files
from draftmark.data.rows import load_rows
from draftmark.errors import UserError
from draftmark.models.cache import RECORD, read_record
from draftmark.models.files import local_model
from draftmark.models.weights import check_folder
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.registry import find_registered
from draftmark.store import plain_files
from draftmark.store.entries import ENTRY, SEAL, Damaged, read_entry
from draftmark.store.files import explain_refused_file
from draftmark.store.graph import Node
from draftmark.store.plain_files import NotPlain, open_plain, read_plain
from draftmark.store.published_folder import publish_folder
from draftmark.store.run_folder import RESULTS, SUMS, load_results
from draftmark.store.store import Store


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


def _giant(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"{}")
        file.truncate(2**43)


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "FIFO": (os.mkfifo, "is a FIFO, not a plain file"),
    "socket": (_socket, "is a socket, not a plain file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, not a plain file"),
    "giant": (_giant, "is a sparse file: of its 8796 GB only 0.0 GB are there"),
}


def replace(path: Path, kind: str) -> str:
    """Replace a file by an odd one; return what its refusal says."""
    path.unlink(missing_ok=True)
    ODD[kind][0](path)
    return ODD[kind][1]


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    words = replace(tmp_path / "x", kind)

    for read in (open_plain, read_plain):
        with pytest.raises(NotPlain, match=words):
            read(tmp_path / "x")


def test_a_plain_file_is_read_and_a_large_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("x")

    assert read_plain(tmp_path / "link", max_bytes=5) == b"12345"
    with pytest.raises(NotPlain, match="larger than 0 MB"):
        read_plain(tmp_path / "x", max_bytes=4)
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "missing")


def test_a_file_with_small_holes_and_one_that_the_disk_compresses_are_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_files, "_GIANT", 2**20)
    with (tmp_path / "x").open("wb") as file:
        file.write(bytes(2**21))
        file.truncate(2**21 + 2**20)
    assert len(read_plain(tmp_path / "x")) == 3 * 2**20

    (tmp_path / "y").write_bytes(bytes(2**21))
    facts = list((tmp_path / "y").stat())
    compressed = os.stat_result([*facts, *[0.0] * 3, *[0] * 3, 4096, 8])  # 8 blocks
    assert compressed.st_blocks == 8
    with open_plain(tmp_path / "y") as file:
        assert not plain_files._is_mostly_hole(file.fileno(), compressed)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "notes"])
def test_a_model_with_an_odd_file_is_refused(
    name: str, kind: str, tmp_path: Path, tiny_directory: Path
) -> None:
    folder = shutil.copytree(tiny_directory, tmp_path / "model")
    words = replace(folder / name, kind)

    with pytest.raises(UserError, match=words):
        local_model(str(folder))
    with pytest.raises(UserError, match=words):
        check_folder(folder)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", [RESULTS, SUMS, "records"])
def test_results_with_an_odd_file_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    run_of(tmp_path / "run", {"kd": [(0.5, 0.6)]})
    path = tmp_path / "run" / name
    if path.is_dir():
        path = next(file for file in sorted(path.rglob("*")) if file.is_file())
    replace(path, kind)

    if name == SUMS and kind != "giant":  # a run without checksums is not verified
        assert load_results(tmp_path / "run").results
    elif name == "records" and kind != "giant":
        assert load_results(tmp_path / "run").results  # the report that needs the record says so
    else:
        with pytest.raises(UserError, match=r"(no results\.json|is a sparse file)"):
            load_results(tmp_path / "run")


def test_a_loop_of_links_is_a_missing_file_and_no_folder_for_a_site(tmp_path: Path) -> None:
    results = run_of(tmp_path / "run", {"kd": [(0.5, 0.6)]})
    (tmp_path / "site").symlink_to("site")
    record = next((tmp_path / "run").rglob("*.parquet"))
    record.unlink()
    record.symlink_to(record.name)

    with pytest.raises(UserError, match=r"\.parquet is missing"):
        stored_counts(results, tmp_path / "run")
    with pytest.raises(OSError, match="Not a directory") as refused:
        publish_folder(tmp_path / "site", [("a", "b")])
    assert "cannot be used: Not a directory" in str(explain_refused_file(refused.value))
    assert {path.name for path in tmp_path.iterdir()} == {"run", "site"}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", [ENTRY, SEAL, "data"])
def test_an_entry_with_an_odd_file_is_damaged(name: str, kind: str, tmp_path: Path) -> None:
    store, node = Store(tmp_path), Node("draft", "draft", {}, {}, code=())
    folder = store.new_directory(node)
    (folder / "data").write_bytes(b"data")
    entry = store.commit(node, folder, seconds=0.0)
    replace(entry.directory / name, kind)

    with pytest.raises(Damaged, match=r"(plain file|sparse|missing|changed since)"):
        read_entry(entry.directory)


def _read_rows(folder: Path) -> None:
    task = find_registered("tasks", "gsm8k")
    load_rows(task, "test", 1, sources=["directory"], directory=folder)


def _read_hub_list(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", folder)
        if kept_files(Commit(Repository("a/b"), "0" * 40)) is None:
            raise NotPlain("asked of the hub again")


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "recipe": ("x.toml", lambda folder: load_recipe(str(folder / "x.toml"))),
    "accepted numbers": ("x.json", lambda folder: load_accepted(folder / "x.json")),
    "rows": ("gsm8k/test.jsonl", _read_rows),
    "a model's record": (RECORD, read_record),
    "the hub's list": (f"models--a--b/draftmark/{'0' * 40}.json", _read_hub_list),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_hangs_on_an_odd_file_or_takes_all_memory(
    reader: str, kind: str, tmp_path: Path
) -> None:
    name, read = READERS[reader]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    replace(tmp_path / name, kind)

    with pytest.raises((UserError, DamagedModel)), no_hang():
        read(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file that fails when read")
def test_a_file_whose_disk_fails_is_named() -> None:
    with pytest.raises(NotPlain, match="mem cannot be read: Input/output error; check its disk"):
        read_plain(Path("/proc/self/mem"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_is_lost_in_the_middle_of_a_file_is_a_sentence(number: int) -> None:
    assert "check them, then run again" in str(explain_refused_file(OSError(number, "Lost")))
    assert explain_refused_file(OSError(errno.EBADF, "no")) is None
