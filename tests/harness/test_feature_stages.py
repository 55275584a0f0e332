"""Recipes with feature heads: what is read and stored for them, said beforehand, and exported."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.config import Recipe
from harness.errors import UserError
from harness.experiment import Plan, plan
from harness.graph import Node
from harness.planning import table
from harness.progress import Progress
from harness.published import Results
from harness.recipes import load_recipe
from harness.records import TEXTS, read_texts
from harness.results import save_results
from harness.runner import run
from harness.states import num_positions
from harness.store import Store

Planned = Callable[..., Plan]
PAIR = {"name": "tiny", "target": "tiny-target", "dtype": "float32", "draft": {"pruned": [0, 7]}}


@pytest.fixture
def planned() -> Planned:
    """Return what plans methods on few rows."""

    def made(*methods: Mapping[str, Any], **changes: Any) -> Plan:
        document = load_recipe("quickstart").model_dump(mode="json")
        document["data"] |= {"train_rows": 4, "validation_rows": 2, "test_rows": 2}
        document["data"] |= changes.pop("data", {})
        document["training"] |= {"passes": 1, "rows_per_batch": 4, "validations": 1}
        document |= {"tasks": ["gsm8k"], "pairs": [PAIR], "methods": methods, "speed": False}
        document["evaluation"] = {"temperatures": [1.0], "max_new_tokens": 8}
        return plan(Recipe(**(document | changes)), Progress(quiet=True))

    return made


def _node(prepared: Plan, method: str) -> Node:
    return next(nodes.draft for cell, nodes in prepared.cells.items() if cell.method == method)


def test_a_head_reads_states_of_its_texts_and_no_draft_init(planned: Planned) -> None:
    prepared = planned({"name": "eagle"}, {"name": "eagle3"}, {"name": "kd"})
    eagle, eagle3, kd = (_node(prepared, name) for name in ("eagle", "eagle3", "kd"))
    names = {"dataset texts", "validation"}
    assert set(kd.inputs) == {"target", *names}
    for node, layers in ((eagle, [8]), (eagle3, [2, 4, 5])):
        assert set(node.inputs) == {"target", *names, *(f"states of {name}" for name in names)}
        assert node.inputs["dataset texts"].key == kd.inputs["dataset texts"].key
        states = node.inputs["states of dataset texts"]
        assert states.settings["layers"] == layers
        assert states.inputs["texts"].key == kd.inputs["dataset texts"].inputs["texts"].key
        assert "init" not in node.settings
    other = planned({"name": "eagle"}, pairs=[{**PAIR, "draft": {"pruned": [0, 3]}}])
    assert _node(other, "eagle").key == eagle.key


def test_bytes_are_told_beforehand_and_the_limit_decides_no_bytes(
    planned: Planned, tmp_path: Path
) -> None:
    methods = {"name": "eagle3"}, {"name": "eagle"}
    lines = table(planned(*methods), Store(tmp_path))
    told = re.findall(
        r"layers ([\d, ]+) at every .*: (\d+) bytes a token, at most ([\d.e-]+) GB", lines
    )
    assert ("2, 4, 5", "768") in {(layers, size) for layers, size, _ in told}
    assert ("8", "256") in {(layers, size) for layers, size, _ in told}
    assert all(float(most) > 0 for *_, most in told)
    fewer = planned(*methods, data={"max_features_gb": 1e-9})
    assert {node.key for node in fewer.nodes} == {node.key for node in planned(*methods).nodes}


@pytest.mark.parametrize(
    "training", [{"text": "draft"}, {"text": "mixture", "mixture": {"dataset": 0.5, "draft": 0.5}}]
)
def test_text_that_a_head_would_have_to_write_is_refused(
    planned: Planned, training: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match="feature head writes no text without its target"):
        planned({"name": "eagle", "training": training})


def _run(prepared: Plan, store: Store) -> Results:
    return run(prepared, "r", store, Progress(quiet=True))


def test_states_beyond_the_limit_fail_their_cells_and_leave_nothing(
    planned: Planned, tmp_path: Path
) -> None:
    prepared = planned({"name": "eagle"}, data={"max_features_gb": 1e-6})
    (row,) = _run(prepared, store := Store(tmp_path)).results
    assert row.failure is not None
    assert "data.max_features_gb is 1e-06" in row.failure
    assert not store.has(_node(prepared, "eagle").inputs["states of dataset texts"])


def test_a_run_trains_scores_and_exports_heads(planned: Planned, tmp_path: Path) -> None:
    prepared = planned(
        {"name": "eagle3", "draft_vocabulary": 200, "depth": 2}, {"name": "eagle", "tree": "eagle"}
    )
    results = _run(prepared, store := Store(tmp_path / "store"))
    assert [row.failure for row in results.results] == [None, None]
    for row in results.results:
        assert 1 <= row.numbers["block_efficiency[t=1,gamma=4]"].value <= 5
    node = _node(prepared, "eagle3")
    read = {
        name: read_texts(store.load(made).directory / TEXTS)
        for name, made in node.inputs.items()
        if name != "target"
    }
    for row in results.results:
        assert row.ledger is not None
        # Gold answers as teacher, validation text written and read, and both for their states.
        tokens = {name: sum(map(num_positions, texts)) for name, texts in read.items()}
        expected = 2 * tokens["dataset texts"] + 3 * tokens["validation"]
        assert row.ledger.target_forward_tokens == expected

    save_results(results, tmp_path / "r")
    arguments = ["export", str(tmp_path / "r"), "--out", str(tmp_path / "heads")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    found = {
        str(path.parent.relative_to(tmp_path / "heads"))
        for path in tmp_path.glob("heads/*/*/config.json")
    }
    cell = "gsm8k-tiny"
    assert found == {
        f"{cell}-eagle3-0/eagle3",
        f"{cell}-eagle3-0/speculators",
        f"{cell}-eagle-0/eagle",
    }
    config = json.loads(
        (tmp_path / "heads" / f"{cell}-eagle3-0/speculators/config.json").read_text()
    )
    assert config["draft_vocab_size"] == 200
    assert config["speculators_config"]["verifier"]["name_or_path"] == "tiny-target"


def test_a_run_without_heads_exports_nothing(planned: Planned, tmp_path: Path) -> None:
    from harness.exporting import export_all

    with pytest.raises(UserError, match="No feature head of this run"):
        list(export_all(planned({"name": "untrained"}), Store(tmp_path), tmp_path))
