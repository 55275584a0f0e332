"""The connector that saves hidden states in vLLM's process, on a GPU or on a processor.

vLLM's `extract_hidden_states` keeps the outputs of layers in its cache. vLLM's own connector writes
them to files by CUDA streams, so it does not run without a GPU. This one copies them at once.
"""

from typing import Any

import torch
from safetensors.torch import save_file
from vllm.distributed.kv_transfer.kv_connector.v1 import example_hidden_states_connector as example


class StatesConnector(example.ExampleHiddenStatesConnector):  # type: ignore[misc]  # is Any
    """Writes a row's states to a file when the row has been read."""

    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:
        """Write the states of the rows that ended; return their names, as their blocks are free."""
        if not self.has_connector_metadata():
            return None, None
        saves = self._get_connector_metadata().pending_saves
        for each in saves:
            self._save(each)
        return {each.req_id for each in saves} or None, None

    def _save(self, pending: Any) -> None:
        """Write the states [T, L, D] and the ids [T] of a row."""
        size, cache = self._block_size, self._kv_cache
        blocks = torch.tensor(pending.block_ids)
        slots = (blocks[:, None] * size + torch.arange(size)).flatten().to(cache.device)
        states = example.extract_from_kv_cache(cache, slots, len(pending.token_ids))
        tensors = {"hidden_states": states.cpu().contiguous(), "token_ids": pending.token_ids}
        save_file(tensors, pending.filename)
