"""The stage of a target's layer states, for methods whose draft reads the target's features.

As in `stages`, a function makes a node. Its label says how many bytes a token takes and a plan how
many there are, before anything is written; the stage itself refuses what is more than
`data.max_features_gb`.
"""

from collections.abc import Mapping

from draftmark.models import shapes
from draftmark.models.shapes import SIZES
from draftmark.pipeline.setting import Setting
from draftmark.speculation.interfaces import FeatureMethod, Method
from draftmark.store.graph import Job, Node
from draftmark.store.records import TEXTS, read_texts, training_states


def inputs(setting: Setting, method: Method, nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Return the nodes of the states that a method reads of the texts behind feature nodes."""
    if not isinstance(method, FeatureMethod):
        return {}
    return {
        training_states(name): states(setting, method, node.inputs["texts"])
        for name, node in nodes.items()
    }


def states(setting: Setting, method: FeatureMethod, texts: Node, dtype: str = "bfloat16") -> Node:
    """Return the node of what the layers that a method reads put out, at every position."""
    base = setting.target.inputs.get("target", setting.target)
    shape = shapes.of_model(setting.pair.target, base.existing_folder)
    layers = method.layers(shape.layers)
    limit = setting.recipe.data.max_features_gb

    def build(job: Job) -> None:
        from draftmark.models.language_model import load_model
        from draftmark.models.layer_states import write_states

        read = read_texts(job.inputs["texts"] / TEXTS)
        model = load_model(job.inputs["target"], setting.placement())
        with job.progress.step("reading", len(read)) as step:
            write_states(model, read, layers, job.out, dtype=dtype, limit=limit, step=step)

    per_token = len(layers) * shape.hidden * SIZES[dtype]
    label = (
        f"target's layers {', '.join(map(str, layers))} at every position of {texts.label}: "
        f"{per_token} bytes a token"
    )
    inputs = {"target": setting.target, "texts": texts}
    settings = {"dtype": dtype, "layers": list(layers)}
    return Node("features", label, settings, inputs, ("draftmark.models.layer_states",), build)
