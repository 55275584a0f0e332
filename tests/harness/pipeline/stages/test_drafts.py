"""Stages that train: the nodes that each source of text needs, and a fine-tuned target."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from draftmark.config.model_sections import DraftInit
from draftmark.config.recipe import Recipe
from draftmark.config.sections import Responses
from draftmark.engines._vllm import starting
from draftmark.models.draft_inits import fit_head, make_draft
from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.models.language_model import load_model
from draftmark.pipeline.executor import execute_stages
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.provenance import data_facts, texts_behind
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.render import render_reports
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.store.graph import Node, _closure, topological_order
from draftmark.store.records import DRAFT, TEXTS, read_texts
from draftmark.store.run_folder import save_results
from draftmark.store.store import Store
from draftmark.training.ledger import tokens_read
from draftmark.training.trackers import JSON_LINES
from draftmark.types import Ledger

FINE_TUNE = {"passes": 0.5, "rows_per_batch": 4, "learning_rate": 1e-4, "validations": 1}
PAIR = {"name": "tiny", "target": "tiny-target", "draft": {"pruned": [0, 7]}}

Planned = Callable[..., Plan]


def _methods(**trainings: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "kd", "label": label, "training": told} for label, told in trainings.items()]


@pytest.fixture
def planned() -> Planned:
    """Return what plans the quickstart on few rows, changed."""

    def changed(pair: Mapping[str, Any] = PAIR, **changes: Any) -> Plan:
        document = load_recipe("quickstart").model_dump(mode="json")
        document["data"] |= {"train_rows": 8, "validation_rows": 4, "test_rows": 4}
        document["training"] |= {"passes": 1, "rows_per_batch": 4, "validations": 1}
        document |= {"tasks": ["gsm8k"], "pairs": [{**PAIR, **pair}], "speed": False}
        document |= changes
        return plan_experiment(Recipe(**document), Progress(quiet=True))

    return changed


def _drafts(prepared: Plan) -> dict[str, Node]:
    return {cell.method: prepared.draft(cell) for cell in prepared.cells}


@pytest.mark.parametrize(
    ("training", "writers"),
    [
        ({"text": "dataset"}, {"dataset"}),
        ({"text": "target"}, {"target"}),
        ({"text": "draft"}, {"draft"}),
        ({"text": "mixture", "mixture": {"dataset": 0.5, "draft": 0.5}}, {"dataset", "draft"}),
        ({"text": "mixture", "mixture": {"dataset": 1, "draft": 0}}, {"dataset"}),
    ],
)
def test_only_what_a_source_of_text_needs_is_made(
    planned: Planned, training: dict[str, Any], writers: set[str]
) -> None:
    (node,) = _drafts(planned(methods=_methods(kd=training))).values()

    assert set(node.inputs) == {"target", "validation", *(f"{name} texts" for name in writers)}
    behind = texts_behind([node])
    rows = {text["rows"] for text in behind if "train" in text["label"]}
    assert len(rows) == 1
    assert {text["writer"] for text in behind if text["rows"] in rows} == writers


@pytest.mark.parametrize(
    ("text", "fitted_on"), [("dataset", "dataset"), ("target", "target"), ("draft", "dataset")]
)
def test_a_fitted_head_needs_text_that_is_there_before_and_nothing_more(
    planned: Planned, text: str, fitted_on: str
) -> None:
    pair = {"draft": {"pruned": [0, 7], "head": "fitted"}}
    prepared = planned(pair, methods=[{"name": "untrained", "training": {"text": text}}])

    draft = _drafts(prepared)["untrained"]
    assert set(draft.inputs) == {"target", "init", f"{fitted_on} texts"}
    fit = draft.inputs["init"].inputs
    assert {name: node.key for name, node in fit.items()} == {
        "target": draft.inputs["target"].key,
        "texts": draft.inputs[f"{fitted_on} texts"].key,
    }


FITTED = {"draft": {"pruned": [0, 7], "head": "fitted"}}


def _fits(prepared: Plan) -> dict[str, Node]:
    return {node.key: node for node in prepared.nodes if node.stage == "init"}


def test_methods_and_seeds_that_start_alike_share_one_fit(planned: Planned) -> None:
    methods = [{"name": "untrained"}, {"name": "kd"}, {"name": "lk", "training": {"passes": 2}}]
    several = {"methods": methods, "seeds": [0, 1, 2]}

    assert len(_fits(planned(FITTED, **several))) == 1
    # Other seeds give another random body, and other texts another fit.
    at_random = {"draft": {"random": {"num_hidden_layers": 1}, "head": "fitted"}}
    assert len(_fits(planned(at_random, **several))) == 3
    methods.append({"name": "sft", "training": {"text": "target"}})
    assert len(_fits(planned(FITTED, **several))) == 2
    assert _fits(planned(methods=methods)) == {}


def test_a_fit_does_not_depend_on_how_drafts_are_trained(planned: Planned) -> None:
    (fit,) = _fits(planned(FITTED, methods=[{"name": "kd"}])).values()
    behind = set().union(*(_closure(module) for module in fit.code))

    assert "draftmark.models.draft_inits" in behind
    assert not [name for name in behind if name.startswith("draftmark.training")]


def test_a_draft_starts_from_the_stored_fit_to_the_bit_and_pays_for_its_text(
    planned: Planned, tmp_path: Path
) -> None:
    prepared, store = planned(FITTED, methods=[{"name": "untrained"}]), Store(tmp_path)
    draft = _drafts(prepared)["untrained"]

    assert execute_stages([draft], store, Progress(quiet=True)) == {}

    folders = {name: store.load(node).directory for name, node in draft.inputs.items()}
    target = load_model(folders["target"])
    states = StoredHiddenStates.load(folders["dataset texts"])
    fit = fit_head(make_draft(DraftInit(pruned=(0, 7)), target, seed=0), target, states)
    expected = {name: weight for name, weight in fit.model.state_dict().items()}
    for folder in (folders["init"], store.load(draft).directory):
        found = load_file(folder / "model.safetensors")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)
    facts = json.loads((store.load(draft).directory / DRAFT).read_text("utf-8"))
    body = sum(weight.numel() for name, weight in expected.items() if ".layers." in name)
    norm = target.hidden_size
    assert facts["trained_parameters"] == body + norm
    assert facts["ledger"]["target_forward_tokens"] == tokens_read(states.texts)


def test_vllm_writes_the_targets_texts_and_its_version_is_in_their_keys(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"methods": _methods(kd={"text": "target"})}
    own = planned(**how)
    assert "responses" not in own.recipe.model_dump()
    keys = []
    for version in ("0.32.0", "0.33.0"):
        monkeypatch.setattr(starting, "installed_version", lambda version=version: version)
        prepared = planned(**how, responses={"engine": "vllm", "batch_size": 16})
        models = [node for node in prepared.nodes if node.settings.get("source") == "model"]
        target = [node for node in models if node.inputs["model"].stage == "target"]
        assert {node.settings.get("engine") for node in target} == {"vllm"}
        assert {node.settings["version"] for node in target} == {version}
        alone = [node for node in models if node.inputs["model"].stage == "draft"]
        assert {node.settings.get("engine") for node in alone} == {None}
        keys.append({node.key for node in target})
    same = {node.key for node in own.nodes}
    assert len(keys[0]) == len(keys[1]) >= 3
    assert not keys[0] & (keys[1] | same)


def test_only_vllm_takes_settings_of_vllm() -> None:
    with pytest.raises(ValidationError, match="batch_size need engine = 'vllm'"):
        Responses(batch_size=8)


LIVE: dict[str, dict[str, Any]] = {
    "kd": {"name": "kd"},
    "eagle": {"name": "eagle3", "from_layer": 7, "depth": 2},
    "fitted": {"name": "kd", "draft": {"pruned": [0, 7], "head": "fitted"}},
}


@pytest.mark.parametrize("case", LIVE)
def test_live_states_give_the_draft_of_stored_ones(
    planned: Planned, tmp_path: Path, case: str
) -> None:
    def made(**training: Any) -> tuple[Any, Ledger, Node]:
        method = {**LIVE[case], "training": {"rows_per_batch": 8, "passes": 2, **training}}
        pair = {"dtype": "float32"}
        ((_, draft),) = _drafts(planned(pair, methods=[method])).items()
        store = Store(tmp_path)
        assert execute_stages([draft], store, Progress(quiet=True)) == {}
        folder = store.load(draft).directory
        facts = json.loads((folder / DRAFT).read_text("utf-8"))
        (weights,) = folder.glob("*.safetensors")
        return load_file(weights), Ledger(**facts["ledger"]), draft

    stored, before, node = made()
    live, after, other = made(features="live")
    # A step reads all rows, as the stage of stored states does: the same batch, the same bits. A
    # fit reads text by text.
    tolerance = 1e-3 if case == "fitted" else 0.0
    for name, weight in stored.items():
        torch.testing.assert_close(live[name], weight, atol=tolerance, rtol=tolerance)
    stages = {each.stage for name, each in other.inputs.items() if "validation" not in name}
    assert "features" not in stages
    assert node.settings == other.settings
    assert other.key != node.key
    assert after.flops == before.flops > 0
    once = tokens_read(
        read_texts(Store(tmp_path).load(other.inputs["dataset texts"]).directory / TEXTS)
    )
    stored_readings = {"kd": 1, "eagle": 2, "fitted": 1}[case]
    live_readings = 2 + (case == "fitted")  # the fit reads its text once
    more = (live_readings - stored_readings) * once
    assert after.target_forward_tokens - before.target_forward_tokens == more


def test_live_states_of_other_batches_give_the_same_draft_up_to_rounding(
    planned: Planned, tmp_path: Path
) -> None:
    weights = []
    for features in ("stored", "live"):
        training = {"rows_per_batch": 2, "learning_rate": 1e-4, "features": features}
        pair = {"dtype": "float32"}
        (draft,) = _drafts(planned(pair, methods=_methods(kd=training))).values()
        assert execute_stages([draft], Store(tmp_path), Progress(quiet=True)) == {}
        weights.append(load_file(Store(tmp_path).load(draft).directory / "model.safetensors"))
    stored, live = weights
    for name, weight in stored.items():
        torch.testing.assert_close(live[name], weight, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("passes", "limit", "features"),
    [(2.0, 20.0, "stored"), (2.0, 1e-6, "live"), (1.0, 20.0, "live"), (0.5, 20.0, "live")],
)
def test_auto_stores_states_that_fit_the_disk_and_are_read_again(
    planned: Planned, passes: float, limit: float, features: str
) -> None:
    rows = {"sources": ["samples"], "train_rows": 8, "validation_rows": 4, "test_rows": 4}
    keys = [
        _drafts(
            planned(
                methods=_methods(kd={"passes": passes, "features": asked}),
                data={**rows, "max_features_gb": limit},
            )
        )["kd"].key
        for asked in ("auto", features)
    ]

    assert keys[0] == keys[1]


def test_features_are_stored_unless_a_recipe_says_otherwise(planned: Planned) -> None:
    default, stored, live = (
        planned(methods=_methods(kd=training))
        for training in ({}, {"features": "stored"}, {"features": "live"})
    )

    assert _drafts(default)["kd"].key == _drafts(stored)["kd"].key != _drafts(live)["kd"].key
    assert "features" not in default.recipe.training.model_dump()


def test_how_long_a_draft_may_write_decides_what_it_becomes_only_if_it_writes(
    planned: Planned,
) -> None:
    methods = _methods(on={"text": "draft"}, off={"text": "dataset"})
    document = load_recipe("quickstart").evaluation.model_dump(mode="json")
    shorter = {**document, "max_new_tokens": 9}
    settings = [
        {title: dict(node.settings) for title, node in _drafts(prepared).items()}
        for prepared in (planned(methods=methods), planned(methods=methods, evaluation=shorter))
    ]

    assert settings[0]["on"] != settings[1]["on"]
    assert settings[0]["off"] == settings[1]["off"]


def test_a_fine_tuned_target_takes_the_place_of_the_one_that_was_given(
    planned: Planned, tmp_path: Path
) -> None:
    given, tuned = planned(), planned({"fine_tune": FINE_TUNE})
    (setting,) = tuned.settings.values()
    base = setting.target.inputs["target"]

    assert (setting.target.stage, base.stage) == ("target", "target")
    assert {node.key for node in given.nodes if node.stage == "target"} == {base.key}
    assert setting.target.settings["digest"] == base.settings["digest"]
    (plain,) = given.settings.values()
    assert setting.end_tokens == plain.end_tokens
    making = {node.key for node in topological_order([setting.target])}
    for node in tuned.nodes:
        if node.key not in making:
            targets = [item.key for item in node.inputs.values() if item.stage == "target"]
            assert set(targets) <= {setting.target.key}
    # What the target was made of is not what drafts are made of or scored on.
    for outputs in tuned.cells.values():
        scores = (output.node for output in outputs.values() if output.field == "tables")
        scored = texts_behind(node.inputs["features"] for node in scores)
        assert {text["writer"] for text in scored} == {"target"}
    assert texts_behind([_drafts(tuned)["untrained"]]) == []
    (facts,) = data_facts(tuned.settings.values(), Store(tmp_path))
    assert facts["fine_tuning"] is None  # not made yet


def test_pairs_that_fine_tune_a_target_alike_share_it(planned: Planned) -> None:
    pairs = [{**PAIR, "fine_tune": FINE_TUNE}, {**PAIR, "name": "other", "fine_tune": FINE_TUNE}]
    settings = planned(pairs=pairs).settings.values()

    assert len({setting.target.key for setting in settings}) == 1
    pairs[1]["fine_tune"] = {**FINE_TUNE, "passes": 1}
    settings = planned(pairs=pairs).settings.values()
    assert len({setting.target.key for setting in settings}) == 2


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def _run(prepared: Plan, store: Store) -> Results:
    results = run_experiment(prepared, "r", store, Progress(quiet=True))
    assert [row.failure for row in results.results] == [None] * len(results.results)
    return results


@pytest.mark.slow
def test_a_run_with_a_fine_tuned_target_and_text_of_every_writer(
    planned: Planned, store: Store, tmp_path: Path
) -> None:
    mixture = {"dataset": 0.25, "target": 0.25, "draft": 0.5}
    methods = _methods(
        draft={"text": "draft"},
        whole={"text": "mixture", "mixture": {"draft": 1.0}},
        mixed={"text": "mixture", "mixture": mixture, "passes": 4},
    )
    evaluation = {"temperatures": [1.0], "max_new_tokens": 8}
    prepared = planned({"fine_tune": FINE_TUNE}, methods=methods, evaluation=evaluation)
    results = _run(prepared, store)
    files = {
        title: store.load(node).files["model.safetensors"]
        for title, node in _drafts(prepared).items()
    }
    ledgers = {row.cell.method: row.ledger for row in results.results}

    assert files["draft"] == files["whole"] != files["mixed"]
    assert ledgers["draft"] is not None
    assert ledgers["mixed"] is not None
    assert ledgers["draft"].generated_tokens == ledgers["draft"].supervised_tokens
    assert 0 < ledgers["mixed"].generated_tokens < ledgers["mixed"].supervised_tokens
    assert not [finding for finding in results.findings if finding.severity == "error"]
    (facts,) = results.data
    assert facts["fine_tuning"]["ledger"]["steps"] == 1
    assert facts["fine_tuning"]["history"][0]["step"] == 0
    assert {text["writer"] for text in facts["fine_tuning"]["texts"]} == {"dataset"}
    save_results(results, tmp_path)
    (path,) = render_reports(results, tmp_path, ["leaderboard"])
    assert "fine-tuned on gsm8k: 1 steps, 4 rows, " in path.read_text("utf-8")


def test_what_the_target_read_before_training_counts_towards_its_budget(
    planned: Planned, store: Store
) -> None:
    methods = _methods(kd={"budget": {"target_forward_tokens": 10}})
    prepared = planned(methods=methods, evaluation={"temperatures": [1.0], "max_new_tokens": 8})
    (node,) = _drafts(prepared).values()

    failures = execute_stages([node], store, Progress(quiet=True))

    reason = failures[node.key].reason
    assert "training.budget: target_forward_tokens = 10 is used up before" in reason
    read = [item for name, item in node.inputs.items() if name != "target"]
    assert len(read) == 2
    assert all(store.has(item) for item in read)


@dataclass(frozen=True)
class _Made:
    """A draft, what it cost, and what trackers were told: but for speed."""

    weights: Mapping[str, torch.Tensor]
    ledger: Mapping[str, Any]
    told: Sequence[Mapping[str, float]]


def _made(of: Node, store: Store, processes: int) -> _Made:
    assert not execute_stages([of], store, Progress(quiet=True))
    folder = store.load(of).directory
    facts = json.loads((folder / DRAFT).read_text("utf-8"))
    assert facts["processes"] == processes
    _, *lines = (store.logs(of) / JSON_LINES).read_text("utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    for line in told:
        line.pop("supervised_tokens_per_second", None)
        line.pop("reference/supervised_tokens_per_second", None)
    return _Made(load_file(folder / "model.safetensors"), facts["ledger"], told)


@pytest.mark.slow
def test_several_processes_make_the_drafts_that_one_makes(
    planned: Planned, tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    mixture = {"text": "mixture", "mixture": {"dataset": 0.5, "draft": 0.5}}
    changes: dict[str, Any] = {
        "methods": [
            {"name": "kd", "training": mixture},
            {"name": "adaspec", "reference_passes": 0.5},
        ],
        # Rows that two processes share unevenly, and a last batch of one row: none for the second.
        "data": {"sources": ["samples"], "train_rows": 9, "validation_rows": 4, "test_rows": 4},
        "evaluation": {"temperatures": [1.0], "max_new_tokens": 8},
    }
    training = {"passes": 2, "rows_per_batch": 4, "validations": 2, "trackers": ["jsonl"]}
    alone, together = (
        planned({"dtype": "float32"}, training={**training, "processes": count}, **changes)
        for count in (1, 2)
    )
    for title, node in _drafts(alone).items():
        assert node.key == _drafts(together)[title].key
        one = _made(node, Store(tmp_path / "one"), 1)
        two = _made(_drafts(together)[title], Store(tmp_path / "two"), 2)
        assert 0 < one.ledger["supervised_tokens"] == two.ledger["supervised_tokens"]
        assert (one.ledger["generated_tokens"] > 0) == (title == "kd")
        for quantity in ("steps", "rows", "generated_tokens", "target_forward_tokens", "flops"):
            assert one.ledger[quantity] == two.ledger[quantity]
        assert one.ledger["reference_forward_tokens"] == two.ledger["reference_forward_tokens"]
        for mine, theirs in zip(one.told, two.told, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-3)
        for name, tensor in one.weights.items():
            torch.testing.assert_close(two.weights[name], tensor, atol=2e-5, rtol=1e-3)


def test_knobs_of_drafting_alone_share_one_training(planned: Planned) -> None:
    """A threshold or a tree is in the keys of what is scored, and in no key of what is trained."""
    thresholds = {"open": 0.0, "cut": 0.3, "short": 0.6}
    methods: list[dict[str, Any]] = [
        {"name": "dspark", "label": label, "num_layers": 1, "confidence_threshold": value}
        for label, value in thresholds.items()
    ]
    methods += [{"name": "eagle"}, {"name": "eagle", "label": "tree", "tree": "eagle"}]
    methods += [{"name": "eagle", "label": "deeper", "depth": 2}]
    plan = planned(methods=methods)
    drafts = {cell.method: plan.draft(cell).key for cell in plan.cells}
    scores = [
        node.key
        for cell in plan.cells
        for node in plan.nodes_of(cell)
        if node.stage == "scores" and node.label.endswith("temperature 0")
    ]

    assert len({drafts[label] for label in thresholds}) == 1
    assert drafts["eagle"] == drafts["tree"] != drafts["deeper"]
    assert len(scores) == len(set(scores)) == len(methods)
