"""D-PACE: weights of drafted positions by what they add to the expected accepted length.

"D-PACE" (arXiv 2605.18810). A chain of K drafted tokens whose confidences are c_1 ... c_K is
expected to have sum over m of c_1 ... c_m tokens accepted. The gradient of that sum with respect to
log c_k is w_k = sum over m >= k of c_1 ... c_m, the weight of position k. Confidences are smoothed,
s = (1 - a) c + a with a = 0.5, so that a hopeless first token does not silence the rest.

The confidence of a token is the draft's probability of the text's token. Code of speculators
(`losses/utils.py` at 0.9.0) takes exp(-loss) of its cross-entropy, with the target's most likely
token as the label: the same on greedy text.

Legend: N supervised token, K depth, S start of a chain.
"""

import torch

from draftmark.training.batches import Batch

SMOOTHING = 0.5  # speculators' default `dpace_alpha`


def expected_length_weights(
    confidence_SK: torch.Tensor, valid_SK: torch.Tensor, smoothing: float = SMOOTHING
) -> torch.Tensor:
    """Return the weights [S, K] of the positions of chains; 0 where a chain has no token."""
    smooth_SK = (1 - smoothing) * confidence_SK + smoothing
    reach_SK = torch.where(valid_SK, smooth_SK, 1.0).cumprod(-1) * valid_SK
    weights_SK: torch.Tensor = reach_SK.flip(-1).cumsum(-1).flip(-1) * valid_SK
    return weights_SK


def confidence_by_depth(
    logits_NKV: torch.Tensor, target_NV: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """Return the draft's probability [N, K] of each supervised token at each depth."""
    log_q_NKV = logits_NKV.log_softmax(-1)
    labels_NK1 = batch.labels_N[:, None, None].expand(-1, logits_NKV.shape[1], 1)
    return log_q_NKV.gather(-1, labels_NK1)[..., 0].exp()


def weigh_depths(confidence_NK: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return D-PACE's weights [N, K] of tokens at depth k of the chains that start k tokens before.

    The batch must hold all tokens of its texts, in order.
    """
    num_tokens, depth = confidence_NK.shape
    depths_K = torch.arange(depth, device=confidence_NK.device)
    tokens_SK = torch.arange(num_tokens, device=confidence_NK.device)[:, None] + depths_K
    last_SK = tokens_SK.clamp(max=num_tokens - 1)
    valid_SK = (tokens_SK < num_tokens) & (batch.rows_N[last_SK] == batch.rows_N[:, None])
    weights_SK = expected_length_weights(confidence_NK[last_SK, depths_K], valid_SK)
    weights_NK = torch.zeros_like(confidence_NK)
    weights_NK[last_SK[valid_SK], depths_K.expand_as(last_SK)[valid_SK]] = weights_SK[valid_SK]
    return weights_NK
