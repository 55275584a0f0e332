"""Runs PyPI's speculators on an exported block head, in an interpreter that has it installed.

Usage: python speculators_blocks.py FOLDER. A folder in it holds a head in `head`, the name or the
JSON of a loss in `loss`, and in the safetensors file `inputs` token ids, states and the mask of
supervised tokens. The script writes the anchors, logits, targets and loss of one training pass of
speculators' model to `outputs`, and the model as speculators saves it to `saved`.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from speculators import SpeculatorModel
from speculators.losses import resolve_loss_config
from speculators.losses.eager import tv_loss
from speculators.models.dflash import core as dflash
from speculators.models.dspark import core as dspark
from speculators.models.peagle import core as peagle

KEPT: dict[str, torch.Tensor] = {}


def record(module: Any, name: str, keep: Any) -> None:
    """Call `keep` with the arguments and the result of a module's function."""
    own = getattr(module, name)

    def recorded(*args: Any, **kwargs: Any) -> Any:
        result = own(*args, **kwargs)
        keep(args, kwargs, result)
        return result

    setattr(module, name, recorded)


def keep_metrics(args: Any, kwargs: Any, _: Any) -> None:
    named = ("logits", "targets")
    KEPT.update({name: kwargs.get(name) for name in named if name in kwargs})
    KEPT.update(dict(zip(named, args, strict=False)))
    if len(args) > 3 and isinstance(args[3], torch.Tensor):  # DSpark's
        KEPT["confidence"], KEPT["mask"] = args[2], args[3]


def keep_anchors(_: Any, __: Any, result: Any) -> None:
    KEPT["anchors"], KEPT["depths"] = result[0], result[1].long()


def run(folder: Path) -> None:
    KEPT.clear()
    loss = (folder / "loss").read_text("utf-8")
    model = SpeculatorModel.from_pretrained(folder / "head", attn_implementation="eager").eval()
    model.save_pretrained(folder / "saved")
    given = load_file(folder / "inputs")
    limits = {name: int(given.pop(name)) for name in ("num_depths", "max_anchors")}
    options: dict[str, Any] = {"loss_config": resolve_loss_config(loss, "eager")}
    if model.config.speculators_model_type == "dspark":
        options["tv_loss_fn"] = tv_loss
    of_peagle = model.config.speculators_model_type == "peagle"
    name = "num_depths" if of_peagle else "max_anchors"
    torch.manual_seed(0)
    with torch.no_grad():
        _, total, _ = model(
            **given,
            document_ids=torch.zeros_like(given["input_ids"]),
            **{name: limits[name]},
            **options,
        )
    KEPT["loss"] = total
    kept = {name: value.detach().clone().contiguous() for name, value in KEPT.items()}
    save_file(kept, folder / "outputs")


if __name__ == "__main__":
    for core in (dflash, dspark, peagle):
        record(core, "compute_metrics", keep_metrics)
    record(dflash, "select_anchors", keep_anchors)
    record(peagle, "generate_cod_sample_indices", keep_anchors)
    for inputs in Path(sys.argv[1]).glob("*/inputs"):
        run(inputs.parent)
