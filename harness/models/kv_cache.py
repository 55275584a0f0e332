"""A model with the KV cache of one text, which can be truncated.

Legend: B batch (1), T position, L layer, D hidden size.
"""

from collections.abc import Sequence

import torch

from draftmark.errors import UserError
from draftmark.models.growing_cache import growing_cache
from draftmark.models.language_model import LanguageModel


class CachedModel:
    """A model with the KV cache of one text: feed new tokens, drop rejected ones.

    `states_TLD` are the outputs of `layers` in the last feed.
    """

    def __init__(self, model: LanguageModel, layers: Sequence[int] = ()) -> None:
        self.model = model
        self.layers = layers
        self.states_TLD = torch.empty(0)
        self.cache = growing_cache(model.model.config)
        self.cache.activate_past_recording()  # needed to truncate sliding windows
        self.seen: list[int] = []

    def feed(self, token_ids: Sequence[int], parents: Sequence[int] | None = None) -> torch.Tensor:
        """Return the hidden states [T, D] of `token_ids`, read after all tokens in the cache.

        With `parents` the last tokens are a tree: a parent is the index of a node, or -1 for the
        text before the tree. Raises UserError for a tree if the model's attention has a window.
        """
        ids_BT = torch.tensor([list(token_ids)], device=self.model.device)
        read = self.model.model.base_model(
            input_ids=ids_BT,
            **(self._tree_inputs(len(token_ids), parents) if parents else {}),
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
        """Truncate the cache to the first `num_tokens` tokens."""
        if self.seen:
            self.cache.crop(num_tokens - len(self.seen))
            del self.seen[num_tokens:]

    def keep_nodes(self, num_tokens: int, nodes: Sequence[int]) -> None:
        """Keep the first `num_tokens` tokens and some nodes of the tree after them."""
        kept = [num_tokens + node for node in nodes]
        for layer in self.cache.layers:
            index = torch.tensor(kept, dtype=torch.long, device=layer.keys.device)
            tail = layer.keys.index_select(-2, index), layer.values.index_select(-2, index)
            layer.crop(num_tokens - len(self.seen))
            layer.update(*tail)
        self.seen = [*self.seen[:num_tokens], *(self.seen[index] for index in kept)]

    def _tree_inputs(self, num_tokens: int, parents: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return the attention mask and the positions of tokens that end in a tree."""
        if any(self.cache.is_sliding):
            raise UserError(
                f"{self.model.model.config.model_type!r} models cannot verify a tree, because "
                "their attention has a window; draft a chain."
            )
        seen, first = len(self.seen), len(self.seen) + num_tokens - len(parents)
        sees_TK = torch.ones(num_tokens, seen + num_tokens, dtype=torch.bool).tril(seen)
        positions = list(range(seen, first))
        for node, parent in enumerate(parents):
            row = sees_TK[num_tokens - len(parents) + node]
            row[first:] = False
            if parent >= 0:
                row[first:] = sees_TK[num_tokens - len(parents) + parent, first:]
            row[first + node] = True
            positions.append(positions[first - seen + parent] + 1 if parent >= 0 else first)
        dtype = self.model.model.dtype
        mask = torch.zeros(sees_TK.shape, dtype=dtype).masked_fill(~sees_TK, torch.finfo(dtype).min)
        device = self.model.device
        return {
            "attention_mask": mask[None, None].to(device),
            "position_ids": torch.tensor([positions], device=device),
        }
