"""A folder that is published: one or the other, never two mixed, and nothing left beside it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from draftmark.errors import UserError
from draftmark.store import published_folder
from draftmark.store.published_folder import MARK, publish_folder


def _files(*names: str) -> list[tuple[str, str | bytes]]:
    return [(name, f"of {', '.join(names)}") for name in names]


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish_folder(out, _files("index.html", "runs/1.html", "runs/2.html"))

    written = publish_folder(out, _files("index.html", "runs/1.html"))

    assert written == [out / "index.html", out / "runs" / "1.html"]
    assert _names(out) == {"index.html", "runs/1.html", MARK}
    assert (out / "runs" / "1.html").read_text() == "of index.html, runs/1.html"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_what_someone_else_put_there_stays(tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish_folder(out, _files("index.html", "runs/1.html"))
    (out / "CNAME").write_text("example.org")
    (out / ".git").mkdir()
    (out / ".git" / "HEAD").write_text("ref")

    publish_folder(out, _files("index.html"))

    assert _names(out) == {"index.html", MARK, "CNAME", ".git/HEAD"}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_folder_with_files_of_another_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("precious")

    with pytest.raises(UserError, match="name a new folder, or delete this one"):
        publish_folder(tmp_path / "data", _files("index.html"))

    assert _names(tmp_path) == {"data/mine"}


def test_an_error_leaves_the_old_folder_and_no_other(tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish_folder(out, _files("index.html"))

    def broken() -> Iterator[tuple[str, str]]:
        yield "index.html", "new"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish_folder(out, broken())

    assert (out / "index.html").read_text() == "of index.html"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize("exchange", [True, False])
def test_folders_are_swapped_with_and_without_the_systems_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(published_folder.ctypes, "CDLL", lambda *_, **__: None)
    out = tmp_path / "site"
    for names in (["a"], ["b"], ["c"]):
        publish_folder(out, _files(*names))
        (out / "kept").touch()

    assert _names(out) == {"c", MARK, "kept"}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


# Publishes a folder in forks that kill themselves before the first, second ... system call that
# changes something, until one ends; prints the number of forks.
KILLED = """
import os, signal, sys
from pathlib import Path
from draftmark.store import files, published_folder

def counted(call, last):
    def run(*arguments, **named):
        last[0] -= 1
        if last[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)
    return run

def publish(out, number):
    last = [number]
    for name in ("fsync", "open", "rename", "replace", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counted(getattr(os, name), last))
    published_folder._exchange = counted(published_folder._exchange, last)
    names = ["index.html", "runs/1.html"]
    published_folder.publish_folder(out, [(name, "new") for name in names])

number, code = 0, 1
while code:
    number += 1
    out = Path(sys.argv[1]) / str(number) / "site"
    old = [(name, "old") for name in ("index.html", "runs/1.html", "runs/2.html")]
    published_folder.publish_folder(out, old)
    (out / "CNAME").touch()
    child = os.fork()
    if not child:
        publish(out, number)
        os._exit(0)
    code = os.waitpid(child, 0)[1]
print(number)
"""
OLD, NEW = {"index.html", "runs/1.html", "runs/2.html", MARK}, {"index.html", "runs/1.html", MARK}


def test_killed_at_any_moment_one_site_is_there_and_the_next_leaves_no_other(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    assert int(done.stdout) > 20
    for number in range(1, int(done.stdout) + 1):
        out = tmp_path / f"{number}" / "site"
        assert len({(out / name).read_text() for name in ("index.html", "runs/1.html")}) == 1
        assert _names(out) - {"CNAME"} in (OLD, NEW), number
        publish_folder(out, _files("index.html"))
        assert _names(out) == {"index.html", MARK, "CNAME"}, number
        assert [path.name for path in out.parent.iterdir()] == ["site"]


def test_a_mark_from_elsewhere_removes_nothing_outside(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    planted = tmp_path / ".site.0123456789abcdef.published"
    planted.mkdir()
    (planted / MARK).write_text("..\n../precious\n\nlink\n.")
    (planted / "link").symlink_to(precious)
    (tmp_path / ".site.fedcba9876543210.published").symlink_to(tmp_path / "elsewhere")

    publish_folder(tmp_path / "site", _files("index.html"))

    assert precious.read_text() == "mine"
    assert not planted.exists()
    assert _names(tmp_path / "site") == {"index.html", MARK}


def test_a_mark_that_is_no_plain_file_is_refused_before_anything_is_replaced(
    tmp_path: Path,
) -> None:
    out = tmp_path / "site"
    publish_folder(out, _files("index.html"))
    with (out / MARK).open("wb") as file:
        file.truncate(2**40)

    with pytest.raises(UserError, match="is a sparse file"):
        publish_folder(out, _files("new.html"))

    assert _names(tmp_path) == {"site/index.html", f"site/{MARK}"}


def test_two_files_of_one_name_are_refused_and_the_old_folder_stays(tmp_path: Path) -> None:
    publish_folder(tmp_path / "site", _files("index.html"))

    with pytest.raises(UserError, match=r"Two files would be cells/1\.html"):
        publish_folder(tmp_path / "site", _files("cells/1.html", "cells/1.html"))

    assert _names(tmp_path / "site") == {"index.html", MARK}


def test_two_that_publish_at_once_do_not_mix(tmp_path: Path) -> None:
    from threading import Thread

    out = tmp_path / "site"
    threads = [
        Thread(target=publish_folder, args=(out, _files(*(f"{n}-{k}" for k in range(20)))))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    starts = {name.partition("-")[0] for name in _names(out) - {MARK}}
    assert len(starts) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
