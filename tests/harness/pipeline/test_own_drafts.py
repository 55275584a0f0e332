"""Drafts of a method's own: several drafts of one target in one run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from head_cases import small_head, small_target

from draftmark.analysis.quantities import quantity_key
from draftmark.baselines.dspark import METHOD as DSpark
from draftmark.config.recipe import Recipe
from draftmark.errors import UserError
from draftmark.models.heads.block_exports import export_block_head
from draftmark.models.heads.feature_head import HeadShape, make_head
from draftmark.models.heads.head_exports import export_head
from draftmark.models.language_model import LanguageModel
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.planning import plan_table
from draftmark.pipeline.planning.estimates import find_gpu
from draftmark.pipeline.preflight import check_models
from draftmark.pipeline.provenance import data_facts
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.store.store import Store

TARGET, QUIET = "tiny-target", Progress(quiet=True)
SAMPLES: Mapping[str, Any] = {
    "sources": ("samples",),
    "train_rows": 4,
    "validation_rows": 2,
    "test_rows": 2,
}


def recipe_of(*methods: Mapping[str, Any], draft: Mapping[str, Any]) -> Recipe:
    return Recipe(
        title="t",
        tasks=("gsm8k",),
        pairs=({"name": "p", "target": TARGET, "draft": draft},),  # type: ignore[arg-type]
        methods=methods,  # type: ignore[arg-type]
        data=SAMPLES,  # type: ignore[arg-type]
        speed=False,  # type: ignore[arg-type]
    )


def planned(*methods: Mapping[str, Any], draft: Mapping[str, Any]) -> Plan:
    return plan_experiment(recipe_of(*methods, draft=draft), QUIET)


def keys(plan: Plan) -> dict[str, list[str]]:
    return {cell.method: [node.key for node in plan.nodes_of(cell)] for cell in plan.cells}


@pytest.fixture(scope="module")
def head(target: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an EAGLE-3.1 head of the tiny target, in the layout of speculators."""
    shape = HeadShape("eagle3", (2, 4, 5), target.vocab_size, fc_norm=True, norm_output=True)
    folder = tmp_path_factory.mktemp("head")
    made = make_head(target, shape, seed=0)
    export_head(made, "speculators", folder, target=TARGET, num_speculative_tokens=3)
    return folder


