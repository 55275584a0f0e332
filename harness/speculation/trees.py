"""Static trees of drafted tokens: a fixed set of paths of ranks.

A node is the path of ranks that leads to it: (0, 2) is the third likeliest token after the
likeliest one. A block drafts all nodes of its tree, cut to the depth that the length limit allows.
No torch here, because recipes contain trees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from draftmark.types import MAX_GAMMA

Path = tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """The paths of all nodes, shorter paths first; raises ValueError if they are not a tree."""

    paths: tuple[Path, ...]

    def __post_init__(self) -> None:
        """Check that nodes are unique and have their parents."""
        if not self.paths or len(set(self.paths)) < len(self.paths):
            raise ValueError("a tree has at least one node, and no node twice")
        for path in self.paths:
            if not path or min(path) < 0:
                raise ValueError(f"{list(path)} is not a path; a path is a list of ranks from 0 on")
            if len(path) > 1 and path[:-1] not in self.paths:
                raise ValueError(f"{list(path)} is in the tree, but its parent is not")
        if self.depth > MAX_GAMMA:
            raise ValueError(f"the tree has depth {self.depth}; at most {MAX_GAMMA} can be scored")

    @classmethod
    def from_paths(cls, paths: Iterable[Sequence[int]]) -> "Tree":
        """Return the tree of paths in any order."""
        return cls(tuple(sorted(map(tuple, paths), key=lambda path: (len(path), path))))

    @cached_property
    def depth(self) -> int:
        """The number of tokens of the longest path."""
        return max(map(len, self.paths))

    @property
    def nodes(self) -> tuple[int, ...]:
        """The number of nodes down to depth 1, 2 ..."""
        return tuple(len(self.cut(depth).paths) for depth in range(1, self.depth + 1))

    @cached_property
    def children(self) -> dict[Path, list[int]]:
        """The ranks of each inner node's children; () is the text so far."""
        children: dict[Path, list[int]] = {}
        for path in self.paths:
            children.setdefault(path[:-1], []).append(path[-1])
        return children

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """The index of each node's parent, -1 for the text so far."""
        index = {path: number for number, path in enumerate(self.paths)}
        return tuple(index.get(path[:-1], -1) for path in self.paths)

    def cut(self, depth: int) -> "Tree":
        """Return the tree truncated to a depth of 1 or more."""
        return Tree(tuple(path for path in self.paths if len(path) <= depth))
