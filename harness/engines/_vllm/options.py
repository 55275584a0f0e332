"""vLLM's options: every setting that affects tokens, acceptance or speed, equal in both arms.

Only the draft differs between the arms. The settings that vLLM derives itself are reported by
`server.Server.facts`; both are stored with a measurement.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from draftmark.errors import Unsupported
from draftmark.models.context_length import context_length
from draftmark.models.shared_vocabulary import has_shared_vocabulary
from draftmark.speculation.interfaces import (
    EngineSettings,
    LookupMethod,
    Method,
    ParallelMethod,
    SuffixMethod,
)
from draftmark.types import Sampler

PROGRAM = Path(__file__).with_name("server.py")
_PREFILL_TOKENS = 8192  # of prompts that are read in one pass
_KV_BLOCK = 128  # tokens of a block of vLLM's cache, at most
_FULL_TEXTS = 8  # the cache holds this many texts of maximal length, or more shorter texts
_INTEL_OPENMP = Path(sys.prefix) / "lib" / "libiomp5.so"


def engine_options(
    target: Path, settings: EngineSettings, speculation: Mapping[str, Any] | None, max_len: int
) -> dict[str, Any]:
    """Return the arguments of vLLM's `LLM`; `max_len` is the longest text in tokens."""
    full = min(settings.batch_size, _FULL_TEXTS)
    return {
        "model": str(target),
        "dtype": settings.placement.dtype,
        "trust_remote_code": settings.placement.trust_remote_code,
        "seed": settings.seed,
        "max_model_len": max_len,
        "max_num_seqs": settings.batch_size,
        # A prompt is read in one pass, whatever is drafted for other prompts of its batch.
        "max_num_batched_tokens": max_len * full,
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,  # a prompt is decoded several times
        # Twice the target's need, so that a draft model fits; both arms get the same.
        "kv_cache_memory_bytes": 2 * full * max_len * _kv_bytes(target, settings.placement.dtype),
        "enforce_eager": True,  # no compilation, no CUDA graphs
        "async_scheduling": False,
        "tensor_parallel_size": 1,
        "generation_config": "vllm",  # ignores the sampler in the model's folder
        "skip_tokenizer_init": settings.stop is None,
        "disable_log_stats": False,
        "speculative_config": dict(speculation) if speculation else None,
        "per_request_spec_decode_metrics": "detailed" if speculation else "none",
    }


def writing_options(target: Path, settings: EngineSettings, max_len: int) -> dict[str, Any]:
    """Return the arguments of `LLM` for writing texts: the cache holds all that run at once."""
    token_bytes = _kv_bytes(target, settings.placement.dtype)
    return {
        **engine_options(target, settings, None, max_len),
        "max_num_batched_tokens": max(max_len, _PREFILL_TOKENS),
        "kv_cache_memory_bytes": settings.batch_size * (max_len + _KV_BLOCK) * token_bytes,
        "skip_tokenizer_init": False,  # later texts may have stop strings
    }


def reading_options(
    target: Path, settings: EngineSettings, max_len: int, layers: Sequence[int], folder: Path
) -> dict[str, Any]:
    """Return the arguments of `LLM` for reading: the outputs of `layers` go to files in `folder`.

    The cache's blocks hold keys and values of all layers, or outputs in the place of one layer's.
    vLLM rounds the tokens of the latter down, to half of what has room at worst.
    """
    shape, size = _config(target), _dtype_bytes(settings.placement.dtype)
    states = len(layers) * int(shape.hidden_size) * size
    token_bytes = _kv_bytes(target, settings.placement.dtype)
    token_bytes += 2 * int(shape.num_hidden_layers) * states
    full = min(settings.batch_size, _FULL_TEXTS)
    chosen = {"eagle_aux_hidden_state_layer_ids": list(layers)}
    return {
        **writing_options(target, settings, max_len),
        "kv_cache_memory_bytes": full * (max_len + 2 * _KV_BLOCK) * token_bytes,
        "skip_tokenizer_init": True,
        "speculative_config": {
            "method": "extract_hidden_states",
            "num_speculative_tokens": 1,
            "draft_model_config": {"hf_config": chosen},
        },
        "kv_transfer_config": {
            "kv_connector": "StatesConnector",
            "kv_connector_module_path": "draftmark_states_connector",
            "kv_role": "kv_producer",
            "kv_connector_extra_config": {
                "shared_storage_path": str(folder),
                "use_synchronization_lock": False,
            },
        },
    }


