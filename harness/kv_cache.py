"""A model with the KV cache of one text, which can be cut back.

Legend: B batch (1), T position, L layer, D hidden size.
"""

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from harness.models import LanguageModel


class CachedModel:
    """A model with the KV cache of one text: feed it what is new, cut back what was rejected.

    `states_TLD` is what some layers put out in the last feed, where any are asked for.
    """

    def __init__(self, model: LanguageModel, layers: Sequence[int] = ()) -> None:
        self.model = model
        self.layers = layers
        self.states_TLD = torch.empty(0)
        self.cache = DynamicCache(config=model.model.config)
        self.cache.activate_past_recording()  # sliding windows can be cut back only with it
        self.seen: list[int] = []

    def feed(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Return the hidden states [T, D] of `token_ids`, read after all that was seen."""
        ids_BT = torch.tensor([list(token_ids)], device=self.model.device)
        read = self.model.model.base_model(
            input_ids=ids_BT,
            past_key_values=self.cache,
            use_cache=True,
            output_hidden_states=bool(self.layers),
        )
        self.seen.extend(token_ids)
        if self.layers:
            self.states_TLD = torch.stack([read.hidden_states[k][0] for k in self.layers], dim=1)
        hidden_TD: torch.Tensor = read.last_hidden_state[0]
        return hidden_TD

    def keep(self, num_tokens: int) -> None:
        """Forget all but the first `num_tokens` tokens."""
        if self.seen:
            self.cache.crop(num_tokens - len(self.seen))
            del self.seen[num_tokens:]
