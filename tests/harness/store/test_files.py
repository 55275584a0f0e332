"""Writing a file: no link is followed, no half of it is seen, and full disks are named."""

import errno
import fcntl
import os
import secrets
import socket
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from draftmark.errors import UserError
from draftmark.store import files
from draftmark.store.files import (
    copy_file,
    explain_full_disk,
    explain_refused_file,
    locked_folder,
    remove_odd_files,
    replace_file,
    write_atomically,
    write_json,
)

TOKEN = "0" * 32


def _precious(folder: Path) -> Path:
    path = folder / "precious"
    path.write_text("mine")
    return path


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _stop_halfway(path: Path) -> None:
    with replace_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt


# The file itself, and the temporary names of this version and of those before.
NAMES = ["a.json", f".{TOKEN}.tmp", ".a.json.PID", ".a.json.new"]


@pytest.mark.parametrize("name", NAMES)
def test_no_link_is_followed_whatever_name_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: TOKEN)
    precious, run = _precious(tmp_path), tmp_path / "run"
    name = name.replace("PID", str(os.getpid()))
    run.mkdir()
    (run / name).symlink_to(precious)

    if TOKEN in name:
        with pytest.raises(FileExistsError):  # refused: nobody can plant this name without luck
            write_atomically(run / "a.json", b"{}")
    else:
        write_atomically(run / "a.json", b"{}")
        assert not (run / "a.json").is_symlink()
        assert (run / "a.json").read_bytes() == b"{}"

    assert precious.read_text() == "mine"


def test_a_file_is_synced_before_it_has_its_name_and_its_folder_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    sync = os.fsync

    def noted(number: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{number}").readlink()), (tmp_path / "a").exists()))
        sync(number)

    monkeypatch.setattr(os, "fsync", noted)
    write_atomically(tmp_path / "a", b"x")

    (file, named), (folder, later) = synced
    assert (Path(file).parent, named) == (tmp_path, False)
    assert (Path(folder), later) == (tmp_path, True)


def test_what_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    before = (tmp_path / "a.json").read_bytes()

    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    with pytest.raises(KeyboardInterrupt):
        _stop_halfway(tmp_path / "a.json")

    assert (tmp_path / "a.json").read_bytes() == before
    assert _names(tmp_path) == ["a.json"]


KILLED = """
import os, sys
from pathlib import Path
from draftmark.store.files import replace_file
with replace_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_writer_left_is_deleted_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    folder, precious = tmp_path / "run", _precious(tmp_path)
    folder.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(folder / "a.json")], cwd=ROOT)
    [left] = _names(folder)
    assert left.endswith(".tmp")
    (folder / f".{'1' * 32}.tmp").symlink_to(precious)
    os.mkfifo(folder / f".{'2' * 32}.tmp")
    (folder / ".mine.tmp").write_text("mine")

    with replace_file(folder / "b.json") as file:  # which is being written meanwhile
        file.write(b"b")
        write_atomically(folder / "a.json", b"a")

    kept = [f".{'1' * 32}.tmp", f".{'2' * 32}.tmp", ".mine.tmp"]
    assert sorted(_names(folder)) == [*kept, "a.json", "b.json"]
    assert precious.read_text() == "mine"
    assert [(folder / f"{name}.json").read_text() for name in "ab"] == ["a", "b"]


def test_a_file_that_is_deleted_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, deleted = fcntl.flock, []

    def late(number: int, how: int) -> None:
        lock(number, how)
        if not deleted:
            deleted.append(Path(f"/proc/self/fd/{number}").readlink())
            deleted[0].unlink()

    monkeypatch.setattr(fcntl, "flock", late)
    write_atomically(tmp_path / "a", b"x")

    assert _names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"x"


def test_files_have_the_mode_that_the_user_set(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
    finally:
        os.umask(before)

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_name_as_long_as_the_system_takes_is_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), b"x")

    assert _names(tmp_path) == ["n" * 255]


def test_a_copy_replaces_a_link_and_links_are_removed_not_followed(tmp_path: Path) -> None:
    precious, run = _precious(tmp_path), tmp_path / "run"
    (run / "deep").mkdir(parents=True)
    for link in (run / "a", run / "deep" / "b", run / "folder"):
        link.symlink_to(tmp_path if link.name == "folder" else precious)
    source = tmp_path / "source"
    source.write_text("new")

    copy_file(source, run / "a")
    remove_odd_files(run)

    assert precious.read_text() == "mine"
    assert sorted(path.name for path in run.rglob("*")) == ["a", "deep"]
    (tmp_path / "link").symlink_to(run)
    remove_odd_files(tmp_path / "link")
    assert (run / "a").read_text() == "new"


def test_what_would_be_waited_for_is_removed_from_a_folder_that_is_written_in(
    tmp_path: Path,
) -> None:
    (tmp_path / "kept").write_text("mine")
    (tmp_path / "closed").touch(0o000)
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(2**40)

    remove_odd_files(tmp_path)

    assert sorted(_names(tmp_path)) == ["closed", "kept"]


def test_a_folder_has_one_holder_and_waiting_for_it_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LOCK_WAIT_S", 0.0)

    refused = pytest.raises(UserError, match="Another process writes")
    with locked_folder(tmp_path), refused, locked_folder(tmp_path):
        pass
    with locked_folder(tmp_path):
        pass

    assert _names(tmp_path) == []


def test_a_folder_that_cannot_be_locked_is_not_written_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    refused = pytest.raises(UserError, match=r"cannot be locked \(No locks available\)")
    with refused, locked_folder(tmp_path):
        raise AssertionError("the block ran")


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_by_the_file_that_did_not_fit(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second disk to be full")
    full = OSError(errno.ENOSPC, "No space left on device", str(elsewhere / "x"))

    there, here = explain_full_disk(full, tmp_path), explain_full_disk(FULL, elsewhere)

    assert str(there).startswith("The disk of /dev/shm is full (")
    assert "store gc" not in str(there)  # which frees another disk
    assert here is not None


def test_without_a_file_the_fullest_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    for name in ("here", "temporary", "store"):
        (tmp_path / name).mkdir()
    free = {"here": 10**9, "temporary": 10**6, "store": 10**9}
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(files, "gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(free[path.name]))

    assert f"disk of {tmp_path / 'temporary'} is full" in str(
        explain_full_disk(FULL, tmp_path / "store")
    )
    free["store"] = 0
    sentence = str(explain_full_disk(FULL, tmp_path / "store"))
    assert f"disk of {tmp_path / 'store'} is full (0.00 GB free)" in sentence
    assert "draftmark store gc" in sentence


def test_an_error_of_writing_names_the_file_that_was_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No such file") as missing:
        write_atomically(tmp_path / "missing" / "a", b"")
    assert missing.value.filename == str(tmp_path / "missing" / "a")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as raised:
        write_atomically(tmp_path / "a", b"")
    assert raised.value.filename == str(tmp_path / "a")
    assert _names(tmp_path) == []


def test_what_the_system_refuses_is_one_sentence_and_a_missing_file_may_be_a_bug() -> None:
    refused = PermissionError(errno.EROFS, "Read-only file system", "/somewhere/a.md")

    assert str(explain_refused_file(refused)).startswith(
        "/somewhere/a.md cannot be used: Read-only file system; "
    )
    assert explain_refused_file(FileNotFoundError(errno.ENOENT, "no", "a")) is None
    assert explain_refused_file(ValueError("no")) is None
    assert explain_refused_file(PermissionError(errno.EACCES, "no")) is None
