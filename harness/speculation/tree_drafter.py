"""A feature head that drafts a static tree instead of a chain.

Legend: T slot, L layer, D hidden size, K slot in the cache, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from draftmark.models.feature_head import FeatureHead
from draftmark.models.head_rollout import rolled
from draftmark.models.hidden_states import LiveStates, TargetLogits
from draftmark.speculation.head_drafter import FeatureHeadSession
from draftmark.speculation.tree_verification import ranked, score_tree
from draftmark.speculation.trees import Path, Tree
from draftmark.types import AcceptanceTable, Proposal, Sampler, Samplers, Text


class TreeSession(FeatureHeadSession):
    """A head with the KV cache of one text, which it extends by a tree in every round."""

    def __init__(
        self,
        head: FeatureHead,
        prompt_ids: Sequence[int],
        sampler: Sampler,
        generator: torch.Generator,
        tree: Tree,
    ) -> None:
        super().__init__(head, prompt_ids, sampler, generator)
        self._tree = tree

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return the tree's tokens down to a depth of `num_tokens`; none after a single token."""
        if len(token_ids) < 2 or not num_tokens:
            return Proposal(())
        tree = self._tree.cut(num_tokens)
        features: dict[Path, torch.Tensor] = {(): self._read(token_ids)}
        tokens: dict[Path, int] = {}
        seats: list[Path] = []  # whose slots follow the target's in the cache
        for depth in range(tree.depth):
            inner = [path for path in tree.children if len(path) == depth]
            if depth:
                features = self._grow(inner, tokens, features, seats)
            for path in inner:
                order_V = ranked(self._head.logits(features[path]))
                tokens |= {(*path, rank): int(order_V[rank]) for rank in tree.children[path]}
        return Proposal(tuple(tokens[path] for path in tree.paths), parents=tree.parents)

    def _grow(
        self,
        inner: Sequence[Path],
        tokens: dict[Path, int],
        features: dict[Path, torch.Tensor],
        seats: list[Path],
    ) -> dict[Path, torch.Tensor]:
        """Return the features [D] that follow some nodes of one depth, which get their slots."""
        device, depth = self._head.device, len(inner[0])
        seats += inner
        sees_TK = torch.tensor(
            [
                [True] * self._slots + [path[: len(seat)] == seat for seat in seats]
                for path in inner
            ],
            device=device,
        )
        hidden_TD = self._head.step(
            torch.tensor([[tokens[path] for path in inner]], device=device),
            torch.stack([features[path[:-1]] for path in inner])[None],
            torch.full((1, len(inner)), self._slots + depth - 1, device=device),
            sees_TK[None],
            self._cache,
        )[0]
        self._drafted += len(inner)
        return dict(zip(inner, hidden_TD, strict=True))


@dataclass(frozen=True)
class TreeDrafter:
    """A trained head that proposes a static tree; the draft's sampler does not matter to it."""

    head: FeatureHead
    tree: Tree

    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text: block length g is the tree down to depth g."""
        states = target.layer_states or LiveStates(target.target, self.head.model.shape.layers)
        for text, by_depth in rolled(self.head, texts, states, self.tree.depth):
            logits = map(self.head.logits, by_depth)
            yield score_tree(text, target, samplers.target, self.tree, logits)

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> TreeSession:
        """Return a session; the engine shows it the target's states."""
        return TreeSession(self.head, prompt_ids, sampler, generator, self.tree)
