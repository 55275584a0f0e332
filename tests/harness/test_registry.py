"""A folder is a registry; packages outside the project join through entry points."""

import importlib
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from places import PACKAGE

import draftmark.tasks
from draftmark import registry
from draftmark.errors import UserError
from draftmark.registry import Group
from draftmark.types import TrainingRun

FOLDERS: dict[Group, Path] = {
    "tasks": PACKAGE / "tasks",
    "baselines": PACKAGE / "baselines",
    "engines": PACKAGE / "engines",
    "reports": PACKAGE / "reports",
}
PLUGIN = '"""A task from outside."""\n\nTASK = "the task"\n'


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Forget what earlier tests found, and what these do."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    registry._modules.cache_clear()
    registry._plugins.cache_clear()
    registry._entry_points.cache_clear()


def _install(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str, value: str) -> None:
    """Write a module called outside_task and announce `value` as the task "outside"."""
    (folder / "outside_task.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "outside_task", raising=False)
    point = EntryPoint(name="outside", value=value, group="draftmark.tasks")
    monkeypatch.setattr(registry, "entry_points", lambda: EntryPoints([point]))


@pytest.mark.parametrize("group", FOLDERS)
def test_every_file_of_a_folder_is_listed(group: Group) -> None:
    files = {path.stem for path in FOLDERS[group].glob("*.py") if not path.stem.startswith("_")}

    assert files
    assert set(registry.registered_names(group)) == files


@pytest.mark.parametrize("group", ["tasks", "baselines", "reports"])
def test_everything_listed_is_found_and_has_a_docstring(group: Group) -> None:
    """Engines are left out: their modules load torch, or need an extra."""
    for name in registry.registered_names(group):
        assert callable(registry.find_registered(group, name)) or group == "tasks"
        assert importlib.import_module(registry.module_name(group, name)).__doc__


def test_a_new_file_is_all_that_an_addition_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    (tmp_path / "spelling.py").write_text('"""Spell."""\n\nTASK = 7\n', encoding="utf-8")
    (tmp_path / "_shared.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(draftmark.tasks, "__path__", [*draftmark.tasks.__path__, str(tmp_path)])

    assert "spelling" in registry.registered_names("tasks")
    assert "_shared" not in registry.registered_names("tasks")
    assert registry.find_registered("tasks", "spelling") == 7


def test_the_list_says_what_each_method_trains() -> None:
    """The comments that `draftmark list` prints are those of the methods' own attributes."""
    kinds = {"language_model": "model", "feature_head": "head"}
    run = TrainingRun(1, 8)
    for name, described in registry.described_names("baselines").items():
        method = registry.find_registered("baselines", name)()
        trains = len(method.training_runs(run)) if method.trains else 0
        noun = kinds.get(method.kind, "")
        counted = ["nothing", f"a {noun}", f"two {noun}s"][trains]
        assert described.note == counted, name


def test_every_recipe_names_its_time_and_what_it_takes() -> None:
    for name, described in registry.described_recipes().items():
        assert re.search(r"\bcores?$|\bH100$|\bGB$", described.note), name


def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UserError) as caught:
        registry.find_registered("reports", "leaderbord")

    assert str(caught.value) == (
        "Unknown report 'leaderbord'. Did you mean 'leaderboard'? Known: "
        f"{', '.join(registry.registered_names('reports'))}."
    )


def test_folders_and_helpers_are_not_entries() -> None:
    assert "samples" not in registry.registered_names("tasks")
    assert "recipes" not in registry.registered_names("baselines")
    assert "_markdown" not in registry.registered_names("reports")


def test_a_plug_in_is_listed_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, tmp_path, PLUGIN, "outside_task:TASK")

    assert "outside" in registry.registered_names("tasks")
    assert registry.find_registered("tasks", "outside") == "the task"
    assert registry.module_name("tasks", "outside") == "outside_task"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("import a_package_that_is_not_there\n", "outside_task:TASK"),
        (PLUGIN, "outside_task:NOTHING"),
    ],
)
def test_a_broken_plug_in_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, value: str
) -> None:
    _install(monkeypatch, tmp_path, source, value)

    with pytest.raises(UserError, match=f"plug-in 'outside' \\({value}\\) does not load"):
        registry.find_registered("tasks", "outside")


def test_a_plug_in_never_shadows_the_projects_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from draftmark.tasks.gsm8k import TASK

    _install(monkeypatch, tmp_path, PLUGIN, "outside_task:TASK")
    own = registry._plugins("tasks").pop("outside")
    registry._plugins("tasks")["gsm8k"] = own

    assert registry.find_registered("tasks", "gsm8k") is TASK
    assert registry.registered_names("tasks").count("gsm8k") == 1
