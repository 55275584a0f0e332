"""Two runs compared: known differences, what is not shared, and what is lacking."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_runs import HOSTILE, MANIFEST, run_of

from draftmark.errors import UserError
from draftmark.reports.compare import REPORT
from draftmark.results import Results

EASY = tuple(np.linspace(0.5, 0.9, 24))
WORSE = tuple(np.array(EASY) - 0.1)


def compared(tmp_path: Path, a: Results, b: Results) -> tuple[str, dict[str, Any]]:
    report = replace(REPORT, before=a, folder=tmp_path / "a")
    found = report(b, tmp_path / "b")
    return found["compare.md"], json.loads(found["compare.json"])


def test_a_known_difference_is_found_and_none_where_there_is_none(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", {"kd": [EASY], "csd": [EASY]})
    b = run_of(tmp_path / "b", {"kd": [WORSE], "csd": [EASY]})

    text, document = compared(tmp_path, a, b)

    found = {(c["name"], c["quantity"]): c for c in document["comparisons"]}
    kd = found["gsm8k/p/kd/t=0", "acceptance_rate"]
    assert kd["difference"]["value"] == pytest.approx(-0.1, abs=0.01)
    assert kd["difference"]["n"] == 24
    assert kd["verdict"] == "B is lower"
    assert found["gsm8k/p/kd/t=0", "block_efficiency"]["verdict"] == "B is lower"
    assert found["gsm8k/p/csd/t=0", "acceptance_rate"]["verdict"] == "no difference found"
    assert "Nothing of what both runs recorded: recipe, rows, target, weights of drafts" in text
    assert "- One seed: the intervals do not cover" in text


def test_chance_is_no_difference(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    moved = [alpha + generator.uniform(-0.05, 0.05) for alpha in EASY]
    a, b = (run_of(tmp_path / n, {"kd": [x]}) for n, x in (("a", EASY), ("b", moved)))

    _, document = compared(tmp_path, a, b)

    assert {c["verdict"] for c in document["comparisons"]} == {"no difference found"}


def test_what_is_not_shared_comes_first_and_what_matters_most_before_the_rest(
    tmp_path: Path,
) -> None:
    a, b = (run_of(tmp_path / n, {"kd": [EASY]}) for n in "ab")
    recipe = {**b.recipe, "training": {"learning_rate": 1.0}, "data": {"sources": ["hub"]}}
    b = replace(b, recipe=recipe, manifest={**MANIFEST, "versions": {"torch": "9"}})

    text, document = compared(tmp_path, a, b)

    names = [item["name"] for item in document["differing"]]
    assert names == [
        "recipe.data.test_rows",
        "recipe.data.sources",
        "recipe.training.learning_rate",
        "versions.torch",
    ]
    shown = "learning rate: 0.003 -\\&gt; 1.0 (recipe.training.learning_rate)"
    assert text.index(shown.replace("\\", "")) < text.index("## Paired differences")


def entry(digest: str) -> dict[str, Any]:
    """Return the store's entry of a draft whose weights have a digest."""
    facts = {"draft.json": {"sha256": digest}, "model.safetensors": {"sha256": digest}}
    return {"stage": "draft", "files": facts, "manifest": MANIFEST, "settings": {}, "inputs": {}}


def test_other_weights_code_and_plug_ins_are_differences(tmp_path: Path) -> None:
    a, b = (run_of(tmp_path / n, {"kd": [EASY]}) for n in "ab")

    def made(run: Results, weights: str, code: str, plugins: dict[str, Any]) -> Results:
        (row,) = run.results
        row = replace(row, provenance={"entries": [entry(weights)]})
        manifest = {**run.manifest, "code": {"kd": code}, "plugins": plugins}
        return replace(run, results=(row,), manifest=manifest)

    mine = {"drafts-of-mine": {"version": "1.0", "commit": "aaaa", "dirty": False}}
    theirs = {"drafts-of-mine": {"version": "1.0", "commit": "bbbb", "dirty": False}}
    _, document = compared(tmp_path, made(a, "11", "c1", mine), made(b, "22", "c2", theirs))
    names = [item["name"] for item in document["differing"]]
    assert names == ["weights.gsm8k/p/kd/seed 0", "code.kd", "plugins.drafts-of-mine.commit"]
    same, _ = compared(tmp_path, made(a, "11", "c1", mine), made(b, "11", "c1", mine))
    assert "Nothing of what both runs recorded" in same
    # A run that recorded none of this is not known to differ.
    old, _ = compared(tmp_path, a, made(b, "22", "c2", theirs))
    assert "Nothing of what both runs recorded" in old


def test_what_only_one_has_and_what_failed_is_said(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", {"kd": [EASY], "csd": [EASY]})
    b = run_of(tmp_path / "b", {"kd": [EASY], "lk": [EASY]})
    kd, lk = b.results

    text, _ = compared(tmp_path, a, replace(b, results=(kd, replace(lk, failure="it | broke"))))

    assert "- Only A has numbers for: gsm8k/p/csd/t=0." in text
    assert r"- B failed: gsm8k/p/lk, seed 0: it \| broke" in text


@pytest.mark.parametrize("prompts", [0, 1])
def test_runs_without_a_pair_say_so(tmp_path: Path, prompts: int) -> None:
    a = run_of(tmp_path / "a", {"kd": [EASY]})
    b = run_of(tmp_path / "b", {"kd": [EASY[:1]]} if prompts else {})

    text, document = compared(tmp_path, a, b)

    assert "nothing can be paired" in text
    assert document["comparisons"] == []


def test_a_run_alone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="draftmark compare A B"):
        REPORT(run_of(tmp_path, {"kd": [EASY]}), tmp_path)


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", {HOSTILE: [EASY]})
    b = replace(run_of(tmp_path / "b", {HOSTILE: [WORSE]}), title=HOSTILE)

    text, _ = compared(tmp_path, a, b)

    assert len(text) < 40_000
    for bad in ("<script>", "\u202e", "\x1b", "\x00", "\n# d"):
        assert bad not in text


def test_the_answer_comes_first(tmp_path: Path) -> None:
    a, same = (run_of(tmp_path / n, {"kd": [EASY]}) for n in "ab")
    text, _ = compared(tmp_path, a, same)
    assert text.splitlines()[2] == "Both runs have the same rates on every prompt."

    better = run_of(tmp_path / "b", {"kd": [tuple(np.array(EASY) + 0.05)]})
    text, document = compared(tmp_path, a, better)
    assert text.splitlines()[2] == "B is higher: gsm8k/p/kd/t=0."
    for item in document["comparisons"]:
        assert (item["difference"]["low"] > 0) == (item["verdict"] == "B is higher")
