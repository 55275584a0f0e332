"""Paths of a recipe file: `~`, and paths that start at the recipe's folder."""

from pathlib import Path
from typing import Any

import pytest

from draftmark.config.paths import with_paths
from draftmark.pipeline.recipe_files import load_recipe


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder; the working directory is another one."""
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def test_models_and_files_start_at_the_recipe_or_at_home(tmp_path: Path, home: Path) -> None:
    (tmp_path / "models").mkdir()
    document: dict[str, Any] = {
        "title": "paths",
        "pairs": [
            {"target": "~/target", "draft": {"model": "./models"}},
            {"target": "organisation/name@main", "draft": {"pruned": [0], "head": "copied"}},
            {"target": "./not-there", "draft": {"head": "../" + tmp_path.name + "/models"}},
        ],
        "methods": [{"name": "kd", "draft": {"model": "~/other"}}, "left to validation"],
        "rows": {
            "prompts": {"file": "data/rows.jsonl"},
            "gsm8k": {"file": {"test": "~/rows.jsonl", "train": 3}},
        },
    }
    found = with_paths(document, tmp_path)

    assert found["pairs"] == [
        {"target": str(home / "target"), "draft": {"model": str(tmp_path / "models")}},
        {"target": "organisation/name@main", "draft": {"pruned": [0], "head": "copied"}},
        {"target": "./not-there", "draft": {"head": str(tmp_path / "models")}},
    ]
    assert found["methods"] == [
        {"name": "kd", "draft": {"model": str(home / "other")}},
        "left to validation",
    ]
    assert found["rows"] == {
        "prompts": {"file": str(tmp_path / "data" / "rows.jsonl")},
        "gsm8k": {"file": {"test": str(home / "rows.jsonl"), "train": 3}},
    }


def test_a_recipe_names_its_rows_from_its_own_folder(tmp_path: Path, home: Path) -> None:
    lines = [
        'title = "mine"\ntasks = ["prompts"]\nrows.prompts.file = "rows.txt"',
        '[[pairs]]\nname = "a"\ntarget = "tiny-target"\ndraft = { pruned = [0] }',
        '[[methods]]\nname = "prompt_lookup"',
    ]
    (tmp_path / "mine.toml").write_text("\n".join(lines), "utf-8")

    found = load_recipe(str(Path("..") / "mine.toml")).rows["prompts"]
    assert found.paths == {"test": str(tmp_path / "rows.txt")}
