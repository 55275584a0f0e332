"""Seeded logits for tests of losses, and gradients with respect to the draft's logits."""

from collections.abc import Callable

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def logits(
    seed: int, rows: int = 5, words: int = 11, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    return 3 * torch.randn(rows, words, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def log_of(*rows: tuple[float, ...]) -> torch.Tensor:
    """Return the logits of rows of probabilities; a probability of 0 is a logit of -inf."""
    return torch.tensor(rows, dtype=torch.float64).log()


def gradient(loss: Loss, draft: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    leaf = draft.detach().clone().requires_grad_()
    loss(leaf, target).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def padded(rows: torch.Tensor, words: int = 3) -> torch.Tensor:
    """Return the logits with `words` impossible tokens appended, as of a padded vocabulary."""
    return torch.nn.functional.pad(rows, (0, words), value=-torch.inf)


def through_the_softmax(slope: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Return the gradient with respect to the logits, from that with respect to q."""
    return q * (slope - (q * slope).sum(-1, keepdim=True))
