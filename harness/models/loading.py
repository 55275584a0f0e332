"""Loads all of a model's weights, or refuses: the library fills what is missing at random."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from draftmark.errors import UserError
from draftmark.models.quantised import check_packages, loading_options

# Tables that are computed from the config; old files hold them beside the weights.
_COMPUTED = re.compile(r"inv_freq$|rotary_emb\.\w+_cached$|(?:attn|attention)\.(?:masked_)?bias$")
NONE: Mapping[str, Sequence[Sequence[int]]] = MappingProxyType({})
_SHOWN = 3  # names of a sentence


def load_whole(directory: Path, dtype: str, *, trust_remote_code: bool, **placement: Any) -> Any:
    """Return the transformers model of a folder, in evaluation mode.

    Raises UserError if tensors are missing, unexpected, of another shape or tied to an unlike one,
    if the library does not know the model, or if the model needs its own code and that is
    forbidden.
    """
    check_packages(directory)
    with explain_loading(directory), _quiet():
        model, info = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported, and refused here
            **loading_options(directory),
            **placement,
        )
    check_whole(
        directory,
        list(model.state_dict()),
        info["missing_keys"],
        info["unexpected_keys"],
        {name: shapes for name, *shapes in info["mismatched_keys"]},
    )
    _check_tied(directory, model)
    vars(model.config).pop("quantization_config", None)  # drafts are made from this config
    return model.eval()


@contextmanager
def explain_loading(directory: Path, part: str = "") -> Iterator[None]:
    """Turn the library's exceptions about a folder, or a `part` of it, into UserErrors.

    A malformed config makes the library raise anything: TypeError, KeyError, or a class of its own.
    """
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{directory} comes with code of its own, which would run with your rights; read "
                "it, then set trust_remote_code = true in the pair, or take another model."
            ) from error
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{part}{directory} cannot be loaded by transformers ({type(error).__name__}: "
            f"{reason}); check the model's folder, or take another model."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the libraries' reports on loading: what is raised, and what a placement asked for."""
    placing = logging.getLogger("accelerate.big_modeling")
    before = transformers_logging.get_verbosity(), placing.level
    transformers_logging.set_verbosity_error()
    placing.setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before[0])
        placing.setLevel(before[1])


def check_whole(
    directory: Path,
    expected: Sequence[str],
    missing: Iterable[str],
    unexpected: Iterable[str],
    mismatched: Mapping[str, Sequence[Sequence[int]]] = NONE,
) -> None:
    """Raise UserError, with the first names and the fix, if weights did not load by their names.

    `mismatched` maps a name to its shape in the file and the shape that the config asks for.
    """
    absent = sorted(set(missing) - set(mismatched))
    extra = sorted(name for name in unexpected if not _COMPUTED.search(name))
    if not absent and not extra and not mismatched:
        return
    faults = []
    if absent:
        faults.append(f"{len(absent)} of {len(expected)} weights are missing ({_first(absent)})")
    if mismatched:
        name, (found, wanted) = sorted(mismatched.items())[0]
        shapes = f"{name} is {tuple(found)}, not {tuple(wanted)}"
        faults.append(f"{len(mismatched)} of {len(expected)} have another shape ({shapes})")
    if extra:
        faults.append(f"{len(extra)} tensors belong to no weight ({_first(extra)})")
    raise UserError(
        f"{directory} does not load whole: {'; '.join(faults)}. {_fix(expected, absent, extra)}"
    )


def _check_tied(directory: Path, model: Any) -> None:
    """Raise UserError if the files have two values of weights that the config ties.

    transformers then reads both, and an engine such as vLLM one of them, as a copy of the model
    would have.
    """
    wanted = model.get_expanded_tied_weights_keys(all_submodels=True)
    for name in sorted(set(wanted) - set(model.all_tied_weights_keys)):
        raise UserError(
            f"{directory}: config.json ties {name} to {wanted[name]} (tie_word_embeddings), and "
            "the files have other values for each; set tie_word_embeddings = false in config.json, "
            f"or leave {name} out of the files."
        )


def _first(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _fix(expected: Sequence[str], absent: Sequence[str], extra: Sequence[str]) -> str:
    if added := next(_added_words(expected, extra), None) if absent else None:
        return (
            f"The names in its files have {added!r} more, as a wrapper's do: save the model inside "
            "the wrapper with save_pretrained."
        )
    if list(absent) == ["lm_head.weight"]:
        return (
            "If its head is its embedding, set tie_word_embeddings = true in config.json; else "
            "copy or download the model again."
        )
    return (
        "Its config.json belongs to another model, or files are missing: copy or download the "
        "model again."
    )


def _added_words(expected: Sequence[str], extra: Sequence[str]) -> Iterator[str]:
    """Yield what a wrapper adds: words before an expected name, or one word within it."""
    known = frozenset(expected)
    for each in extra:
        words = each.split(".")
        for place, word in enumerate(words):
            if ".".join(words[place + 1 :]) in known:
                yield ".".join([*words[: place + 1], ""])
            if ".".join([*words[:place], *words[place + 1 :]]) in known:
                yield f"{word}."
