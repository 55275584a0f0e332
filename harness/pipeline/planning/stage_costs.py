"""What each stage of a plan costs: its node, with the shapes and loads of its task and pair."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from draftmark.config.model_sections import Training
from draftmark.config.recipe import MethodEntry
from draftmark.models import shapes
from draftmark.models.shapes import Shape
from draftmark.pipeline.planning import estimates
from draftmark.pipeline.planning.estimates import Cost, Load
from draftmark.pipeline.planning.hardware import Machine
from draftmark.pipeline.planning.workloads import Workloads
from draftmark.pipeline.setting import ROWS_PER_BATCH, Setting
from draftmark.results import Cell
from draftmark.speculation.build_method import build_method
from draftmark.speculation.interfaces import FeatureMethod, Method, Planned
from draftmark.store.graph import Node
from draftmark.types import Split, TrainingRun


@dataclass(frozen=True)
class Site:
    """What the costs of a task and pair's stages follow from."""

    setting: Setting
    target: Shape
    draft: Shape
    loads: Workloads
    splits: Mapping[str, Split]  # by the digest of their rows
    machine: Machine

    @classmethod
    def of(cls, setting: Setting, machine: Machine) -> "Site":
        """Return the site of a setting; raises UserError for a model of unknown shape."""
        pair = setting.pair
        base = setting.target.inputs.get("target", setting.target)
        target = shapes.of_model(pair.target, base.existing_folder)
        given = None
        if pair.draft.model is not None:
            folder = setting.init.existing_folder if setting.init else None
            given = shapes.of_model(pair.draft.model, folder)
        config = shapes.config_of(pair.target, base.existing_folder)
        draft = shapes.of_draft(pair.draft, target, given, config)
        splits: dict[str, Split] = {rows.digest: split for split, rows in setting.rows.items()}
        return cls(
            setting, target, draft, Workloads.of(setting, base.existing_folder), splits, machine
        )

    def cost(self, node: Node, cell: Cell) -> Cost:
        """Return the cost of one of the cell's stages; none of what is there already."""
        if node.existing_folder or not node.inputs:
            return Cost()
        match node.stage:
            case "responses" if node.settings["source"] == "model":
                return self._responses(node)
            case "features":
                return self._features(node)
            case "target":
                return self._fine_tuning()
            case "draft":
                return self._draft(self.setting.recipe.method(cell.method))
            case "scores":
                return self._scores(build_method(self.setting.recipe.method(cell.method)), node)
            case "likelihoods":
                load = self.loads.gold["test"]
                return estimates.reading(self._model(node), load, self.machine)
            case "decodes":
                method = build_method(self.setting.recipe.method(cell.method))
                return self._decodes(node.settings, method if "draft" in node.inputs else None)
            case "parts":
                return self._parts(
                    node.settings, build_method(self.setting.recipe.method(cell.method))
                )
            case _:
                return Cost()  # tokenising, grading, asking a judge: no model runs here

    def load(self, texts: Node) -> Load:
        """Return the load of a stage of texts."""
        split = self.splits.get(texts.settings["rows"], "test")
        if texts.settings["source"] != "model":
            return self.loads.gold[split]
        load = self.loads.written(split)
        samples = self.setting.recipe.evaluation.samples
        if samples and "count" in texts.settings:
            share = min(1.0, (samples.prompts or load.rows) / load.rows)
            load = load.times(share * samples.count)
        return load

    def _model(self, node: Node) -> Shape:
        return self.draft if node.inputs["model"].stage == "draft" else self.target

    def _responses(self, node: Node) -> Cost:
        return estimates.writing(
            self._model(node),
            self.load(node),
            self.setting.max_new_tokens,
            self.machine,
            rows_per_batch=ROWS_PER_BATCH,
            dtype="float32",
        )

    def _features(self, node: Node) -> Cost:
        load = self.load(node.inputs["texts"])
        read = estimates.reading(self.target, load, self.machine, head=False)
        dtype = node.settings["dtype"]
        kept = estimates.feature_bytes(self.target, load.response, dtype)
        if layers := node.settings.get("layers"):
            kept = estimates.state_bytes(self.target, len(layers), load.read, dtype)
        return replace(read, disk_bytes=kept)

    def _shape(self, method: Method) -> Shape:
        """Return the shape of a method's draft."""
        if isinstance(method, FeatureMethod):
            return shapes.of_head(self.target, len(method.layers(self.target.layers)))
        return self.draft

    def _fine_tuning(self) -> Cost:
        pair, gold = self.setting.pair, self.loads.gold
        assert pair.fine_tune is not None
        course = TrainingRun(pair.fine_tune.passes, pair.fine_tune.rows_per_batch)
        steps = estimates.training(
            self.target, gold["train"], course, self.machine, dtype=pair.dtype
        )
        checks = gold["validation"].times(pair.fine_tune.validations + 1)
        checked = estimates.reading(self.target, checks, self.machine)
        return replace(steps + checked, disk_bytes=estimates.weight_bytes(self.target))

    def _draft(self, entry: MethodEntry) -> Cost:
        method, told = build_method(entry), self.setting.recipe.training_of(entry)
        if method.kind == "training_free":
            return Cost()
        shape = self._shape(method)
        # Loading holds both in float32; of the target only the head stays, unless it reads along.
        cost = Cost(peak_bytes=4 * (self.target.parameters + shape.parameters))
        if method.kind == "language_model" and self.setting.pair.draft.head == "fitted":
            cost += estimates.reading(self.draft, self.loads.gold["train"], self.machine)
        if method.trains:
            cost += self._training(method, told)
        return replace(cost, disk_bytes=estimates.weight_bytes(shape))

    def _training(self, method: Method, told: Training) -> Cost:
        own = TrainingRun(told.passes, told.rows_per_batch)
        training_runs = method.training_runs(own) if isinstance(method, Planned) else (own,)
        written = "dataset" not in told.shares
        load = self.loads.written("train") if written else self.loads.gold["train"]
        live, dtype = told.shares.get("draft", 0.0), self.setting.pair.dtype
        cost, shape = Cost(), self._shape(method)
        for course in training_runs:
            cost += estimates.training(
                shape,
                load,
                course,
                self.machine,
                dtype=dtype,
                target_head=self.target.head,
                live=live,
            )
            checks = self.loads.written("validation").times(told.validations + 1)
            cost += estimates.reading(shape, checks, self.machine)
            if live:  # the target reads along
                lessons = load.times(course.passes * live)
                cost += estimates.reading(self.target, lessons, self.machine, dtype=dtype)
        return cost

    def _scores(self, method: Method, node: Node) -> Cost:
        load = self.load(node.inputs["features"].inputs["texts"])
        laws = 2 * self.target.head * load.response
        cost = Cost(flops=laws, peak_bytes=4 * self.target.parameters)
        cost = replace(cost, gpu_s=self.machine.compute_s(laws, "float32"))
        if method.kind == "training_free":
            return cost
        shape = self._shape(method)
        drafted = estimates.reading(shape, load, self.machine)
        both = 4 * (self.target.parameters + shape.parameters)
        return replace(cost + drafted, peak_bytes=both)

    def _decodes(self, told: Mapping[str, Any], method: Method | None) -> Cost:
        limit, dtype = self.setting.max_new_tokens, told["dtype"]
        together = told.get("batch_size", 1)
        load = self.loads.written("test")
        prompts = told["blocks"] * max(told["prompts_per_block"], together)
        load = load.times(2 * prompts / load.rows)
        # Twice alone, and twice with a draft of which nothing is accepted: an upper bound.
        alone = estimates.writing(
            self.target, load, limit, self.machine, rows_per_batch=together, dtype=dtype
        )
        if method is None:
            return alone + alone + alone + alone
        many = load.times(told["num_speculative_tokens"])
        verified = estimates.reading(self.target, many, self.machine, dtype=dtype)
        cost = alone + alone + replace(verified, gpu_s=0)
        if method.kind != "training_free":
            drafted = estimates.writing(
                self._shape(method), many, limit, self.machine, rows_per_batch=together, dtype=dtype
            )
            cost += replace(drafted, peak_bytes=alone.peak_bytes + drafted.peak_bytes)
        return cost

    def _parts(self, told: Mapping[str, Any], method: Method) -> Cost:
        """Return the cost of the contexts that parts are timed after; their own passes are short.

        Every width of a pass has two contexts, taken for whole texts: an upper bound.
        """
        texts, widths = self.loads.written("test"), told["longest_block"] + 1
        once = texts.times(2 * sum(told["batch_sizes"]) / texts.rows)
        cost = estimates.reading(self.target, once.times(widths), self.machine, dtype=told["dtype"])
        if method.kind == "training_free":
            return cost
        drafted = estimates.reading(self._shape(method), once, self.machine, dtype=told["dtype"])
        return replace(cost + drafted, peak_bytes=cost.peak_bytes + drafted.peak_bytes)
