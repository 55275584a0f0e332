"""Recipes with feature heads: what is read and stored for them, said beforehand, and exported."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from draftmark.cli.main import app
from draftmark.config.recipe import Recipe
from draftmark.errors import UserError
from draftmark.models import shapes
from draftmark.models.heads.feature_head import HeadShape, make_head
from draftmark.models.language_model import LanguageModel
from draftmark.models.supervised_positions import num_positions
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.planning import estimates
from draftmark.pipeline.planning.estimates import find_gpu
from draftmark.pipeline.planning.plan_table import tabulate_plan
from draftmark.pipeline.planning.stage_costs import SettingCosts
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.speculation.interfaces import FeatureMethod
from draftmark.speculation.methods import build_method
from draftmark.store.graph import Node
from draftmark.store.records import TEXTS, read_texts
from draftmark.store.run_folder import save_results
from draftmark.store.store import Store
from draftmark.types import TrainingRun

H100 = find_gpu("h100")
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
        return plan_experiment(Recipe(**(document | changes)), Progress(quiet=True))

    return made


def _node(prepared: Plan, method: str) -> Node:
    return next(prepared.draft(cell) for cell in prepared.cells if cell.method == method)


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


def test_a_plan_says_the_bytes_of_a_token_and_of_all_and_the_limit_decides_no_bytes(
    planned: Planned, tmp_path: Path
) -> None:
    prepared = planned({"name": "eagle3"}, {"name": "eagle"})
    text, stages = tabulate_plan(prepared, Store(tmp_path), H100)
    assert "layers 2, 4, 5 at every position of gold answers, train: 768 bytes" in " ".join(
        text.split()
    )
    disk = {s.node.label: s.cost.disk_bytes for s in stages if "every position" in s.node.label}
    of_three, of_one = (
        next(
            size for label, size in disk.items() if label.startswith(f"target's layers {names} at")
        )
        for names in ("2, 4, 5", "8")
    )
    assert of_three == 3 * of_one > 0
    fewer = planned({"name": "eagle3"}, {"name": "eagle"}, data={"max_features_gb": 1e-9})
    assert {node.key for node in fewer.nodes} == {node.key for node in prepared.nodes}


@pytest.mark.parametrize(("architecture", "layers"), [("eagle", (8,)), ("eagle3", (2, 4, 5))])
def test_a_plan_knows_a_heads_size(
    architecture: Any, layers: tuple[int, ...], target: LanguageModel, tiny_directory: Path
) -> None:
    head = make_head(target, HeadShape(architecture, layers, target.vocab_size), seed=0)
    shape = shapes.head_shape(shapes.model_shape("tiny-target", tiny_directory), len(layers))
    # But for two norms at most, of 128 weights.
    assert shape.parameters == pytest.approx(head.model.num_parameters(), abs=256)
    assert shape.trained == pytest.approx(head.model.num_parameters(only_trainable=True), abs=256)


@pytest.mark.parametrize(
    "training", [{"text": "draft"}, {"text": "mixture", "mixture": {"dataset": 0.5, "draft": 0.5}}]
)
def test_text_that_a_head_would_have_to_write_is_refused(
    planned: Planned, training: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match="feature head writes no text without its target"):
        planned({"name": "eagle", "training": training})


def _run(prepared: Plan, store: Store) -> Results:
    return run_experiment(prepared, "r", store, Progress(quiet=True))


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
    _check_costs(prepared, results, store)
    save_results(results, tmp_path / "r")
    arguments = ["export", str(tmp_path / "r"), "--out", str(tmp_path / "heads")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert f"# drafts stands for {tmp_path / 'heads'}\n# gsm8k, tiny: eagle" in done.output
    assert "draftmark export" not in done.output
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


def _check_costs(prepared: Plan, results: Results, store: Store) -> None:
    """Compare what heads cost with what was read, and with what a plan expects."""
    (setting,) = prepared.settings.values()
    costs = SettingCosts.from_setting(setting, H100)
    for row in results.results:
        node = prepared.draft(row.cell)
        gold, validation = (
            sum(map(num_positions, read_texts(store.load(node.inputs[name]).directory / TEXTS)))
            for name in ("dataset texts", "validation")
        )
        assert row.ledger is not None
        # Gold answers as teacher, validation text written and read, and both for their states.
        assert row.ledger.target_forward_tokens == 2 * gold + 3 * validation
        method = build_method(setting.recipe.method(row.cell.method))
        assert isinstance(method, FeatureMethod)
        course = TrainingRun(1, 4, depth=2 if row.cell.method == "eagle3" else 1)
        shape = shapes.head_shape(costs.target, len(method.layers(8)))
        told = {"dtype": "float32", "target_head": costs.target.head}
        planned = estimates.training_cost(shape, costs.gold["train"], course, H100, **told)
        if row.cell.method == "eagle":  # eagle3's head is cut, which a plan does not count
            assert planned.flops == pytest.approx(row.ledger.flops, rel=0.05)
        states = node.inputs["states of dataset texts"]
        file = store.load(states).directory / "states.bin"
        assert costs.cost(states, row.cell).disk_bytes == pytest.approx(
            file.stat().st_size, rel=0.1
        )


def test_a_run_without_heads_exports_nothing(planned: Planned, tmp_path: Path) -> None:
    from draftmark.pipeline.export_heads import export_heads

    with pytest.raises(UserError, match="No feature head of this run"):
        list(
            export_heads(
                planned({"name": "untrained"}), Store(tmp_path), tmp_path, Progress(quiet=True)
            )
        )
