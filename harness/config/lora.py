"""The section of a recipe on low-rank adapters."""

from typing import Annotated, Literal

from pydantic import Field

from draftmark.config.validation import Section


class Lora(Section):
    """Low-rank adapters that train in place of weights (Hu et al. 2022, arXiv 2106.09685).

    `modules`: the linear layers that have one, by the last part of their names, or "all-linear" for
    all but the output head; by default peft's for the family. The defaults are peft's. Rank 0
    trains the weights themselves.
    """

    rank: Annotated[int, Field(ge=0)] = 8
    alpha: Annotated[float, Field(gt=0)] = 8.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] | None = None


def without_rank_zero(lora: Lora | None) -> Lora | None:
    """Return the adapters; None for rank 0, which trains the weights themselves."""
    return lora if lora and lora.rank else None
