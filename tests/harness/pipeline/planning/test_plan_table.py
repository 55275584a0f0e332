"""Plan tables: costs against real trainings and files, closed forms by hand, printed text."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.config.recipe import Recipe
from draftmark.errors import UserError
from draftmark.models import shapes
from draftmark.pipeline.executor import execute_stages
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.planning import estimates, plan_table
from draftmark.pipeline.planning.crossover import crossover_lines
from draftmark.pipeline.planning.estimates import Cost, Load, find_gpu
from draftmark.pipeline.planning.stage_costs import SettingCosts
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress
from draftmark.speculation.methods import build_method
from draftmark.store.graph import Node
from draftmark.store.records import DRAFT, TARGET
from draftmark.store.store import Store
from draftmark.text import format_bytes
from draftmark.types import TrainingRun

H100 = find_gpu("h100")
QUIET = Progress(quiet=True)
TUNE = {"passes": 2, "rows_per_batch": 4, "learning_rate": 1e-4, "validations": 1}

Planned = Callable[..., Plan]


@pytest.fixture
def planned() -> Planned:
    """Return a function that plans the quickstart recipe on few rows, with changes."""

    def plan_quickstart(*, complete: bool = True, **changes: Any) -> Plan:
        document = load_recipe("quickstart").model_dump(mode="json")
        document["data"] |= {"train_rows": 8, "validation_rows": 4, "test_rows": 5}
        document["training"] |= {"passes": 2, "rows_per_batch": 4, "validations": 1}
        document |= {"tasks": ["gsm8k"], "speed": False, **changes}
        return plan_experiment(Recipe(**document), QUIET, complete=complete)

    return plan_quickstart


def _absent(**pair: Any) -> list[dict[str, Any]]:
    draft = {"model": "EleutherAI/pythia-31m@abc"}
    return [{"name": "p", "target": "EleutherAI/pythia-1.4b@abc", "draft": draft, **pair}]


def _setting_costs(prepared: Plan) -> SettingCosts:
    (setting,) = prepared.settings.values()
    return SettingCosts.from_setting(setting, H100)


METHODS = [{"name": "kd"}, {"name": "adaspec", "reference_passes": 1}]


@pytest.mark.slow
def test_planned_flops_match_the_ledgers_of_real_trainings(
    planned: Planned, tmp_path: Path
) -> None:
    pair = {"name": "p", "target": "tiny-target", "draft": {"pruned": [0, 7]}, "fine_tune": TUNE}
    evaluation = {"temperatures": [1.0], "max_new_tokens": 8}
    prepared = planned(pairs=[pair], methods=METHODS, evaluation=evaluation)
    store, expected = Store(tmp_path), _setting_costs(prepared)
    assert execute_stages(map(prepared.draft, prepared.cells), store, QUIET) == {}

    def ledger(node: Node, file: str) -> dict[str, Any]:
        made = store.load(node).directory
        return dict(json.loads((made / file).read_text("utf-8"))["ledger"])

    (setting,) = prepared.settings.values()
    tuned = estimates.training_cost(
        expected.target, expected.gold["train"], TrainingRun(2, 4), H100, dtype="bfloat16"
    )
    # A plan only approximates the tokens of the chat template.
    assert tuned.flops == pytest.approx(ledger(setting.target, TARGET)["flops"], rel=0.05)
    for cell in prepared.cells:
        draft = prepared.draft(cell)
        method = build_method(setting.recipe.method(cell.method))
        training_runs = method.training_runs(TrainingRun(2, 4))
        costs = [
            estimates.training_cost(
                expected.draft,
                expected.gold["train"],
                run,
                H100,
                dtype="bfloat16",
                target_head=expected.target.head,
            )
            for run in training_runs
        ]
        spent = ledger(draft, DRAFT)
        assert sum(costs, Cost()).flops == pytest.approx(spent["flops"], rel=0.05)
        whole = expected.cost(draft, cell)
        assert whole.flops > spent["flops"]  # it includes validation
        saved = store.load(draft).directory / "model.safetensors"
        header = 8 + int.from_bytes(saved.read_bytes()[:8], "little")
        assert whole.disk_bytes == saved.stat().st_size - header
        features = draft.inputs["dataset texts"]
        file = store.load(features).directory / "states.bin"
        assert expected.cost(features, cell).disk_bytes == file.stat().st_size


def test_a_plan_needs_no_model_and_no_rows(planned: Planned) -> None:
    data = {"sources": ["directory"], "train_rows": 7173, "test_rows": 100}
    methods = [{"name": "untrained"}, *METHODS]
    prepared = planned(complete=False, pairs=_absent(fine_tune={}), methods=methods, data=data)
    nodes = {node.label: node for node in prepared.nodes}

    assert not any(plan_table.has_final_key(node) for node in nodes.values())
    assert len({node.key for node in nodes.values()}) == len(nodes)
    text, _ = plan_table.tabulate_plan(prepared, Store(Path("nowhere")), H100)
    assert "Not on this machine, planned by name: target EleutherAI/pythia-1.4b@abc, init" in text
    assert "gsm8k 62, 131 (assumed)" in text
    assert "unknown" in text


def test_the_plan_of_a_suite_says_once_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    members = '["adaspec_pythia_best", "adaspec_pythia_3epochs"]'
    Path("suite.toml").write_text(f'title = "Two"\nrecipes = {members}\n')
    plan_table.render_plan("suite.toml", Path("store"), H100, data=tmp_path, tasks=["gsm8k"])
    assert capsys.readouterr().err.count("No source has the") == 1


def test_a_run_needs_both(planned: Planned) -> None:
    with pytest.raises(UserError, match=r"No model 'nowhere'"):
        planned(pairs=[{"name": "p", "target": "nowhere", "draft": {"pruned": [0]}}])
    with pytest.raises(UserError, match=r"No source has the"):
        planned(data={"sources": ["directory"]})


def test_a_plan_has_the_keys_of_a_run_where_nothing_is_missing(planned: Planned) -> None:
    whole, open_ = planned(), planned(complete=False)

    assert [node.key for node in whole.nodes] == [node.key for node in open_.nodes]
    assert all(map(plan_table.has_final_key, open_.nodes))


def test_with_a_missing_target_no_stage_has_a_final_key(
    planned: Planned,
) -> None:
    prepared = planned(complete=False, pairs=_absent(), methods=[{"name": "kd"}])

    assert [node.label for node in prepared.nodes if plan_table.has_final_key(node)] == []


def test_the_closed_forms_of_a_training_by_hand() -> None:
    shape = shapes.model_shape("pythia-1.4b", None)
    load = Load(rows=10, prompt_tokens=1000, response_tokens=500)
    once = estimates.training_cost(shape, load, TrainingRun(1, 5), H100, dtype="bfloat16")
    thrice = estimates.training_cost(shape, load, TrainingRun(3, 5), H100, dtype="bfloat16")

    body, head = 1_414_647_808 - 2 * 50304 * 2048, 50304 * 2048
    assert once.flops == 6 * body * 1490 + 6 * head * 500
    # 3 times the forward pass: 2 products, 2 FLOPs, half of the text, 24 layers of 2048.
    assert once.attention_flops == 3 * 2 * 24 * 2048 * 150 * 1490
    assert thrice.flops == 3 * once.flops
    assert thrice.peak_bytes == once.peak_bytes > 16 * shape.parameters
    assert once.gpu_s == (once.flops + once.attention_flops) / (0.3 * 989e12)
    assert estimates.hidden_state_bytes(shape, 500, "bfloat16") == 500 * 2048 * 2


def test_decoding_is_bound_by_memory_and_a_forward_pass_by_flops() -> None:
    shape = shapes.model_shape("pythia-1.4b", None)
    load = Load(rows=32, prompt_tokens=3200, response_tokens=3200)
    wrote = estimates.generation_cost(shape, load, 100, H100, rows_per_batch=32, dtype="bfloat16")
    read = estimates.forward_cost(shape, load, H100, dtype="bfloat16")

    weights, cache = 2 * shape.parameters, 32 * (100 + 100) * 2 * 24 * 2048 * 2
    prefill = 2 * shape.body * 3200 / (0.3 * 989e12)
    assert wrote.gpu_s == pytest.approx(100 * (weights + cache) / 3.35e12 + prefill)
    assert read.gpu_s == read.total_flops / (0.3 * 989e12)
    assert read.gpu_s < wrote.gpu_s


def test_a_plan_compares_stored_states_with_live_ones(planned: Planned) -> None:
    """By hand, for three seeds of two passes of an EAGLE-3 head (3 layers) and of kd."""
    methods = [{"name": "kd"}, {"name": "eagle3", "training": {"features": "live"}}]
    prepared = planned(methods=methods, seeds=[0, 1, 2])
    costs = _setting_costs(prepared)
    load, target = costs.gold["train"], costs.target
    once = 2 * target.body * load.read_tokens
    once += estimates.attention_flops(target, load.read_tokens, load.mean_length)
    lines = list(crossover_lines({("gsm8k", "tiny"): costs}))

    final, layers = load.response_tokens, 3 * load.read_tokens
    assert len(lines) == 2
    for line, titles, numbers, readings in zip(
        lines, ("kd stored", "eagle3 live"), (final, final + layers), (1, 2), strict=True
    ):
        stored = f"stored {format_bytes(numbers * target.hidden * 2)}"
        assert f"({titles}): {stored} and {readings * once:.1e} FLOPs; live no disk" in line
        assert f"{6 * once:.1e} FLOPs (6 passes of all drafts together" in line
        assert line.endswith(f"up to {readings}, live takes no more FLOPs).")


def test_a_live_training_is_planned_with_the_targets_passes_and_memory(planned: Planned) -> None:
    found = []
    for features in ("stored", "live"):
        training = {"features": features, "passes": 3, "validations": 1}
        prepared = planned(methods=[{"name": "kd", "training": training}])
        costs, (cell,) = _setting_costs(prepared), prepared.cells
        found.append(costs.cost(prepared.draft(cell), cell))
    stored, live = found
    load, target = costs.gold["train"], costs.target
    once = 2 * target.body * load.read_tokens
    once += estimates.attention_flops(target, load.read_tokens, load.mean_length)
    assert live.total_flops - stored.total_flops == pytest.approx(3 * once)
    assert live.peak_bytes == stored.peak_bytes + 4 * target.parameters
    assert live.gpu_s > stored.gpu_s


@pytest.mark.parametrize("features", ["stored", "live"])
def test_a_training_is_planned_with_the_passes_that_spend_its_budget(
    planned: Planned, features: str
) -> None:
    """Of 8 rows, 4 a batch: a pass has two steps, and the settings two passes."""

    def cost(**training: Any) -> Cost:
        prepared = planned(methods=[{"name": "kd", "training": {"features": features, **training}}])
        (cell,) = prepared.cells
        return _setting_costs(prepared).cost(prepared.draft(cell), cell)

    costs, run = _setting_costs(planned(methods=[{"name": "kd"}])), TrainingRun(6, 4)
    load, head = costs.gold["train"], costs.target.head
    spent = estimates.training_cost(
        costs.draft, load, run, H100, dtype="bfloat16", target_head=head
    )
    assert cost(budget={"steps": 8}) == cost(passes=4)
    for budget in ({"flops": spent.flops}, {"supervised_tokens": 6 * round(load.response_tokens)}):
        found, expected = cost(budget=budget), cost(passes=6)
        assert found.flops == pytest.approx(expected.flops)
        assert found.gpu_s == pytest.approx(expected.gpu_s)
    assert cost(budget={"seconds": 100.0}) == cost(passes=2)


def test_a_plan_names_stages_that_exceed_the_gpus_memory(planned: Planned) -> None:
    pair = {"target": "Qwen/Qwen2.5-32B@abc", "draft": {"model": "Qwen/Qwen2.5-0.5B@abc"}}
    prepared = planned(complete=False, pairs=_absent(**pair), methods=[{"name": "kd"}])

    text, stages = plan_table.tabulate_plan(prepared, Store(Path("nowhere")), H100)

    assert "too much for one H100 SXM 80 GB; set placement = " in " ".join(text.split())
    too_large = [stage for stage in stages if stage.cost.peak_bytes > H100.memory_bytes]
    assert {stage.node.stage for stage in too_large} >= {"features", "responses", "draft"}
    assert all(stage.fix.startswith('set placement = "auto"') for stage in too_large)
    placed = planned(
        complete=False, pairs=_absent(**pair, placement="auto"), methods=[{"name": "kd"}]
    )
    text, stages = plan_table.tabulate_plan(placed, Store(Path("nowhere")), H100, gpus=8)
    assert not any(stage.fix for stage in stages)
    assert all(stage.cost.device_bytes <= H100.memory_bytes for stage in stages)
    assert max(stage.cost.gpus for stage in stages) == 2
    assert "(2 GPUs)" in text
    alone, _ = plan_table.tabulate_plan(placed, Store(Path("nowhere")), H100, gpus=1)
    assert "With --gpus 1 the other layers wait" in " ".join(alone.split())


def test_a_plan_names_what_lets_a_training_fit(planned: Planned) -> None:
    pair = {"target": "google/gemma-7b-it@abc", "draft": {"model": "google/gemma-2b-it@abc"}}
    fixes = {}
    for name in ("h100", "h200", "l40s"):
        tuned = _absent(**pair, fine_tune={"rows_per_batch": 64})
        prepared = planned(complete=False, pairs=tuned, methods=[{"name": "kd"}])
        _, stages = plan_table.tabulate_plan(prepared, Store(Path("nowhere")), find_gpu(name))
        fixes[name] = next(s.fix for s in stages if s.node.stage == "target" and s.node.inputs)
    again = "gradient_checkpointing = true"
    least = f"{again}, rows_at_once = 1"
    assert fixes == {
        "h100": f"set {least}, processes = 2, sharded = true in fine_tune",
        "h200": f"set {again} in fine_tune",
        "l40s": f"set {least}, processes = 4, sharded = true in fine_tune",
    }


def test_the_memory_of_a_training_by_hand() -> None:
    shape = shapes.model_shape("pythia-1.4b", None)
    whole, parts = estimates.MemorySettings(), estimates.MemorySettings(4, 2, True, True)
    layers = 24 * shape.layer_parameters
    assert whole.weight_bytes(shape) == 16 * shape.parameters
    rest = 16 * (shape.parameters - layers)
    assert parts.weight_bytes(shape) == rest + 16 * layers / 4 + 8 * shape.layer_parameters
    lora = replace(shape, adapters=1000)
    frozen = 4 * (shape.parameters - layers) + (4 * layers + 16 * 1000) / 4
    assert parts.weight_bytes(lora) == frozen + 8 * shape.layer_parameters
    assert (whole.rows(16), parts.rows(16), parts.rows(4)) == (16, 2, 1)
    assert whole.activation_bytes(shape, 10, "bfloat16") == 24 * 34 * 10 * 2048
    assert parts.activation_bytes(shape, 10, "bfloat16") == (34 + 24 * 2) * 10 * 2048


@given(st.floats(0, 9e11), st.floats(0, 9e11))
def test_a_spread_stage_takes_the_fewest_gpus_that_hold_it(fixed: float, spread: float) -> None:
    cost = Cost(peak_bytes=fixed + spread, spread_bytes=spread)
    devices = cost.devices(H100)
    if devices is None:
        assert fixed >= H100.memory_bytes or not spread
        return
    assert replace(cost, gpus=devices).device_bytes <= H100.memory_bytes * (1 + 1e-9)
    if devices > 1:
        assert fixed + spread / (devices - 1) > H100.memory_bytes * (1 - 1e-9)


@pytest.mark.parametrize("recipe", ["quickstart"])
def test_a_plan_fits_a_hundred_columns(recipe: str, tmp_path: Path) -> None:
    text = plan_table.render_plan(recipe, tmp_path, H100, tasks=["gsm8k"])

    assert max(map(len, text.splitlines())) <= plan_table.WIDTH <= 80
    assert "33 stages, 32 to do" in text
    assert "draft kd, seed 0" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "< 1 s"), (60, "60 s"), (300, "5 min"), (7200, "2.0 h"), (1e8, "1157 days")],
)
def test_seconds_have_a_readable_unit(seconds: float, text: str) -> None:
    assert estimates.format_seconds(seconds) == text


def test_the_error_for_an_unknown_gpu_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"GPU 'h101'.*h100"):
        find_gpu("h101")
