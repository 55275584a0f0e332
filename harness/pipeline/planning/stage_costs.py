"""The cost of each stage of a plan, from the model shapes and token counts of its task and pair."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from draftmark.config.lora import Lora
from draftmark.config.model_sections import Optimisation, Training
from draftmark.config.recipe import MethodEntry
from draftmark.models import shapes
from draftmark.models.config_shapes import FIX
from draftmark.models.shapes import SIZES, Shape
from draftmark.pipeline.planning import estimates
from draftmark.pipeline.planning.budgets import runs_within
from draftmark.pipeline.planning.estimates import Cost, Gpu, Load, MemorySettings, training_cost
from draftmark.pipeline.planning.loads import as_written, gold_loads
from draftmark.pipeline.planning.state_costs import StateCosts, runs_of, state_costs
from draftmark.pipeline.setting import ROWS_PER_BATCH, Setting
from draftmark.pipeline.stages.drafts import training_of
from draftmark.results import Cell
from draftmark.speculation.interfaces import FeatureMethod, Method, SizedMethod
from draftmark.store.graph import Node
from draftmark.store.reading import explained
from draftmark.training.lora import count_adapter_weights
from draftmark.types import Split, TrainingRun


@dataclass(frozen=True)
class SettingCosts:
    """The facts that the stage costs of one task and pair follow from.

    `gold` has the loads of gold answers; `counted` is True if their tokens were counted.
    """

    setting: Setting
    target: Shape
    draft: Shape
    gold: Mapping[Split, Load]
    counted: bool
    splits: Mapping[str, Split]  # by the digest of their rows
    gpu: Gpu

    @classmethod
    def from_setting(cls, setting: Setting, gpu: Gpu) -> "SettingCosts":
        """Return the stage costs of a setting; raises UserError for a model of unknown shape."""
        base = setting.target_as_given
        target = _model_shape(setting.pair.target, base.existing_folder)
        draft = _draft_shape(setting, target)
        splits: dict[str, Split] = {rows.digest: split for split, rows in setting.rows.items()}
        return cls(setting, target, draft, *gold_loads(setting), splits, gpu)

    def cost(self, node: Node, cell: Cell) -> Cost:
        """Return the cost of one of the cell's stages; zero for a stage that runs no model."""
        if node.existing_folder or not node.inputs:
            return Cost()
        entry = self.setting.recipe.method(cell.method)
        costs = self._for_entry(entry)
        cost = costs._spread(costs._cost(node, entry), node)
        return replace(cost, gpus=cost.devices(self.gpu) or 1)

    def _spread(self, cost: Cost, node: Node) -> Cost:
        """Return the cost of a stage with the bytes of its target that a placement spreads."""
        reads = node.inputs["model"].stage if "model" in node.inputs else "target"
        places_itself = node.settings.get("engine") == "vllm"
        if not self._placed or reads != "target" or places_itself:
            return cost
        if node.stage in ("target", "draft"):  # training; a draft's cost has it
            return cost
        timed = node.stage in ("decodes", "parts")  # the others read in float32
        size = SIZES[node.settings["dtype"]] if timed else 4
        spread = float(size * self.target.parameters)
        return replace(cost, spread_bytes=min(spread, cost.peak_bytes))

    def _for_entry(self, entry: MethodEntry) -> "SettingCosts":
        """Return the stage costs with an entry's own draft, if it has one."""
        if entry.draft is None:
            return self
        setting = self.setting.for_entry(entry)
        return replace(self, setting=setting, draft=_draft_shape(setting, self.target))

    def _cost(self, node: Node, entry: MethodEntry) -> Cost:
        match node.stage:
            case "responses":
                return self._responses(node)
            case "features":
                return self._features(node)
            case "target":
                return self._fine_tuning()
            case "init":
                return self._init(node)
            case "draft" if "trials" not in node.settings:  # a choice among drafts costs nothing
                return self._draft(entry)
            case "scores":
                return self._scores(self.setting.method_of(entry), node)
            case "likelihoods":
                return self._forward(self._model_shape(node), self.gold["test"])
            case "decodes":
                return self._decodes(node, self.setting.method_of(entry))
            case "parts":
                return self._parts(node.settings, self.setting.method_of(entry))
            case _:
                return Cost()

    def load(self, texts: Node) -> Load:
        """Return the load of a stage of texts."""
        split = self.splits.get(texts.settings["rows"], "test")
        if texts.settings["source"] != "model":
            return self.gold[split]
        load = self.written(split)
        samples = self.setting.recipe.evaluation.samples
        if samples and "count" in texts.settings:
            share = min(1.0, (samples.prompts or load.rows) / load.rows)
            load = load.scaled(share * samples.count)
        return load

    def written(self, split: Split) -> Load:
        """Return the load of a model's responses: as long as gold answers, up to the limit."""
        return as_written(self.gold[split], self.setting.max_new_tokens)

    def _forward(self, shape: Shape, load: Load, **options: Any) -> Cost:
        return estimates.forward_cost(shape, load, self.gpu, **options)

    def _generation(self, shape: Shape, load: Load, rows: int, dtype: str = "float32") -> Cost:
        limit = self.setting.max_new_tokens
        options: Any = {"rows_per_batch": rows, "dtype": dtype}
        return estimates.generation_cost(shape, load, limit, self.gpu, **options)

    def _model_shape(self, node: Node) -> Shape:
        """Return the shape of the model that a stage runs."""
        return self.draft if node.inputs["model"].stage == "draft" else self.target

    def _responses(self, node: Node) -> Cost:
        """Return the cost of texts; zero for those that no model writes."""
        if node.settings["source"] != "model":
            return Cost()
        rows = node.settings.get("batch_size", ROWS_PER_BATCH)  # of vLLM
        dtype = node.settings.get("dtype", "float32")
        return self._generation(self._model_shape(node), self.load(node), rows, dtype)

    def _features(self, node: Node) -> Cost:
        """Return the cost of the target's hidden states, of one layer or several."""
        load, every = self.load(node.inputs["texts"]), node.settings["positions"] == "all"
        layers = len(node.settings["layers"])
        positions = layers * load.read_tokens if every else load.response_tokens
        disk_bytes = estimates.hidden_state_bytes(self.target, positions, node.settings["dtype"])
        return replace(self._forward(self.target, load, head=False), disk_bytes=disk_bytes)

    def _draft_shape(self, method: Method) -> Shape:
        if isinstance(method, SizedMethod):
            return method.draft_shape(self.target, _config(self.setting))
        if isinstance(method, FeatureMethod):
            return shapes.head_shape(self.target, len(method.layers(self.target.layers)))
        return self.draft

    def _fine_tuning(self) -> Cost:
        pair, fine_tune = self.setting.pair, self.setting.pair.fine_tune
        assert fine_tune is not None
        run = TrainingRun(fine_tune.passes, fine_tune.rows_per_batch)
        options: Any = {"dtype": pair.dtype, "memory": _memory(fine_tune)}
        shape = self.target
        if fine_tune.lora:
            shape = _adapted(shape, fine_tune.lora, _config(self.setting))
        cost = training_cost(shape, self.gold["train"], run, self.gpu, **options)
        checks = self.gold["validation"].scaled(fine_tune.validations + 1)
        checking = self._forward(self.target, checks)
        if fine_tune.sharded:  # in parts as well
            checking = replace(checking, peak_bytes=0)
        return replace(cost + checking, disk_bytes=4 * self.target.parameters)

    def _init(self, node: Node) -> Cost:
        """Return the cost of fitting a head: the draft reads the text."""
        texts = node.inputs["texts"]
        load = self.load(texts if texts.stage == "responses" else texts.inputs["texts"])
        cost = self._forward(self.draft, load, head=False)
        if texts.stage == "responses":
            cost += self._forward(self.target, load, head=False)
        both = 4 * (self.target.parameters + self.draft.parameters)
        return replace(cost, peak_bytes=both, disk_bytes=4 * self.draft.parameters)

    def _draft(self, entry: MethodEntry) -> Cost:
        method = self.setting.method_of(entry)
        if method.kind == "training_free":
            return Cost()
        shape = self._draft_shape(method)
        # Both models are loaded in float32; later only the target's head stays, unless the text is
        # on-policy.
        cost = self._beside_target(4.0 * shape.parameters, 4)
        if method.trains:
            cost += self._training(method, entry)
        return replace(cost, disk_bytes=4 * shape.parameters)

    @property
    def _placed(self) -> bool:
        """True if the target is spread over devices."""
        return self.setting.pair.memory is not None

    def _beside_target(self, num_bytes: float, size: int) -> Cost:
        """Return the memory of some bytes and of the target's weights of `size` bytes."""
        held = float(size * self.target.parameters)
        return Cost(peak_bytes=held + num_bytes, spread_bytes=held if self._placed else 0.0)

    def _training(self, method: Method, entry: MethodEntry) -> Cost:
        training = training_of(self.setting, entry)
        written = "dataset" not in training.shares
        load = self.written("train") if written else self.gold["train"]
        live, dtype = training.shares.get("draft", 0.0), self.setting.pair.dtype
        options: Any = {"dtype": dtype, "target_head": self.target.head, "live": live}
        options["memory"] = _memory(training)
        cost, shape = Cost(), self._draft_shape(method)
        if training.lora:
            shape = _adapted(shape, training.lora, _draft_config(self.setting))

        def cost_of(run: TrainingRun) -> Cost:
            return training_cost(shape, load, run, self.gpu, **options)

        settings_runs = runs_of(method, training)
        training_runs = runs_within(
            training.budget, settings_runs, load, lambda run: cost_of(run).flops
        )
        checks = self.written("validation").scaled(training.validations + 1)
        for run in training_runs:
            cost += cost_of(run) + self._forward(shape, checks)
        trained = cost.peak_bytes
        if live:  # the target stays in memory, and reads the draft's texts
            passes = sum(run.passes for run in training_runs)
            reading = self._forward(self.target, load.scaled(passes * live), dtype=dtype)
            cost += replace(reading, peak_bytes=0) + self._beside_target(trained, SIZES[dtype])
        if training.reads_live:
            states = self.training_states(method, training)
            passes = sum(run.passes for run in training_runs)
            planned = sum(run.passes for run in settings_runs)
            cost += self._live_reading(states.live_flops * passes / planned, trained)
        return cost

    def _live_reading(self, flops: float, peak_bytes: float) -> Cost:
        """Return the cost of the target's states in the steps; the target stays in memory."""
        gpu_s = self.gpu.compute_s(flops, "float32")
        return replace(self._beside_target(peak_bytes, 4), flops=flops, gpu_s=gpu_s)

    def training_states(self, method: Method, training: Training) -> StateCosts:
        """Return what the target's states on a draft's training texts cost, stored or live."""
        return state_costs(self.setting, method, training, self.target, self.gold["train"])

    def _scores(self, method: Method, node: Node) -> Cost:
        load = self.load(node.inputs["features"].inputs["texts"])
        flops = 2 * self.target.head * load.response_tokens
        gpu_s = self.gpu.compute_s(flops, "float32")
        cost = Cost(flops=flops, peak_bytes=4 * self.target.parameters, gpu_s=gpu_s)
        if method.kind == "training_free":
            return cost
        shape = self._draft_shape(method)
        both = 4 * (self.target.parameters + shape.parameters)
        return replace(cost + self._forward(shape, load), peak_bytes=both)

    def _decodes(self, node: Node, method: Method) -> Cost:
        settings = node.settings
        dtype, batch = settings["dtype"], settings.get("batch_size", 1)
        load = self.written("test")
        prompts = settings["blocks"] * max(settings["prompts_per_block"], batch)
        load = load.scaled(2 * prompts / load.rows)
        # Two runs without the draft, and two with it. No drafted token is accepted: an upper bound.
        alone = self._generation(self.target, load, batch, dtype)
        if "draft" not in node.inputs:
            return alone + alone + alone + alone
        drafted = load.scaled(settings["num_speculative_tokens"])
        verification = self._forward(self.target, drafted, dtype=dtype)
        cost = alone + alone + replace(verification, gpu_s=0)
        if method.kind != "training_free":
            drafting = self._generation(self._draft_shape(method), drafted, batch, dtype)
            cost += replace(drafting, peak_bytes=alone.peak_bytes + drafting.peak_bytes)
        return cost

    def _parts(self, settings: Mapping[str, Any], method: Method) -> Cost:
        """Return the cost of the contexts of timed passes; the passes themselves are short.

        Every width of a pass has two contexts, taken for whole texts: an upper bound.
        """
        texts, widths = self.written("test"), settings["longest_block"] + 1
        forward = partial(self._forward, dtype=settings["dtype"])
        contexts = texts.scaled(2 * sum(settings["batch_sizes"]) / texts.rows)
        cost = forward(self.target, contexts.scaled(widths))
        if method.kind == "training_free":
            return cost
        drafted = forward(self._draft_shape(method), contexts)
        return replace(cost + drafted, peak_bytes=cost.peak_bytes + drafted.peak_bytes)


