"""Static trees of drafted tokens: a fixed list of paths, whose nodes are the draft's likeliest.

A node is named by the ranks that lead to it: (0, 2) is the third likeliest token after the
likeliest one. A round drafts as deep as the tree is, or as its path if that ends in a leaf; nodes
aside are not counted. No torch here: recipes name trees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from draftmark.types import MAX_GAMMA

Path = tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """The paths of all nodes, shorter ones first. Raises ValueError for what is no tree."""

    paths: tuple[Path, ...]

    def __post_init__(self) -> None:
        """Check that every node has its parent, and stands once."""
        if not self.paths or len(set(self.paths)) < len(self.paths):
            raise ValueError("a tree has at least one node, and none twice")
        for path in self.paths:
            if not path or min(path) < 0:
                raise ValueError(f"{list(path)} is no path; a path is ranks from 0 on")
            if len(path) > 1 and path[:-1] not in self.paths:
                raise ValueError(f"{list(path)} is in the tree and its parent is not")
        if self.depth > MAX_GAMMA:
            raise ValueError(f"the tree is {self.depth} deep; at most {MAX_GAMMA} is scored")

    @classmethod
    def of(cls, paths: Iterable[Sequence[int]]) -> "Tree":
        """Return the tree of paths in any order."""
        return cls(tuple(sorted(map(tuple, paths), key=lambda path: (len(path), path))))

    @cached_property
    def depth(self) -> int:
        """How many tokens the longest path has."""
        return max(map(len, self.paths))

    @cached_property
    def children(self) -> dict[Path, list[int]]:
        """The ranks of each node's children; () is the text so far. Leaves are left out."""
        found: dict[Path, list[int]] = {}
        for path in self.paths:
            found.setdefault(path[:-1], []).append(path[-1])
        return found

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """The index of each node's parent, -1 for the text so far."""
        index = {path: number for number, path in enumerate(self.paths)}
        return tuple(index.get(path[:-1], -1) for path in self.paths)

    def cut(self, depth: int) -> "Tree":
        """Return the tree down to a depth of 1 or more."""
        return Tree(tuple(path for path in self.paths if len(path) <= depth))


def depths(parents: Sequence[int]) -> list[int]:
    """Return how deep each node is, 1 below the text; a parent stands before its children."""
    found: list[int] = []
    for parent in parents:
        found.append(1 if parent < 0 else found[parent] + 1)
    return found


def drafted_depth(parents: Sequence[int], path: Sequence[int]) -> int:
    """Return how deep a round drafted: as its path if that ends in a leaf, else as the tree."""
    last = path[-1] if path else -1
    return max(depths(parents), default=0) if last in parents else len(path)