@pytest.fixture(scope="module")
def block_head(target: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a DSpark head of the tiny target, in the layout of speculators."""
    folder = tmp_path_factory.mktemp("block")
    made = DSpark(block_size=3, num_layers=1, rank=8).head(target, [], 0)
    export_block_head(made, "speculators", folder, target=TARGET)
    return folder


def test_a_methods_own_draft_replaces_the_pairs_and_nothing_else() -> None:
    two = {"pruned": (0, 7)}
    plain, one = {"name": "untrained"}, {"name": "untrained", "label": "one layer"}
    both = keys(planned(plain, {**one, "draft": {"pruned": (0,)}}, draft=two))
    alone = keys(planned(plain, draft=two)), keys(planned(one, draft={"pruned": (0,)}))
    assert both == alone[0] | alone[1]
    assert both["untrained"][0] != both["one layer"][0]


def test_a_recipe_without_own_drafts_reads_as_before() -> None:
    recipe = recipe_of({"name": "kd"}, draft={"pruned": (0, 7)})
    (entry,) = recipe.model_dump(mode="json")["methods"]
    assert entry == {"name": "kd", "label": "", "against": [], "training": {}}


def test_drafts_are_fetched_checked_and_named_for_each_entry(head: Path) -> None:
    own = {"name": "untrained", "label": "head", "draft": {"head": str(head)}}
    plan = planned({"name": "untrained"}, own, draft={"model": TARGET})
    check_models(plan, QUIET)
    (facts,) = data_facts(plan.settings.values(), Store(head / "no store"))
    assert facts["draft"] == f"model {TARGET}"
    assert facts["drafts"]["head"]["draft"] == f"head {head}"
    assert facts["drafts"]["head"]["model"]["files"]
    text, _ = plan_table.tabulate_plan(plan, Store(head / "no store"), find_gpu("h100"))
    assert "target's layers 2, 4, 5 at every position" in " ".join(text.split())


def test_a_plan_needs_no_head_that_is_not_here() -> None:
    own = {"name": "untrained", "draft": {"head": "org/head@main"}}
    recipe = recipe_of(own, draft={"pruned": (0,)})
    plan = plan_experiment(recipe, QUIET, complete=False)
    text, _ = plan_table.tabulate_plan(plan, Store(Path("no store")), find_gpu("h100"))
    assert "Not on this machine, planned by name: init org/head@main" in text.replace("\n", " ")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"name": "kd"}, "method 'kd' does not start from a trained head"),
        ({"name": "eagle"}, "it is a head of eagle3, and the method trains eagle"),
        ({"name": "eagle3", "from_layer": 1}, "from_layer initialises a new head"),
        ({"name": "eagle3", "features": (1, 2, 3)}, r"head has features = \(2, 4, 5\), not \(1, 2"),
        ({"name": "prompt_lookup"}, "method 'prompt_lookup' does not start from a trained head"),
    ],
)
def test_methods_that_cannot_start_from_a_head_are_refused(
    method: Mapping[str, Any], words: str, head: Path
) -> None:
    with pytest.raises(UserError, match=words):
        planned({**method, "draft": {"head": str(head)}}, draft={"pruned": (0,)})


def test_a_block_head_is_planned_and_checked_and_never_trained_further(block_head: Path) -> None:
    own = {"name": "untrained", "draft": {"head": str(block_head)}}
    plan = planned(own, draft={"pruned": (0,)})
    check_models(plan, QUIET)
    text, _ = plan_table.tabulate_plan(plan, Store(block_head / "no store"), find_gpu("h100"))
    assert "target's layers 2, 4, 5 at every position" in " ".join(text.split())
    for name, words in (
        ("eagle3", "it is a head of dspark, and the method"),
        ("dspark", "does not"),
    ):
        with pytest.raises(UserError, match=words):
            planned({**own, "name": name}, draft={"pruned": (0,)})


@pytest.mark.parametrize(
    ("name", "why"), [("eagle3", "makes its own head"), ("prompt_lookup", "drafts without")]
)
def test_a_draft_without_effect_is_refused(name: str, why: str) -> None:
    with pytest.raises(UserError, match=f"method '{name}' {why}.*has no effect"):
        planned({"name": name, "draft": {"pruned": (0,)}}, draft={"pruned": (0,)})


def test_a_head_of_another_target_is_refused_before_anything_runs(tmp_path: Path) -> None:
    made = small_head(small_target("llama"), "eagle3")
    export_head(made, "eagle3", tmp_path, target="t", num_speculative_tokens=3)
    own = {"name": "untrained", "draft": {"head": str(tmp_path)}}
    with pytest.raises(UserError, match="states of a target with hidden size 32, and this target"):
        check_models(planned(own, draft={"pruned": (0,)}), QUIET)


def test_a_head_is_no_model_and_a_model_is_no_head(head: Path) -> None:
    with pytest.raises(UserError, match=r"is a feature head \(eagle3\), not a language model"):
        planned({"name": "untrained"}, draft={"model": str(head)})
    with pytest.raises(UserError, match=r"no tensor fc\.weight"):
        check_models(planned({"name": "untrained"}, draft={"head": TARGET}), QUIET)


@pytest.fixture(scope="module")
def measured(head: Path, block_head: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return the results of a pruned draft, two heads, and one of them trained further."""
    folder = tmp_path_factory.mktemp("run")
    plan = plan_experiment(
        Recipe(
            title="t",
            tasks=("gsm8k",),
            pairs=({"name": "p", "target": TARGET, "draft": {"pruned": (0, 7)}},),  # type: ignore[arg-type]
            methods=(
                {"name": "untrained"},
                {"name": "untrained", "label": "head", "draft": {"head": str(head)}},
                {"name": "untrained", "label": "block", "draft": {"head": str(block_head)}},
                {"name": "eagle3", "depth": 2, "draft": {"head": str(head)}},
            ),  # type: ignore[arg-type]
            data={**SAMPLES, "train_rows": 8},  # type: ignore[arg-type]
            training={"passes": 4.0, "rows_per_batch": 4, "learning_rate": 3e-3, "validations": 1},  # type: ignore[arg-type]
            evaluation={"max_new_tokens": 12, "temperatures": (0.0,)},  # type: ignore[arg-type]
            speed={"blocks": 2, "prompts_per_block": 1},  # type: ignore[arg-type]
            threads=1,
        ),
        QUIET,
    )
    return run_experiment(plan, "t", Store(folder), QUIET)


def test_heads_are_scored_decoded_ranked_and_trained_on_beside_other_drafts(
    measured: Results,
) -> None:
    rows = {row.cell.method: row for row in measured.results}
    assert not [row.failure for row in measured.results if row.failure]
    name = quantity_key("block_efficiency", 0.0, 4)
    value = {method: row.numbers[name].value for method, row in rows.items()}
    assert value["head"] != value["untrained"]
    for method in ("head", "block", "eagle3"):  # EAGLE-3.1 and DSpark, decoded and scored alike
        numbers = rows[method].numbers
        assert numbers["identical"].value == 1.0
        assert numbers["counted_passes"].value == numbers["predicted_passes"].value
    assert {item.contender.method for item in measured.comparisons} == {"head", "block", "eagle3"}
    steps = {method: row.ledger.steps for method, row in rows.items() if row.ledger}
    assert (steps["head"], steps["eagle3"] > 0) == (0, True)
    texts = " ".join(finding.text for finding in measured.findings)
    assert "methods start from different drafts: head from head " in texts
    assert "rows that trained the heads of head (seed 0), block (seed 0), eagle3 (seed 0)" in texts


def test_layers_that_vllm_would_count_otherwise_are_a_warning(
    target: LanguageModel, tmp_path: Path
) -> None:
    made = make_head(target, HeadShape("eagle3", (2, 4, 5), target.vocab_size), seed=0)
    export_head(made, "eagle3", tmp_path, target=TARGET, num_speculative_tokens=3)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text("utf-8"))
    layers = config.pop("eagle_aux_hidden_state_layer_ids")
    nested = {"eagle_aux_hidden_state_layer_ids": [layer - 1 for layer in layers]}
    own = {"_name_or_path": "x", "unk_token_id": 0, "eagle_config": nested}
    path.write_text(json.dumps({**config, **own}), "utf-8")
    plan = planned({"name": "untrained", "draft": {"head": str(tmp_path)}}, draft={"pruned": (0,)})
    (finding,) = [each for each in check_models(plan, QUIET) if "vLLM" in each.text]
    assert finding.severity == "warning"
    assert "it is scored on layers (2, 4, 5). vLLM would read layers (1, 3, 4)" in finding.text
    assert "write eagle_aux_hidden_state_layer_ids = [2, 4, 5] at the top" in finding.text
