"""Plans: what is to do and what it costs, against real trainings and files, and without any."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from draftmark.config.recipe import Recipe
from draftmark.errors import UserError
from draftmark.models import shapes
from draftmark.pipeline.executor import execute
from draftmark.pipeline.experiment import Plan, plan
from draftmark.pipeline.planning import estimates, hardware, plan_table, units
from draftmark.pipeline.planning.stage_costs import Site
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.speculation.methods import build_method
from draftmark.store.graph import Node
from draftmark.store.records import DRAFT, TARGET
from draftmark.store.store import Store
from draftmark.types import TrainingRun

H100 = hardware.machine("h100", 0.3)
QUIET = Progress(quiet=True)
TUNE = {"passes": 2, "rows_per_batch": 4, "learning_rate": 1e-4, "validations": 1}

Planned = Callable[..., Plan]


@pytest.fixture
def planned() -> Planned:
    """Return what plans the quickstart on few rows, changed."""

    def changed(*, complete: bool = True, **changes: Any) -> Plan:
        document = load_recipe("quickstart").model_dump(mode="json")
        document["data"] |= {"train_rows": 8, "validation_rows": 4, "test_rows": 5}
        document["training"] |= {"passes": 2, "rows_per_batch": 4, "validations": 1}
        document |= {"tasks": ["gsm8k"], "speed": False, **changes}
        return plan(Recipe(**document), QUIET, complete=complete)

    return changed


def _absent(**pair: Any) -> list[dict[str, Any]]:
    draft = {"model": "EleutherAI/pythia-31m@abc"}
    return [{"name": "p", "target": "EleutherAI/pythia-1.4b@abc", "draft": draft, **pair}]


def _site(prepared: Plan) -> Site:
    (setting,) = prepared.settings.values()
    return Site.of(setting, H100)


METHODS = [{"name": "kd"}, {"name": "adaspec", "reference_passes": 1}]


@pytest.mark.slow
def test_planned_flops_are_those_that_real_trainings_charge(
    planned: Planned, tmp_path: Path
) -> None:
    pair = {"name": "p", "target": "tiny-target", "draft": {"pruned": [0, 7]}, "fine_tune": TUNE}
    evaluation = {"temperatures": [1.0], "max_new_tokens": 8}
    prepared = planned(pairs=[pair], methods=METHODS, evaluation=evaluation)
    store, site = Store(tmp_path), _site(prepared)
    assert execute((nodes.draft for nodes in prepared.cells.values()), store, QUIET) == {}

    def ledger(node: Node, file: str) -> dict[str, Any]:
        made = store.load(node).directory
        return dict(json.loads((made / file).read_text("utf-8"))["ledger"])

    (setting,) = prepared.settings.values()
    tuned = estimates.training(
        site.target, site.loads.gold["train"], TrainingRun(2, 4), H100, dtype="bfloat16"
    )
    # What a plan does not know exactly is how a chat template wraps a question.
    assert tuned.flops == pytest.approx(ledger(setting.target, TARGET)["flops"], rel=0.05)
    for cell, nodes in prepared.cells.items():
        method = build_method(setting.recipe.method(cell.method))
        training_runs = method.training_runs(TrainingRun(2, 4))
        costs = [
            estimates.training(
                site.draft,
                site.loads.gold["train"],
                course,
                H100,
                dtype="bfloat16",
                target_head=site.target.head,
            )
            for course in training_runs
        ]
        spent = ledger(nodes.draft, DRAFT)
        assert estimates.total(costs).flops == pytest.approx(spent["flops"], rel=0.05)
        whole = site.cost(nodes.draft, cell)
        assert whole.flops > spent["flops"]  # validation is in it
        saved = store.load(nodes.draft).directory / "model.safetensors"
        header = 8 + int.from_bytes(saved.read_bytes()[:8], "little")
        assert whole.disk_bytes == saved.stat().st_size - header
        features = nodes.draft.inputs["dataset texts"]
        file = store.load(features).directory / "states.bin"
        assert site.cost(features, cell).disk_bytes == file.stat().st_size


def test_a_plan_needs_no_model_and_no_rows(planned: Planned) -> None:
    data = {"sources": ["directory"], "train_rows": 7173, "test_rows": 100}
    methods = [{"name": "untrained"}, *METHODS]
    prepared = planned(complete=False, pairs=_absent(fine_tune={}), methods=methods, data=data)
    nodes = {node.label: node for node in prepared.nodes}

    assert not any(plan_table.known(node) for node in nodes.values())
    assert len({node.key for node in nodes.values()}) == len(nodes)
    text, _ = plan_table.table(prepared, Store(Path("nowhere")), H100)
    assert "Not here, and planned by name: target EleutherAI/pythia-1.4b@abc, init Ele" in text
    assert "gsm8k 62, 131 (assumed)" in text
    assert "unknown" in text


def test_a_run_still_needs_them(planned: Planned) -> None:
    with pytest.raises(UserError, match=r"No model 'nowhere'"):
        planned(pairs=[{"name": "p", "target": "nowhere", "draft": {"pruned": [0]}}])
    with pytest.raises(UserError, match=r"No source has the"):
        planned(data={"sources": ["directory"]})


def test_what_is_here_has_the_keys_of_a_run_in_a_plan_as_well(planned: Planned) -> None:
    whole, open_ = planned(), planned(complete=False)

    assert [node.key for node in whole.nodes] == [node.key for node in open_.nodes]
    assert all(map(plan_table.known, open_.nodes))


def test_a_target_that_is_not_here_leaves_no_stage_but_its_own_rows_known(
    planned: Planned,
) -> None:
    prepared = planned(complete=False, pairs=_absent(), methods=[{"name": "kd"}])

    assert [node.label for node in prepared.nodes if plan_table.known(node)] == []


def test_the_closed_forms_of_a_training_by_hand() -> None:
    shape = shapes.of_model("pythia-1.4b", None)
    load = estimates.Load(rows=10, prompt=1000, response=500)
    once = estimates.training(shape, load, TrainingRun(1, 5), H100, dtype="bfloat16")
    thrice = estimates.training(shape, load, TrainingRun(3, 5), H100, dtype="bfloat16")

    body, head = 1_414_647_808 - 2 * 50304 * 2048, 50304 * 2048
    assert once.flops == 6 * body * 1490 + 6 * head * 500
    # 3 times the forward pass: 2 products, 2 FLOPs, half of the text, in 24 layers of 2048.
    assert once.attention == 3 * 2 * 24 * 2048 * 150 * 1490
    assert thrice.flops == 3 * once.flops
    assert thrice.peak_bytes == once.peak_bytes > 16 * shape.parameters
    assert once.gpu_s == (once.flops + once.attention) / (0.3 * 989e12)
    assert estimates.feature_bytes(shape, 500, "bfloat16") == 500 * 2048 * 2


def test_decoding_waits_for_memory_and_reading_for_arithmetic() -> None:
    shape = shapes.of_model("pythia-1.4b", None)
    load = estimates.Load(rows=32, prompt=3200, response=3200)
    wrote = estimates.writing(shape, load, 100, H100, rows_per_batch=32, dtype="bfloat16")
    read = estimates.reading(shape, load, H100, dtype="bfloat16")

    weights, cache = 2 * shape.parameters, 32 * (100 + 100) * 2 * 24 * 2048 * 2
    prefill = 2 * shape.body * 3200 / (0.3 * 989e12)
    assert wrote.gpu_s == pytest.approx(100 * (weights + cache) / 3.35e12 + prefill)
    assert read.gpu_s == read.all_flops / (0.3 * 989e12)
    assert read.gpu_s < wrote.gpu_s


def test_what_no_gpu_holds_is_said(planned: Planned) -> None:
    pair = {"target": "Qwen/Qwen2.5-32B@abc", "draft": {"model": "Qwen/Qwen2.5-0.5B@abc"}}
    prepared = planned(complete=False, pairs=_absent(**pair), methods=[{"name": "kd"}])

    text, _ = plan_table.table(prepared, Store(Path("nowhere")), H100)

    assert "need more memory than one H100 SXM 80 GB has" in " ".join(text.split())


@pytest.mark.parametrize("recipe", ["quickstart"])
def test_a_plan_fits_a_hundred_columns_and_reads_to_the_end(recipe: str, tmp_path: Path) -> None:
    text = plan_table.show(recipe, tmp_path, H100, tasks=["gsm8k"])

    assert max(map(len, text.splitlines())) <= plan_table.WIDTH
    assert "33 stages, 32 to do" in text
    assert "draft kd, seed 0" in text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0.0 B"), (999, "999 B"), (1500, "1.5 KB"), (131_055_505_408, "131 GB"), (2e12, "2.0 TB")],
)
def test_sizes_read_in_their_unit(num_bytes: float, text: str) -> None:
    assert units.size(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "< 1 s"), (60, "60 s"), (300, "5 min"), (7200, "2.0 h")]
)
def test_times_read_in_their_unit(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


def test_an_unknown_gpu_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"GPU 'h101'.*h100"):
        hardware.machine("h101", 0.3)