def max_positions(target: Path) -> int:
    """Return the context length in tokens of the model in a folder."""
    return context_length(_config(target).to_dict())


def head_rows(folder: Path) -> int:
    """Return the number of rows of the head of the model in a folder."""
    return int(_config(folder).get_text_config().vocab_size)


def check_equal_head_rows(target: Path, draft: Path) -> None:
    """Raise Unsupported for heads of unlike padding, which vLLM takes for two tokenizers."""
    rows = [head_rows(folder) for folder in (target, draft)]
    if rows[0] != rows[1]:
        raise Unsupported(
            f"vLLM runs a draft model only if its head has as many rows as the target's, not "
            f"{rows[1]} beside {rows[0]}; choose another speed.engine, or pad the draft's head."
        )


def _kv_bytes(target: Path, dtype: str) -> int:
    """Return the number of bytes of a token's keys and values in all layers."""
    config = _config(target)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    numbers = 2 * int(config.num_hidden_layers) * int(heads) * int(width)
    return numbers * _dtype_bytes(dtype)


def _dtype_bytes(dtype: str) -> int:
    import torch

    return int(getattr(torch, dtype).itemsize)


def _config(target: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(target, local_files_only=True)


def speculation_options(method: Method, draft: Path, settings: EngineSettings) -> dict[str, Any]:
    """Return vLLM's `speculative_config` for a draft in a folder that vLLM can load.

    Raises Unsupported for a draft that vLLM does not run, or does not sample as scoring assumes.
    """
    common = {
        "num_speculative_tokens": settings.num_speculative_tokens,
        "rejection_sample_method": _rejection_sampling(settings),
    }
    if isinstance(method, LookupMethod):
        ngrams = {"prompt_lookup_max": method.max_ngram, "prompt_lookup_min": method.min_ngram}
        return {"method": "ngram", **ngrams, **common}
    if isinstance(method, SuffixMethod):
        return {**_suffix_options(method), **common}
    sampling = _draft_sampling(settings.samplers.target, settings.samplers.draft)
    model = {"model": str(draft), "draft_sample_method": sampling, **common}
    if isinstance(method, ParallelMethod):
        model["parallel_drafting"] = True
    if method.kind == "language_model":
        return {"method": "draft_model", **model, **_vocabulary_options(draft, sampling)}
    if method.kind == "feature_head":
        return {**model, **_head_options(draft, settings)}
    raise Unsupported(
        f"vLLM does not run drafts of {type(method).__name__}; choose another speed.engine, or "
        "speed = false."
    )


def _suffix_options(method: SuffixMethod) -> dict[str, Any]:
    """Return vLLM's options; raises Unsupported without the package that has its suffix tree."""
    if importlib.util.find_spec("arctic_inference") is None:
        raise Unsupported(
            "vLLM runs suffix decoding with the package arctic-inference, which is not installed; "
            "run pip install arctic-inference, or choose another speed.engine."
        )
    return {
        "method": "suffix",
        "suffix_decoding_max_tree_depth": method.max_depth,
        "suffix_decoding_max_spec_factor": method.max_spec_factor,
        "suffix_decoding_min_token_prob": method.min_token_prob,
        "suffix_decoding_max_cached_requests": 0,  # a timed run repeats its prompts
    }


def _rejection_sampling(settings: EngineSettings) -> str:
    """Return vLLM's `rejection_sample_method`; raises Unsupported for block verification on a CPU.

    vLLM 0.32: `v1/sample/rejection_sampler.py` of the runner that a CPU has takes "block", and
    verifies token by token.
    """
    if settings.verification == "block" and settings.placement.device == "cpu":
        raise Unsupported(
            "On a CPU vLLM verifies token by token, even with rejection_sample_method = 'block', "
            "because its block verification needs Triton; set speed.verification = 'standard', or "
            "choose the reference engine."
        )
    return settings.verification


def _draft_sampling(target: Sampler, draft: Sampler) -> str:
    """Return vLLM's `draft_sample_method`: greedy, or the target's temperature without cuts."""
    if draft.temperature == 0:
        return "greedy"
    if draft == Sampler(target.temperature):
        return "probabilistic"
    raise Unsupported(
        f"vLLM drafts at temperature 0, or at the target's ({target.temperature:g}) without top_k "
        f"and top_p, not by {draft.describe()}; set evaluation.draft = {{ temperature = 0 }}, or "
        "set top_k = 0 and top_p = 1 in it."
    )


def _vocabulary_options(draft: Path, sampling: str) -> dict[str, bool]:
    """Return the option of a draft with another tokenizer; raises Unsupported if it samples."""
    if not has_shared_vocabulary(draft):
        return {}
    if sampling != "greedy":
        raise Unsupported(
            "vLLM drafts greedily with a shared vocabulary; set evaluation.draft = "
            "{ temperature = 0 }, or choose the reference engine."
        )
    return {"use_heterogeneous_vocab": True}


def _head_options(directory: Path, settings: EngineSettings) -> dict[str, Any]:
    """Return the method of a head in a folder, and options that only its kind has.

    Raises Unsupported for a block length or a draft sampler that the kind does not allow.
    """
    config = json.loads((directory / "config.json").read_text("utf-8"))
    if config.get("model_type") == "medusa":
        if settings.samplers.draft.temperature:
            raise Unsupported(
                "vLLM drafts greedily with Medusa heads; set evaluation.draft = "
                "{ temperature = 0 }."
            )
        return {"method": "medusa", **_at_most(config["num_heads"], settings)}
    if "eagle_aux_hidden_state_layer_ids" not in config:
        slots = config.get("block_size")
        return {"method": "eagle"} if slots is None else _whole_block(config, slots, settings)
    if "mask_token_id" not in config:
        return {"method": "eagle3"}
    options = {"method": "eagle3", "parallel_drafting": True}
    return {**options, **_at_most(config["block_size"], settings)}


def _at_most(block_size: int, settings: EngineSettings) -> dict[str, int]:
    return {"num_speculative_tokens": min(block_size, settings.num_speculative_tokens)}


def _whole_block(config: Mapping[str, Any], slots: int, settings: EngineSettings) -> dict[str, Any]:
    """Return the method of a head whose slots see each other."""
    spark = "markov_rank" in config
    block_size = slots if spark else slots - 1
    if settings.num_speculative_tokens != block_size:
        raise Unsupported(
            f"vLLM would give a block of {settings.num_speculative_tokens} tokens other "
            f"distributions than the {block_size} that the head was trained with; set "
            f"evaluation.num_speculative_tokens = {block_size}, or the head's block_size."
        )
    return {"method": "dspark" if spark else "dflash"}


def sampling_options(settings: EngineSettings) -> dict[str, Any]:
    """Return the arguments of vLLM's `SamplingParams`, except the seed, which each prompt has."""
    sampler = settings.samplers.target
    return {
        "temperature": sampler.temperature,
        "top_k": sampler.top_k,
        "top_p": sampler.top_p,
        "max_tokens": settings.max_new_tokens,
        "ignore_eos": True,  # only `stop_token_ids` end a text
        "stop_token_ids": sorted(settings.end_tokens),
        "stop": list(settings.stop.strings) if settings.stop else [],
        "include_stop_str_in_output": True,
        "detokenize": settings.stop is not None,
    }


def without_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without this machine's folders, to be stored."""
    left_out = ("model", "LD_PRELOAD", "kv_transfer_config")
    kept = {name: value for name, value in options.items() if name not in left_out}
    if draft := kept.get("speculative_config"):
        kept["speculative_config"] = without_paths(draft)
    if "LD_PRELOAD" in options:
        kept["LD_PRELOAD"] = _INTEL_OPENMP.name
    return kept


def environment_variables(device: str, threads: int) -> dict[str, str]:
    """Return the variables that the engine's process gets in addition to this environment."""
    variables = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine runs in the child itself
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1",
    }
    if device == "cpu":
        variables |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(threads)}
        if _INTEL_OPENMP.exists():  # as vLLM's documentation recommends
            before = os.environ.get("LD_PRELOAD")
            variables["LD_PRELOAD"] = ":".join(filter(None, [str(_INTEL_OPENMP), before]))
    return variables
