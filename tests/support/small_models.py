"""Random models of the architectures that recipes name, at most a hundredth of their size.

Every weight, bias and norm is random. Heads have more rows than the tokenizer has tokens where the
named model's have, and attention groups its heads as there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import AutoConfig, AutoModelForCausalLM

from draftmark.models.files import own_models
from draftmark.models.language_model import LanguageModel, load_tokenizer, save_model
from draftmark.models.shapes import model_config, model_shape

HEAD_DIM, CONTEXT, WINDOW = 8, 1024, 8
END, PAD = 2, 0  # of the tiny target's tokenizer
SPREAD = 0.1  # of every weight: distributions peaked enough to distinguish drafts
# The tokens of a family's tokenizer, where its heads have more rows; a twentieth of them stays.
TOKENS = {"gpt_neox": 50277, "codegen": 50295, "phi": 50295, "qwen2": 151665}
PADDING = 1 / 20


def small_config(reference: str, tokens: int, layers: int) -> Any:
    """Return a small config, of that many layers, of the family of a model by its name.

    Raises UserError if the table of shapes lacks the model.
    """
    model_shape(reference, None)
    given = model_config(reference, None)
    heads = given.get("num_attention_heads") or given["n_head"]
    group = heads // given.get("num_key_value_heads", heads)  # of query heads on a key
    heads = group * max(1, 4 // group)
    padding = given["vocab_size"] - TOKENS.get(given["model_type"], given["vocab_size"])
    small: Mapping[str, int] = {
        **dict.fromkeys(("hidden_size", "n_embd"), heads * HEAD_DIM),
        **dict.fromkeys(("num_attention_heads", "n_head"), heads),
        **dict.fromkeys(("num_hidden_layers", "n_layer"), layers),
        **dict.fromkeys(("n_positions", "n_ctx"), CONTEXT),
        "num_key_value_heads": heads // group,
        "intermediate_size": 2 * heads * HEAD_DIM,
        "head_dim": 2 * HEAD_DIM,  # where it is given, it is not the width's part
        "rotary_dim": HEAD_DIM // 2,
        "vocab_size": tokens + round(padding * PADDING),
    }
    changed = {name: value for name, value in small.items() if name in given}
    changed |= {"bos_token_id": END, "eos_token_id": END, "pad_token_id": PAD}
    made = AutoConfig.for_model(given.pop("model_type"), **{**given, **changed})
    if getattr(made, "sliding_window", None):
        made.sliding_window = WINDOW
    return made


def save_small_model(reference: str, folder: Path, layers: int) -> str:
    """Save a small model of the family of a named one, unless the folder is there; return it.

    It has the tiny target's tokenizer. For a model of draftmark's own, its name is returned.
    """
    if reference in own_models():
        return reference
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            _save(reference, folder, layers)
    return str(folder)


def _save(reference: str, folder: Path, layers: int) -> None:
    tokenizer = load_tokenizer(own_models()["tiny-target"])
    config = small_config(reference, len(tokenizer), layers)
    save_model(LanguageModel(_random(config), len(tokenizer)), tokenizer, folder)


def _random(config: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * SPREAD)
    return model.eval()
