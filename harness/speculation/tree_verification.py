"""How a static tree is verified and scored.

Its nodes' children are no draws but a fixed set, so at a node with the target's law p one of them
is accepted with the probability that p gives them together. EAGLE's code tries them in order,
keeping x with probability p(x) and taking it out of p if it is refused; that is one draw from p,
which goes on where a child holds the token and is the bonus token where none does. At temperature 0
the draw is the target's choice.

So, given a text that the target wrote, a node is passed if its token is among the children, and
the expected passes of a tree are exact at every temperature, as those of a chain.

Legend: S start of a block, D depth, H node and the text before them, V vocabulary.
"""

from collections.abc import Iterable

import numpy as np
import torch

from draftmark.models.hidden_states import TargetLogits
from draftmark.models.sampling import draw, sampler_probs
from draftmark.speculation.trees import Tree
from draftmark.store.acceptance_tables import Ints
from draftmark.types import MAX_GAMMA, AcceptanceTable, Proposal, Sampler, Text


def ranked(logits: torch.Tensor) -> torch.Tensor:
    """Return the tokens [..., V] from the likeliest on, ties by id."""
    return logits.argsort(dim=-1, descending=True, stable=True)


def walk(
    proposal: Proposal, p_HV: torch.Tensor, generator: torch.Generator
) -> tuple[list[int], int]:
    """Return (the accepted nodes, one below the other; the token that follows them).

    The first row of p_HV is the target's law after the text, the next ones those after each node.
    """
    assert proposal.parents is not None
    path: list[int] = []
    here = -1
    while True:
        token = int(draw(p_HV[here + 1], generator))
        below = (
            node
            for node, parent in enumerate(proposal.parents)
            if parent == here and proposal.token_ids[node] == token
        )
        if (found := next(below, None)) is None:
            return path, token
        path.append(here := found)


@torch.no_grad()
def score_tree(
    text: Text,
    target: TargetLogits,
    sampler: Sampler,
    tree: Tree,
    logits_by_depth: Iterable[torch.Tensor],
) -> AcceptanceTable:
    """Return the acceptance table of a text for a tree, by depth: 1 where the text stays in it.

    `logits_by_depth` has for each depth j the draft's logits [S, V] for the token at s + j of the
    blocks that start at s = 0 ... N - j - 1, along the text. overlap_S is what the target's law
    gives the first children together.
    """
    p_NV = sampler_probs(target.logits(text), sampler)
    length = len(text.response_ids)
    y_N = torch.tensor(text.response_ids, device=p_NV.device)
    ranks_SD = np.full((length, tree.depth), -1)
    for depth, logits_SV in enumerate(logits_by_depth):
        order_SV = ranked(logits_SV)
        ranks_S = (order_SV == y_N[depth:, None]).int().argmax(-1)
        ranks_SD[: length - depth, depth] = ranks_S.cpu().numpy()
        if depth == 0:
            first_SV = torch.zeros_like(p_NV)
            first_SV.scatter_(-1, order_SV[:, tree.children[()]], 1.0)
            overlap_S = (p_NV * first_SV).sum(-1).double().cpu().numpy()
            agree_S = (order_SV[:, 0] == target.logits(text).argmax(-1)).double().cpu().numpy()
    accept_SD = np.zeros((length, MAX_GAMMA))
    drafted_S = np.minimum(tree.depth, length - np.arange(length))
    for s, ranks_D in enumerate(ranks_SD):
        passed = _passed(tree, ranks_D[: drafted_S[s]])
        accept_SD[s, :passed] = 1.0
        if tuple(ranks_D[:passed].tolist()) not in tree.children:
            drafted_S[s] = passed
    return AcceptanceTable(text.example_id, accept_SD, drafted_S, overlap_S, agree_S)


def _passed(tree: Tree, ranks_D: Ints) -> int:
    """Return how many nodes of the tree a text passes whose tokens have these ranks."""
    path = tuple(ranks_D.tolist())
    known = set(tree.paths)
    return next((depth for depth in range(len(path)) if path[: depth + 1] not in known), len(path))