def _memory(settings: Optimisation) -> MemorySettings:
    """Return the settings of a training that decide its memory."""
    return MemorySettings(
        settings.processes,
        settings.rows_at_once,
        settings.gradient_checkpointing,
        settings.sharded,
    )


def _draft_shape(setting: Setting, target: Shape) -> Shape:
    """Return the shape of a setting's draft init."""
    pair, given = setting.pair, None
    if pair.draft.model is not None:
        folder = setting.init.existing_folder if setting.init else None
        given = _model_shape(pair.draft.model, folder)
    return shapes.draft_shape(pair.draft, target, given, _config(setting))


def _config(setting: Setting) -> dict[str, Any]:
    """Return the config of a setting's target."""
    return shapes.model_config(setting.pair.target, setting.target_as_given.existing_folder)


def _draft_config(setting: Setting) -> dict[str, Any]:
    """Return the config of a setting's draft init; a pruned one's has the target's layers."""
    init = setting.pair.draft
    if init.model is None:
        return {**_config(setting), **(init.random or {})}
    return shapes.model_config(init.model, setting.init.existing_folder if setting.init else None)


def _adapted(shape: Shape, lora: Lora, config: Mapping[str, Any]) -> Shape:
    """Return a shape with LoRA's adapters, which are in every layer."""
    of_config = count_adapter_weights(config, lora)
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    return replace(shape, adapters=of_config * shape.layers // layers)


def _model_shape(reference: str, folder: Path | None) -> Shape:
    """Return the shape of a model; raises UserError if it is unknown or its config lacks a size."""
    if folder is None:
        return shapes.model_shape(reference, None)
    with explained(folder / "config.json", FIX):
        return shapes.model_shape(reference, folder)
