"""Counts of everything that followed the last tokens of a text: the tree of suffix decoding.

Oliaro et al. 2024 (arXiv 2411.04975). A path from the root is a sequence of tokens, and its count
the number of times that it occurred. What is drafted after a text is the likeliest path below the
text's last tokens. The rules are those of https://github.com/snowflakedb/ArcticInference at 9d46438
(csrc/suffix_decoding), which vLLM imports, with its order among continuations of equal counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(eq=False, slots=True)
class _Node:
    token: int
    count: int = 0
    by_token: dict[int, "_Node"] = field(default_factory=dict)
    ranked: list["_Node"] = field(default_factory=list)  # by count, largest first

    def follow(self, token: int) -> "_Node":
        """Return the child with a token after adding 1 to its count."""
        child = self.by_token.get(token)
        if child is None:
            child = self.by_token[token] = _Node(token, 1)
            self.ranked.append(child)
        else:
            self._add_one(child)
        return child

    def _add_one(self, child: "_Node") -> None:
        """Add 1 to a child's count and move it up, before the head of the group before it."""
        place = self.ranked.index(child)
        before = self.ranked[place - 1].count if place else None
        child.count += 1
        if before is None or before > child.count:
            return
        head = next(index for index, node in enumerate(self.ranked) if node.count == before)
        self.ranked.insert(min(head, place), self.ranked.pop(place))


@dataclass(frozen=True)
class Continuation:
    """Drafted tokens, and the sum of their estimated probabilities, rounded as float32."""

    tokens: tuple[int, ...] = ()
    score: float = 0.0


class SuffixTree:
    """The tree of all token sequences of at most `depth` tokens in some texts."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._root = _Node(-1)
        self._ends: list[_Node] = []  # where the suffixes of the text being read end

    def start_text(self) -> None:
        """Begin another text: nothing in it follows what was read before."""
        self._ends = []

    def extend(self, tokens: Sequence[int]) -> None:
        """Read more tokens of the text."""
        for token in tokens:
            self._root.count += 1
            self._ends.append(self._root)
            self._ends = [node.follow(token) for node in self._ends[-self._depth :]]

    def best_continuation(
        self, last: Sequence[int], num_tokens: int, factor: float, min_prob: float
    ) -> Continuation:
        """Return the continuation of the highest score over all numbers of matching last tokens.

        A match of n tokens drafts at most n `factor` tokens, while the estimated probability of the
        path is at least `min_prob`. Of equal scores that of the longest match is returned.
        """
        best = Continuation()
        for length in range(1, min(len(last), self._depth)):
            node = self._find(last[-length:])
            if node is None:
                break
            most = min(num_tokens, int(length * factor + 1e-6))
            found = _likeliest_path(node, most, min_prob)
            if found.score >= best.score:
                best = found
        return best

    def _find(self, tokens: Sequence[int]) -> _Node | None:
        node: _Node | None = self._root
        for token in tokens:
            if node is None:
                return None
            node = node.by_token.get(token)
        return node


def _likeliest_path(node: _Node, num_tokens: int, min_prob: float) -> Continuation:
    tokens: list[int] = []
    # float32 as in the original, where rounding decides between equal scores
    score, prob, least = np.float32(0), np.float32(1), np.float32(min_prob)
    while len(tokens) < num_tokens and node.ranked:
        child = node.ranked[0]
        prob *= np.float32(child.count) / np.float32(node.count)
        if prob < least:
            break
        tokens.append(child.token)
        score += prob
        node = child
    return Continuation(tuple(tokens), float(score))
