"""The stage of a target's layer states, for methods whose draft reads the target's features.

As in `stages`, a function makes a node. Its label says what it will take on disk, before anything
is written; the stage itself refuses what is more than `data.max_features_gb`.
"""

from collections.abc import Sequence

from harness.graph import Job, Node
from harness.model_files import config_of, num_layers, resolve
from harness.progress import Progress
from harness.protocols import FeatureMethod, Method
from harness.records import TEXTS, read_texts, training_states
from harness.stages import Setting
from harness.types import Example, Split

_BYTES = {"float32": 4, "bfloat16": 2}


def inputs(
    setting: Setting, method: Method, nodes: dict[str, Node], splits: dict[str, Split]
) -> dict[str, Node]:
    """Return the nodes of the states that a method reads of the texts behind feature nodes.

    `nodes` are inputs of a draft by name, `splits` whose rows those of them are that it reads.
    """
    if not isinstance(method, FeatureMethod):
        return {}
    return {
        training_states(name): states(setting, method, nodes[name].inputs["texts"], split)
        for name, split in splits.items()
    }


def states(
    setting: Setting, method: FeatureMethod, texts: Node, split: Split, dtype: str = "bfloat16"
) -> Node:
    """Return the node of what the layers that a method reads put out, at every position."""
    directory = resolve(setting.pair.target, Progress(quiet=True))
    layers = method.layers(num_layers(directory))
    limit = setting.recipe.data.max_features_gb

    def build(job: Job) -> None:
        from harness.models import load_model
        from harness.states import write_states

        read = read_texts(job.inputs["texts"] / TEXTS)
        model = load_model(job.inputs["target"], setting.placement())
        with job.progress.step("reading", len(read)) as step:
            write_states(model, read, layers, job.out, dtype=dtype, limit=limit, step=step)

    config = config_of(directory)
    per_token = len(layers) * config["hidden_size"] * _BYTES[dtype]
    gold = texts.settings["source"] == "dataset"
    most = per_token * _most_tokens(setting, setting.rows[split].examples, gold=gold)
    label = (
        f"target's layers {', '.join(map(str, layers))} at every position of {texts.label}: "
        f"{per_token} bytes a token, at most {most / 1e9:.3g} GB"
    )
    inputs = {"target": setting.target, "texts": texts}
    settings = {"dtype": dtype, "layers": list(layers)}
    return Node("features", label, settings, inputs, ("harness.states",), build)


def _most_tokens(setting: Setting, examples: Sequence[Example], *, gold: bool) -> int:
    """Return a bound on the tokens of texts: no token is shorter than a byte of what is said."""
    return sum(
        sum(len(turn["content"].encode()) for turn in example.messages)
        + (len(example.reference.encode()) if gold else setting.max_new_tokens)
        for example in examples
    )
