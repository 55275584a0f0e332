"""Random models of published sizes: what rates and memory need, without a download."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from draftmark.models.files import own_models
from draftmark.models.language_model import LanguageModel, load_tokenizer, save_model
from draftmark.models.shapes import model_config

LAYERS_OF_SMALL = 2


def save_random_model(name: str, folder: Path, *, small: bool = False) -> Path:
    """Save a random model of a published size, or two narrow layers of it; return its folder."""
    values = model_config(name, None)
    if small:
        sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
        values |= sizes | {"intermediate_size": 96, "num_hidden_layers": LAYERS_OF_SMALL}
        values["vocab_size"] = 1024
    tokenizer = load_tokenizer(own_models()["tiny-target"])
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model(values.pop("model_type"), **values, **ends)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    save_model(LanguageModel(model, len(tokenizer)), tokenizer, folder)
    return folder
