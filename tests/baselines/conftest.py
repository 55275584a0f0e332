"""What methods train with here: few rows of gold answers and the tiny pair."""

from draftmark.contract.fixtures import context, few

__all__ = ["context", "few"]
