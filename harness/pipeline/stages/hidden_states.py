"""The stages that store the target's hidden states on texts.

Drafts are trained and scored on final states at the supervised positions; feature heads read
several layers at every position as well. Their stage's label shows the bytes per token and a
plan the total, before anything is written; a stage refuses more than `data.max_features_gb`.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from draftmark.models import shapes
from draftmark.models.shapes import SIZES
from draftmark.pipeline.setting import Setting
from draftmark.pipeline.stages.texts import VLLM_CHILD, vllm_settings
from draftmark.speculation.interfaces import FeatureMethod
from draftmark.store.graph import Build, Job, Node
from draftmark.store.records import ENGINE, TEXTS, read_texts
from draftmark.store.store import write_json

if TYPE_CHECKING:
    from draftmark.models.hidden_states import Positions

_CONNECTOR = "draftmark.engines._vllm.states_connector"
_FINAL = (-1,)  # as in `models.hidden_states`, which loads torch


def final_states_node(setting: Setting, texts: Node, dtype: str = "bfloat16") -> Node:
    """Return the node of the target's final states at the supervised positions of texts."""
    label = f"target's hidden states on {texts.label}"
    return _hidden_states(setting, texts, _FINAL, "supervised", dtype, label)


def layer_states_node(
    setting: Setting, method: FeatureMethod, texts: Node, dtype: str = "bfloat16"
) -> Node:
    """Return the node of the layers that a method reads, at every position of texts."""
    base = setting.target_as_given
    shape = shapes.model_shape(setting.pair.target, base.existing_folder)
    layers = method.layers(shape.layers)
    label = (
        f"target's layers {', '.join(map(str, layers))} at every position of {texts.label}: "
        f"{len(layers) * shape.hidden * SIZES[dtype]} bytes a token"
    )
    return _hidden_states(setting, texts, layers, "all", dtype, label)


def _hidden_states(
    setting: Setting,
    texts: Node,
    layers: Sequence[int],
    positions: "Positions",
    dtype: str,
    label: str,
) -> Node:
    limit = setting.recipe.data.max_features_gb if positions == "all" else math.inf

    def build(job: Job) -> None:
        from draftmark.models.hidden_states import write_hidden_states
        from draftmark.models.language_model import load_model

        read = read_texts(job.inputs["texts"] / TEXTS)
        model = load_model(job.inputs["target"], setting.placement())
        with job.progress.step("reading", len(read)) as step:
            write_hidden_states(
                model,
                read,
                job.out,
                dtype=dtype,
                step=step,
                layers=layers,
                positions=positions,
                max_gigabytes=limit,
            )

    settings: dict[str, Any] = {"dtype": dtype, "layers": list(layers), "positions": positions}
    inputs = {"target": setting.target, "texts": texts}
    code: tuple[str, ...] = ("draftmark.models.hidden_states",)
    chosen: Build = build
    what = "hidden states" if layers == _FINAL else f"layers {', '.join(map(str, layers))}"
    if setting.recipe.features.engine == "vllm":
        settings |= {"engine": vllm_settings(setting.recipe.features)}
        code = (*code, "draftmark.engines._vllm.states", _CONNECTOR, VLLM_CHILD)
        label, chosen = f"{label}, read by vLLM", _build_in_vllm(setting, settings, limit)
    return Node(
        "features",
        label,
        settings,
        inputs,
        code,
        chosen,
        task=setting.task.name,
        action=f"read {what} of {texts.object}",
    )


def _build_in_vllm(setting: Setting, settings: Mapping[str, Any], limit: float) -> Build:
    """Return what lets vLLM read the states, with the settings that vLLM resolved."""

    def build(job: Job) -> None:
        from draftmark.engines._vllm.starting import NEED_OF_STATES, check_version
        from draftmark.engines._vllm.states import VllmReader
        from draftmark.models.hidden_states import write_hidden_states

        own = setting.recipe.features
        check_version(settings["engine"]["version"], NEED_OF_STATES)
        texts = read_texts(job.inputs["texts"] / TEXTS)
        place = setting.placement(own.dtype)
        reader = VllmReader.of_target(job.inputs["target"], place, own.batch_size, job.scratch)
        write = partial(write_hidden_states, reader, texts, job.out, read=VllmReader.read_states)
        chosen = {name: settings[name] for name in ("dtype", "layers", "positions")}
        with job.progress.step("reading", len(texts)) as step:
            write(step=step, max_gigabytes=limit, **chosen)
        write_json(job.out / ENGINE, reader.facts)

    return build
