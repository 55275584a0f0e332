"""A whole run whose target, draft and rows come from a local hub, and the same run again."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from local_hub import Fault, LocalHub, add_gsm8k, run_draftmark, serve_hub

from draftmark.models.files import own_models
from draftmark.models.heads.feature_head import HeadShape, make_head
from draftmark.models.heads.head_exports import export_head
from draftmark.models.language_model import load_model

RECIPE = """
title = "From the hub"
tasks = ["gsm8k"]
threads = 1
speed = false

[data]
sources = ["directory", "hub"]
train_rows = 8
validation_rows = 4
test_rows = 6

[[pairs]]
name = "tiny"
target = "org/target@main"
draft = {{ model = "org/draft@{draft}" }}

[training]
passes = 1
rows_per_batch = 4

[[methods]]
name = "untrained"

[[methods]]
name = "kd"

[[methods]]
name = "untrained"
label = "head"
draft = {{ head = "org/head@main" }}

[evaluation]
temperatures = [0.0]
max_new_tokens = 8
"""


def _add_models(hub: LocalHub) -> dict[str, str]:
    """Add a target and a draft, which has another config; return the commit of each."""
    folder = own_models()["tiny-target"]
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    draft = {**files, "config.json": files["config.json"] + b"\n"}
    return {
        "target": hub.add("models/org/target", files | {"pytorch_model.bin": bytes(9)}),
        "draft": hub.add("models/org/draft", draft),
    }


def _add_head(hub: LocalHub, folder: Path) -> str:
    """Add a head of the target, without a tokenizer and with a pickle; return its commit."""
    target = load_model(own_models()["tiny-target"])
    head = make_head(target, HeadShape("eagle3", (2, 4, 5), target.vocab_size), seed=0)
    export_head(head, "eagle3", folder, target="org/target", num_speculative_tokens=3)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return hub.add("models/org/head", files | {"pytorch_model.bin": bytes(9)})


def _results(folder: Path) -> Mapping[str, Any]:
    (path,) = folder.glob("results/*/results.json")
    results: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
    return results


@pytest.mark.slow
def test_target_draft_and_rows_come_from_the_hub_once(tmp_path: Path) -> None:
    with serve_hub() as hub:
        add_gsm8k(hub)
        commits = _add_models(hub)
        head = _add_head(hub, tmp_path / "head")
        (tmp_path / "own.toml").write_text(RECIPE.format(**commits), encoding="utf-8")

        first = run_draftmark(hub, tmp_path, "run", "own.toml")
        assert first.returncode == 0, first.stderr
        asked = hub.take_requests()
        hub.faults.append(Fault(".", status=503))
        again = run_draftmark(hub, tmp_path, "run", "own.toml")
        offered = {
            role: hub.repositories[f"models/org/{role}"].commits[commit]
            for role, commit in commits.items()
        }
        held = next(iter(hub.repositories["datasets/openai/gsm8k"].commits.values()))

    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    assert hub.requests == []
    assert not [ask for ask in asked if "pytorch_model.bin" in ask.path or "README" in ask.path]
    assert max(ask.status for ask in asked) < 400
    passed = "directory: DRAFTMARK_DATA is not set"
    assert f"gsm8k: passed over {passed}\n" in first.stderr
    assert f"data: gsm8k, passed over {passed}" in first.stdout.replace("\\", "")
    (facts,) = _results(tmp_path)["data"]
    assert facts["passed_over"] == [passed]
    drafts = facts["drafts"]["head"]
    assert (drafts["draft"], drafts["model"]["commit"]) == ("head org/head@main", head)
    assert {*drafts["model"]["files"]} == {"config.json", "model.safetensors"}
    assert f"draft init of head: head org/head@main (hub org/head@{head})" in first.stdout
    assert set(facts["source"].values()) == {"hub openai/gsm8k@cc7b047"}
    for split, of in {"train": "train", "validation": "train", "test": "test"}.items():
        hashes = {path: held[path].sha256 for path in held if f"/{of}-" in path}
        assert facts["hub"][split] == {"endpoint": hub.address, "files": hashes}
    references = {"target": "org/target@main", "draft": f"org/draft@{commits['draft']}"}
    for role, reference in references.items():
        model = facts["models"][role]
        files = model.pop("files")
        assert model == {
            "reference": reference,
            "name": f"org/{role}@{commits[role]}",
            "source": "hub",
            "commit": commits[role],
            "endpoint": hub.address,
        }
        assert files.keys() == offered[role].keys() - {"pytorch_model.bin", "README.md"}
        for path, sha256 in files.items():
            assert sha256 == hashlib.sha256(offered[role][path].data).hexdigest()
    printed = first.stdout.replace("\\", "")
    assert f"target org/target@main (hub org/target@{commits['target']}, files " in printed
    assert f"org/target@main is hub org/target@{commits['target']}.\n" in first.stderr


@pytest.mark.slow
def test_a_score_of_names_on_the_hub_finds_what_they_are(tmp_path: Path) -> None:
    """Names without a revision are those of branches; the recipe has their commits."""
    (tmp_path / "prompts.txt").write_text("Name a color.\nWhat is 2 + 3?\n", "utf-8")
    words = ["score", "org/target", "org/draft", "org/head", "lookup", "--prompts", "prompts.txt"]
    words += ["--max-new-tokens", "4", "--temperature", "0"]
    with serve_hub() as hub:
        commits = _add_models(hub)
        head = _add_head(hub, tmp_path / "head")
        done = run_draftmark(hub, tmp_path, *words)
        asked = hub.take_requests()

    assert done.returncode == 0, done.stderr
    assert not [ask for ask in asked if "pytorch_model.bin" in ask.path or "README" in ask.path]
    (path,) = tmp_path.glob("results/score-*/score.toml")
    recipe = tomllib.loads(path.read_text("utf-8"))
    assert recipe["pairs"][0]["target"] == f"org/target@{commits['target']}"
    assert {
        entry.get("label", entry["name"]): entry.get("draft") for entry in recipe["methods"]
    } == {
        "draft": {"model": f"org/draft@{commits['draft']}"},
        "head": {"head": f"org/head@{head}"},
        "prompt_lookup": None,
    }
