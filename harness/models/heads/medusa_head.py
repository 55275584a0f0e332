"""The weights of Medusa (Cai et al. 2024, arXiv 2401.10774): residual blocks, one stack for a slot.

Legend: T slot of the context, L layer, D hidden size, A anchor, K slot of a block.
"""

from typing import Any

import torch

from draftmark.models.heads.block_head import BlockContext, BlockModule, BlockShape


class MedusaModule(BlockModule):
    """Slot k maps the target's last state h to h + SiLU(W h), as often as there are layers."""

    def __init__(self, config: Any, shape: BlockShape, num_layers: int) -> None:
        super().__init__(config, shape)
        width = config.hidden_size
        self.stacks = torch.nn.ModuleList(
            torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(num_layers))
            for _ in range(shape.block_size)
        )
        for weight in self.stacks.parameters():
            torch.nn.init.zeros_(weight)

    def fuse(self, states_TLD: torch.Tensor) -> torch.Tensor:
        """Return the target's final state."""
        return states_TLD[:, -1]

    def extend(
        self, context: BlockContext, following_T: torch.Tensor, features_TD: torch.Tensor
    ) -> None:
        """Keep the features."""
        context.append(features_TD)

    def blocks(
        self,
        context: BlockContext,
        ids_A: torch.Tensor,
        anchors_A: torch.Tensor,
        drawn_AK: torch.Tensor,
    ) -> torch.Tensor:
        """Return the states [A, K, D] of the slots, each a function of the state before the anchor.

        The anchor itself is not read.
        """
        last_AD = context.at(anchors_A - 1)
        return torch.stack([_residual(stack, last_AD) for stack in self.stacks], dim=1)


def _residual(stack: Any, state_AD: torch.Tensor) -> torch.Tensor:
    for linear in stack:
        state_AD = state_AD + torch.nn.functional.silu(linear(state_AD))
    return state_AD
