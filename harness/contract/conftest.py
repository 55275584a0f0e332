"""Fixtures of the contract, where pytest looks for them."""

from draftmark.contract.fixtures import context, few, read_gold, target, tiny_directory, tokenizer

__all__ = ["context", "few", "read_gold", "target", "tiny_directory", "tokenizer"]
