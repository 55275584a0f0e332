"""Grouped attention: several heads of queries read one head of keys and values, without copies.

transformers repeats keys and values for every head of queries where a mask is given. torch's kernel
reads them in place and gives the same bits, on a CPU. A GPU's masked kernels do not read groups;
there the queries of a group become the rows of one head, if each text has a single query.

Legend: B batch, H head of queries, G head of keys, T query, K key, D size of a head.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

GROUPED, _OWN = "draftmark_grouped", "sdpa"


def group_heads(model: Any) -> None:
    """Set a transformers model to grouped attention, if its family can take it.

    A family can if it has grouped heads and computes its attention by transformers' interface with
    torch's kernel. Other families keep their own attention.
    """
    config = model.config
    heads = getattr(config, "num_key_value_heads", None)
    grouped = heads is not None and heads < config.num_attention_heads
    if grouped and model._supports_attention_backend and config._attn_implementation == _OWN:
        model.set_attn_implementation(GROUPED)


def has_torch_attention(model: Any) -> bool:
    """True if a transformers model computes its attention with torch's kernel, grouped or not."""
    return getattr(model.config, "_attn_implementation", None) in (_OWN, GROUPED)


def ungroup_heads(model: Any) -> None:
    """Set a transformers model back to the attention of its family."""
    if model.config._attn_implementation == GROUPED:
        model.set_attn_implementation(_OWN)


def grouped_attention(
    module: torch.nn.Module,
    query_BHTD: torch.Tensor,
    key_BGKD: torch.Tensor,
    value_BGKD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Return (the attention's output [B, T, H, D], None), as transformers' interface asks.

    Attention without a mask, with gradients, or with another bias is transformers' own.
    """
    on_cpu = query_BHTD.device.type == "cpu"
    plain = attention_mask is None or query_BHTD.requires_grad or options.get("dropout")
    biased = options.get("position_bias") is not None
    if plain or biased or not (on_cpu or query_BHTD.shape[2] == 1):
        own: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query_BHTD, key_BGKD, value_BGKD, attention_mask, **options
        )
        return own
    attend = _attend_in_groups if on_cpu else attend_folded
    output_BHTD = attend(query_BHTD, key_BGKD, value_BGKD, attention_mask, options.get("scaling"))
    return output_BHTD.transpose(1, 2).contiguous(), None


def _attend_in_groups(
    query_BHTD: torch.Tensor,
    key_BGKD: torch.Tensor,
    value_BGKD: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float | None,
) -> torch.Tensor:
    return scaled_dot_product_attention(
        query_BHTD, key_BGKD, value_BGKD, attn_mask=mask, scale=scale, enable_gqa=True
    )


def attend_folded(
    query_BH1D: torch.Tensor,
    key_BGKD: torch.Tensor,
    value_BGKD: torch.Tensor,
    mask_B11K: torch.Tensor | None,
    scale: float | None,
) -> torch.Tensor:
    """Return the output [B, H, 1, D] of one query a text; a group's queries are one head's rows."""
    texts, heads, _, size = query_BH1D.shape
    groups = key_BGKD.shape[1]
    rows = query_BH1D.reshape(texts, groups, heads // groups, size)
    output = scaled_dot_product_attention(
        rows, key_BGKD, value_BGKD, attn_mask=mask_B11K, scale=scale
    )
    return output.flatten(1, 2)[:, :, None]


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
