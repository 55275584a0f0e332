"""Copies of a model whose linear layers are quantised, and the same weights dequantised."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS, SIDE = "model.safetensors", 128  # of FP8's blocks
Tensors = dict[str, torch.Tensor]
INT8: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "channel",
                "dynamic": False,
            },
            "input_activations": None,
            "output_activations": None,
        }
    },
}
FP8: dict[str, Any] = {
    "quant_method": "fp8",
    "activation_scheme": "dynamic",
    "weight_block_size": [SIDE, SIDE],
    "modules_to_not_convert": ["lm_head"],
}


def mark(folder: Path, settings: dict[str, Any] | None) -> None:
    """Write the quantisation settings into a model's config."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))


def quantise(source: Path, folder: Path, method: str) -> tuple[Path, Path]:
    """Return the folders of a model with quantised linear layers, and of the same dequantised."""
    pack = {"compressed-tensors": _int8, "fp8": _fp8}[method]
    packed: Tensors = {}
    plain: Tensors = {}
    for name, value in load_file(source / WEIGHTS).items():
        if not name.endswith("_proj.weight"):
            packed[name] = plain[name] = value.float()
            continue
        tensors, plain[name] = pack(name, value.float())
        packed |= tensors
    made = folder / method, folder / "dequantised"
    for directory, weights in zip(made, (packed, plain), strict=True):
        shutil.copytree(source, directory)
        save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
    mark(made[0], {"compressed-tensors": INT8, "fp8": FP8}[method])
    return made


def _int8(name: str, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
    """Return integers packed by fours, with a scale for each row, and the rounded weight."""
    scale = (weight.abs().amax(1, keepdim=True) / 127).clamp(min=1e-8)
    rounded = (weight / scale).round()
    packed = (rounded + 128).to(torch.uint8).contiguous().view(torch.int32)
    tensors = {
        f"{name}_packed": packed,
        f"{name}_scale": scale,
        f"{name}_shape": torch.tensor(weight.shape),
    }
    return tensors, rounded * scale


def _fp8(name: str, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
    """Return E4M3 numbers with a scale for each block, and the rounded weight."""
    rows, columns = (-(-size // SIDE) for size in weight.shape)
    padded = torch.zeros(rows * SIDE, columns * SIDE)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    blocks = padded.view(rows, SIDE, columns, SIDE)
    scale = blocks.abs().amax((1, 3)).clamp(min=1e-8) / 448
    rounded = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
    whole = rounded.reshape(padded.shape)[: weight.shape[0], : weight.shape[1]].contiguous()
    spread = scale.repeat_interleave(SIDE, 0).repeat_interleave(SIDE, 1)
    plain = whole.float() * spread[: weight.shape[0], : weight.shape[1]]
    return {name: whole, f"{name}_scale_inv": scale}, plain
