"""The drafter of a static tree by a feature head: it proposes, verifies and scores trees.

The children of a node are a fixed set. Given the target's distribution p after the node, one child
is accepted with probability sum p(child). EAGLE's code tries the children in order, accepting x
with probability p(x) and removing x from p after a rejection. That equals one draw from p: the
round continues at the child with the drawn token; if no child has it, it is the bonus token. At
temperature 0 the draw is the target's choice.

So, given a text that the target wrote, a node is passed if the text's token is among the children,
and the expected passes of a tree are exact at every temperature, like those of a chain.

Legend: T slot, D hidden size (depth in scoring), K slot in the cache, S start of a block, H text
or node, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_rollout import rolled_features
from draftmark.models.hidden_states import LiveStates, TargetLogits
from draftmark.models.sampling import draw_tokens, sampler_probs
from draftmark.speculation.head_drafter import FeatureHeadSession
from draftmark.speculation.trees import Path, Tree
from draftmark.store.acceptance_tables import Ints, deterministic
from draftmark.types import MAX_GAMMA, AcceptanceTable, Proposal, Sampler, Samplers, Text


@dataclass(eq=False)
class TreeSession(FeatureHeadSession):
    """A head with the KV cache of one text, which proposes a tree in every round."""

    tree: Tree = field(kw_only=True)

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return the tokens of the tree down to depth `num_tokens`; none for a one-token text."""
        if len(token_ids) < 2 or not num_tokens:
            return Proposal(())
        tree = self.tree.cut(num_tokens)
        features: dict[Path, torch.Tensor] = {(): self._read(token_ids)}
        tokens: dict[Path, int] = {}
        cached: list[Path] = []  # the nodes whose slots follow the target's in the cache
        for depth in range(tree.depth):
            inner = [path for path in tree.children if len(path) == depth]
            if depth:
                features = self._grow(inner, tokens, features, cached)
            for path in inner:
                order_V = rank_tokens(self.head.logits(features[path]))
                tokens |= {(*path, rank): int(order_V[rank]) for rank in tree.children[path]}
        return Proposal(tuple(tokens[path] for path in tree.paths), parents=tree.parents)

    def _grow(
        self,
        inner: Sequence[Path],
        tokens: dict[Path, int],
        features: dict[Path, torch.Tensor],
        cached: list[Path],
    ) -> dict[Path, torch.Tensor]:
        """Return the features [D] after the inner nodes of one depth, which join the cache."""
        device, depth = self.head.device, len(inner[0])
        cached += inner
        sees_TK = torch.tensor(
            [
                [True] * self._slots + [path[: len(node)] == node for node in cached]
                for path in inner
            ],
            device=device,
        )
        hidden_TD = self.head.step(
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
    """A trained head that proposes a static tree; it ignores the draft's sampler."""

    head: FeatureHead
    tree: Tree

    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text; a block of g tokens is the tree to depth g."""
        states = target.layer_states or LiveStates(target.target, self.head.model.shape.layers)
        for text, by_depth in rolled_features(self.head, texts, states, self.tree.depth):
            logits = map(self.head.logits, by_depth)
            table = score_tree(text, target, samplers.target, self.tree, logits)
            yield deterministic(table) if samplers.draft.temperature else table

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> TreeSession:
        """Return a session; the engine passes it the target's states."""
        return TreeSession(self.head, prompt_ids, sampler, generator, tree=self.tree)


def rank_tokens(logits: torch.Tensor) -> torch.Tensor:
    """Return the tokens [..., V] from the likeliest to the least likely, ties by id."""
    return logits.argsort(dim=-1, descending=True, stable=True)


def verify_tree(
    proposal: Proposal, p_HV: torch.Tensor, generator: torch.Generator
) -> tuple[list[int], int]:
    """Return (the path of accepted nodes, the token that follows it).

    The first row of p_HV is the target's distribution after the text, the others after each node.
    """
    assert proposal.parents is not None
    path: list[int] = []
    node = -1
    while True:
        token = int(draw_tokens(p_HV[node + 1], generator))
        children = (
            child
            for child, parent in enumerate(proposal.parents)
            if parent == node and proposal.token_ids[child] == token
        )
        if (child := next(children, None)) is None:
            return path, token
        path.append(node := child)


@torch.no_grad()
def score_tree(
    text: Text,
    target: TargetLogits,
    sampler: Sampler,
    tree: Tree,
    logits_by_depth: Iterable[torch.Tensor],
) -> AcceptanceTable:
    """Return the acceptance table of a text for a tree: 1 at depths where the tree has the token.

    `logits_by_depth` yields for each depth j the draft's logits [S, V] for the tokens s + j of the
    blocks that start at s = 0 ... N - j - 1. overlap_S is the target's total probability of the
    root's children.
    """
    p_NV = sampler_probs(target.logits(text), sampler)
    length = len(text.response_ids)
    y_N = torch.tensor(text.response_ids, device=p_NV.device)
    ranks_SD = np.full((length, tree.depth), -1)
    for depth, logits_SV in enumerate(logits_by_depth):
        order_SV = rank_tokens(logits_SV)
        ranks_S = (order_SV == y_N[depth:, None]).int().argmax(-1)
        ranks_SD[: length - depth, depth] = ranks_S.cpu().numpy()
        if depth == 0:
            first_SV = torch.zeros_like(p_NV)
            first_SV.scatter_(-1, order_SV[:, tree.children[()]], 1.0)
            overlap_S = (p_NV * first_SV).sum(-1).double().cpu().numpy()
            agree_S = (order_SV[:, 0] == target.logits(text).argmax(-1)).double().cpu().numpy()
    accept_SD = np.zeros((length, MAX_GAMMA))
    drafted_S = np.full(length, tree.depth)
    for s, ranks_D in enumerate(ranks_SD):
        passed = _passed(tree, ranks_D[: length - s])
        accept_SD[s, :passed] = 1.0
        if tuple(ranks_D[:passed].tolist()) not in tree.children:
            drafted_S[s] = passed  # a leaf: no token follows it, to be tested
    return AcceptanceTable(
        text.example_id, accept_SD, drafted_S, overlap_S, agree_S, nodes=tree.nodes
    )


def _passed(tree: Tree, ranks_D: Ints) -> int:
    """Return the number of nodes passed by a text whose tokens have the ranks [D]."""
    path, nodes = tuple(ranks_D.tolist()), set(tree.paths)
    return next((depth for depth in range(len(path)) if path[: depth + 1] not in nodes), len(path))
