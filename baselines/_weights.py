"""What the losses on logits have in common: whose law weighs the vocabulary."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

LAWS = ("target", "draft", "uniform")


def _checked(weight: Any) -> Any:
    """Return a weight; raises ValueError for what is none, with all that it may be."""
    if weight in LAWS or (isinstance(weight, float | int) and 0 <= weight <= 1):
        return weight
    raise ValueError(f"take one of {', '.join(LAWS)}, or the target's share of a mixture, 0 to 1")


# As `draftmark.training.logit_losses.Weight`, which would load torch.
Weight = Annotated[Literal["target", "draft", "uniform"] | float, BeforeValidator(_checked)]
