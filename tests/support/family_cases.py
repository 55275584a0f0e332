"""Tiny random models of every family that draftmark is tested with.

Every weight, bias and norm is random, so that one left out changes the result. The head has more
rows than the tokenizer has tokens, as Pythia, Phi and Qwen do.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from draftmark.models.language_model import LanguageModel, save_model

TOKENS, ROWS = 90, 96
END, END_WORD = 0, "<|endoftext|>"  # as in Qwen's tokenizers
CONTEXT = 64
LAYERS = 3
SPREAD = 0.3  # of every weight: distributions peaked enough to distinguish drafts

_GPT = {
    "vocab_size": ROWS,
    "n_embd": 32,
    "n_layer": LAYERS,
    "n_head": 4,
    "n_positions": CONTEXT,
    "bos_token_id": END,
    "eos_token_id": END,
}
_PLAIN = {
    "vocab_size": ROWS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": END,
    "eos_token_id": END,
    "pad_token_id": END,
}
_GROUPED = {**_PLAIN, "num_key_value_heads": 2}
_GEMMA = {**_GROUPED, "head_dim": 8}
_SLIDING = {**_GEMMA, "sliding_window": 8}

# Family -> (configuration class, values). Tied heads and biases as in its models.
FAMILIES: Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {
    "gpt2": (transformers.GPT2Config, _GPT),
    "gpt_neox": (transformers.GPTNeoXConfig, _PLAIN),
    "codegen": (transformers.CodeGenConfig, {**_GPT, "rotary_dim": 4}),
    "phi": (transformers.PhiConfig, _PLAIN),
    "llama": (transformers.LlamaConfig, _PLAIN),
    "qwen2": (transformers.Qwen2Config, {**_GROUPED, "tie_word_embeddings": True}),
    "qwen3": (transformers.Qwen3Config, {**_GEMMA, "tie_word_embeddings": False}),
    "gemma": (transformers.GemmaConfig, _GEMMA),
    "gemma2": (transformers.Gemma2Config, {**_SLIDING, "final_logit_softcapping": 4.0}),
    "gemma3_text": (transformers.Gemma3TextConfig, _SLIDING),
    "cohere": (transformers.CohereConfig, {**_GROUPED, "logit_scale": 0.5}),
    "granite": (transformers.GraniteConfig, {**_GROUPED, "logits_scaling": 2.0}),
}
TIED = {"gpt2", "qwen2", "gemma", "gemma2", "gemma3_text", "cohere"}
BIASED_HEADS = {"codegen", "phi"}


def save_family(family: str, directory: Path, *, letter: str = "w", **changes: Any) -> Path:
    """Save a tiny model of a family with the tokenizer of `letter`; return its folder."""
    configuration, values = FAMILIES[family]
    config = configuration(**{**values, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * SPREAD)
    save_model(LanguageModel(model.eval(), TOKENS), word_tokenizer(TOKENS, letter), directory)
    return directory


def word_tokenizer(size: int, letter: str = "w") -> PreTrainedTokenizerFast:
    """Return a tokenizer with an end token and the words w1, w2, ..."""
    words = {END_WORD: END, **{f"{letter}{index}": index for index in range(1, size)}}
    core = Tokenizer(models.WordLevel(words, unk_token=END_WORD))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END_WORD)
