"""A model with the KV cache of one text, which can be cut back.

Legend: B batch (1), T position, D hidden size.
"""

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from harness.models import LanguageModel


class CachedModel:
    """A model with the KV cache of one text: feed it what is new, cut back what was rejected."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.cache = DynamicCache(config=model.model.config)
        self.cache.activate_past_recording()  # sliding windows can be cut back only with it
        self.seen: list[int] = []

    def feed(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Return the hidden states [T, D] of `token_ids`, read after all that was seen."""
        ids_BT = torch.tensor([list(token_ids)], device=self.model.device)
        states = self.model.model.base_model(
            input_ids=ids_BT, past_key_values=self.cache, use_cache=True
        ).last_hidden_state
        self.seen.extend(token_ids)
        hidden_TD: torch.Tensor = states[0]
        return hidden_TD

    def keep(self, num_tokens: int) -> None:
        """Forget all but the first `num_tokens` tokens."""
        if self.seen:
            self.cache.crop(num_tokens - len(self.seen))
            del self.seen[num_tokens:]
