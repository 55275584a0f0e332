"""Which commits a manifest tells of: draftmark's own, and the project's that it is used in."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from draftmark import environment


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with one commit, and work in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
    git("init", "-q")
    (tmp_path / "mine.toml").write_text('title = "mine"\n', encoding="utf-8")
    git("add", ".")
    git("commit", "-qm", "first")
    return tmp_path


def git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_project_is_told_by_its_commit_and_whether_its_files_have_changed(project: Path) -> None:
    (project / "results").mkdir()
    (project / "results" / "new").write_text("not of the project", encoding="utf-8")

    found = environment.project_state()

    assert found
    assert found["commit"] == git("rev-parse", "HEAD")
    assert found["date"] == git("show", "-s", "--format=%cI", "HEAD")
    assert not found["dirty"]
    (project / "mine.toml").write_text('title = "other"\n', encoding="utf-8")
    changed = environment.project_state()
    assert changed
    assert changed["dirty"]


def test_draftmark_itself_is_no_project_of_its_own_nor_is_what_is_no_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(environment.__file__).parent)
    assert environment.project_state() is None
    monkeypatch.chdir(tmp_path)
    assert environment.project_state() is None


def test_installed_into_a_projects_folder_draftmark_is_not_of_its_commit(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_SOURCE", project / ".venv" / "site-packages")
    (project / ".venv" / "site-packages").mkdir(parents=True)

    assert environment.git_state() is None
    assert environment.project_state()


def test_a_checkout_installs_extras_by_make_and_an_installed_package_by_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_SOURCE", tmp_path)
    assert environment.install_hint("vllm") == "pip install 'draftmark[vllm]'"
    (tmp_path / "Makefile").touch()
    assert environment.install_hint("vllm") == "make vllm"
    assert environment.install_hint("energy") == "pip install 'draftmark[energy]'"


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, {"version": "1.2"}),
        ({"url": "https://x.org/y.whl", "archive_info": {}}, {"version": "1.2"}),
        (
            {"url": "https://x.org/y", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            {"version": "1.2", "commit": "abc"},
        ),
    ],
)
def test_a_package_is_known_by_its_version_and_commit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    origin: dict[str, Any] | None,
    expected: dict[str, Any],
) -> None:
    install(tmp_path, monkeypatch, origin)
    assert environment.package_state("drafts-of-mine") == expected


def test_an_editable_package_is_known_by_the_commit_of_its_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(project, monkeypatch, {"url": project.as_uri(), "dir_info": {"editable": True}})
    git("add", ".")
    git("commit", "-qm", "second")

    found = environment.package_state("drafts-of-mine")

    assert found == {"version": "1.2", "commit": git("rev-parse", "HEAD"), "dirty": False}
    (project / "mine.toml").write_text("changed", encoding="utf-8")
    assert environment.package_state("drafts-of-mine")["dirty"]
    assert str(project) not in str(found)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, origin: dict[str, Any] | None) -> None:
    """Write what pip writes for an installed package, and put it on the path."""
    facts = folder / "drafts_of_mine-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: drafts-of-mine\nVersion: 1.2\n")
    if origin:
        (facts / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(folder)


def test_a_repository_from_elsewhere_names_files_and_runs_nothing(project: Path) -> None:
    ran, program = project / "ran", project / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    (project / "b\udcff").touch()  # no text in UTF-8
    git("add", "--", ".")
    git("commit", "-qm", "second")
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
    signed = git("cat-file", "commit", "HEAD").replace("\n\n", f"\n{signature}\n\n", 1)
    made = ("git", "hash-object", "-t", "commit", "-w", "--stdin")
    done = subprocess.run(made, input=f"{signed}\n", capture_output=True, text=True, check=True)
    git("reset", "-q", "--soft", done.stdout.strip())
    for name, value in (("log.showSignature", "true"), ("gpg.program", str(program))):
        git("config", name, value)
    subprocess.run(("git", "log"), capture_output=True, check=False)
    assert ran.exists()  # so it would have been seen
    ran.unlink()
    git("config", "core.fsmonitor", str(program))

    assert environment.added_files(project) == ["mine.toml", "b\ufffd", "program"]
    assert environment.project_state()
    assert not ran.exists()


def test_a_repository_from_elsewhere_that_lacks_an_object_fetches_none(project: Path) -> None:
    ran = project / ".git" / "ran"
    tree = git("rev-parse", "HEAD^{tree}")
    (project / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    for name, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", f"ext::touch {ran}"),
        ("protocol.ext.allow", "always"),
    ):
        git("config", name, value)
    subprocess.run(("git", "status"), capture_output=True, check=False)
    assert ran.exists()  # so it would have been seen
    ran.unlink()

    environment.added_files(project)
    environment.project_state()
    assert not ran.exists()
