"""Divergences of a draft's law from its target's, per token: [N, V] logits in, [N] out.

Forward KL is KL(target || draft): the mean over the target's law. All in float32.
Legend: N supervised position, V vocabulary.
"""

import torch


def forward_kl(
    draft_logits_NV: torch.Tensor, target_logits_NV: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Return KL(target || draft) [N], in nats, of the laws at `temperature`.

    Times temperature squared, so that the gradient does not shrink with it (Hinton et al. 2015,
    arXiv 1503.02531, section 2.1).
    """
    log_p_NV = torch.log_softmax(target_logits_NV.float() / temperature, dim=-1)
    log_q_NV = torch.log_softmax(draft_logits_NV.float() / temperature, dim=-1)
    kl_N = (log_p_NV.exp() * (log_p_NV - log_q_NV)).sum(-1)
    return kl_N * temperature**2


def cross_entropy(draft_logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Return -log of the draft's probability of each label [N], in nats."""
    return torch.nn.functional.cross_entropy(draft_logits_NV.float(), labels_N, reduction="none")


def overlap(draft_probs_NV: torch.Tensor, target_probs_NV: torch.Tensor) -> torch.Tensor:
    """Return the sum of min(p, q) [N]: one minus the total variation distance, exactly 1 if p is q.

    It is the chance that a token drawn from the draft's law is accepted (Leviathan et al. 2023,
    arXiv 2211.17192, theorem 3.5).
    """
    distance_N = (target_probs_NV - draft_probs_NV).abs().sum(-1) / 2
    return 1 - distance_N
