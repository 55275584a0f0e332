"""Quantised models, which are targets only: their scheme, and the packages that load them.

transformers loads them as they are, in the target's dtype. FP8 weights are dequantised on loading,
on every machine alike: transformers' kernels for them are code of the hub. No torch at module
level, because plans import this module.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.models.token_ids import read_config
from draftmark.text import printable_text

# The distributions that transformers needs, by method; the import names are those of `_IMPORTED`.
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "compressed-tensors": ("compressed-tensors",),
    "gptq": ("gptqmodel", "optimum"),
    "awq": ("gptqmodel",),
    "fp8": (),
    "bitsandbytes": ("bitsandbytes",),
}
_IMPORTED = {"compressed-tensors": "compressed_tensors"}
_ENDS = ("lm_head.", "embed_out.", "model.embed_tokens.")
_PLAIN = (".weight", ".bias")


def quantisation(directory: Path) -> dict[str, Any] | None:
    """Return the quantisation settings of a model's folder; None for ordinary weights.

    Raises UserError for a method that draftmark does not load.
    """
    config = read_config(directory / "config.json")
    settings = config.get("quantization_config") or config.get("quantization")
    if not settings:
        return None
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    if method not in PACKAGES:
        named = printable_text(str(method), 40) if method else "see its config.json"
        raise UserError(
            f"{directory} holds quantised weights ({named}), which draftmark does not load; it "
            f"loads {', '.join(PACKAGES)}. Name the model that they were made from, or dequantise "
            "them and save the result with save_pretrained."
        )
    return dict(settings)


def describe_quantisation(directory: Path) -> str:
    """Return the scheme of a quantised model in words, such as "gptq, 4 bits"; else ""."""
    settings = quantisation(directory)
    if settings is None:
        return ""
    groups = settings.get("config_groups")
    first: Any = next(iter(groups.values()), {}) if isinstance(groups, dict) else {}
    weights, read = first.get("weights") or {}, first.get("input_activations") or {}
    size = settings.get("group_size") or weights.get("group_size")
    bits = settings.get("bits") or weights.get("num_bits") or _bits_of_bitsandbytes(settings)
    facts = (
        settings["quant_method"],
        settings.get("format"),
        f"{bits} bits" if bits else None,
        f"groups of {size}" if size and size != -1 else None,
        settings.get("bnb_4bit_quant_type") if settings.get("load_in_4bit") else None,
        f"activations of {read['num_bits']} bits" if read.get("num_bits") else None,
    )
    return printable_text(", ".join(str(fact) for fact in facts if fact), 100)


def _bits_of_bitsandbytes(settings: Mapping[str, Any]) -> int | None:
    if settings.get("load_in_4bit"):
        return 4
    return 8 if settings.get("load_in_8bit") or settings["quant_method"] == "fp8" else None


def missing_packages(method: str) -> tuple[str, ...]:
    """Return the distributions that a method needs and this environment lacks."""
    return tuple(
        name
        for name in PACKAGES[method]
        if importlib.util.find_spec(_IMPORTED.get(name, name)) is None
    )


def check_packages(directory: Path) -> None:
    """Raise UserError, with the command, if packages that load a quantised model are missing."""
    settings = quantisation(directory)
    missing = missing_packages(settings["quant_method"]) if settings else ()
    if missing:
        raise UserError(
            f"{directory} is quantised ({describe_quantisation(directory)}), and loading it needs "
            f"packages that are not installed; run `pip install {' '.join(missing)}`."
        )


def check_ends(directory: Path, headers: Mapping[str, Mapping[str, object]]) -> None:
    """Raise UserError if embedding or output head is quantised: losses and heads read them."""
    for header in headers.values():
        for name in header:
            if name.startswith(_ENDS) and not name.endswith(_PLAIN):
                raise UserError(
                    f"{directory} has a quantised embedding or output head ({name}), which losses "
                    "and heads read as they are; name a quantised model that leaves them out."
                )


def check_untrained(directory: Path | None, what: str, fix: str) -> None:
    """Raise UserError if a model that trains, or whose layers would, is quantised."""
    if directory is not None and (scheme := describe_quantisation(directory)):
        raise UserError(
            f"{directory} is quantised ({scheme}), and {what}: quantised weights are for reading "
            f"only, as a target. {fix}"
        )


def loading_options(directory: Path) -> dict[str, Any]:
    """Return transformers' options that load a quantised model; none for ordinary weights."""
    settings = quantisation(directory)
    if settings is None or settings["quant_method"] != "fp8":
        return {}
    from transformers import FineGrainedFP8Config

    kept = settings.get("modules_to_not_convert")
    return {
        "quantization_config": FineGrainedFP8Config(dequantize=True, modules_to_not_convert=kept)
    }
