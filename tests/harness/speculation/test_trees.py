"""Static trees: what a tree is, its verification, and counts that scoring predicts exactly."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from head_cases import small_head, small_target

from draftmark.baselines.eagle3 import METHOD as Eagle3
from draftmark.config.recipe import MethodEntry
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.engines.reference import _Loop
from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.language_model import LanguageModel
from draftmark.speculation.blocks import block_counts
from draftmark.speculation.head_drafter import FeatureHeadDrafter
from draftmark.speculation.interfaces import EngineSettings
from draftmark.speculation.methods import build_method
from draftmark.speculation.tree_drafter import TreeDrafter, verify_tree
from draftmark.speculation.trees import Tree
from draftmark.types import GREEDY, Decode, Placement, Prompt, Proposal, Sampler, Samplers, Text

BUSHY = Tree.from_paths([[1], [0], [0, 0], [0, 2], [2], [1, 1], [0, 2, 0], [0, 2, 3]])
CHAIN = Tree.from_paths([[0] * depth for depth in range(1, 6)])
ONE = Sampler(1.0)
PROMPTS = [Prompt(str(number), (number, 3, 2 * number + 1)) for number in range(1, 13)]
LIMIT = 20  # new tokens
HOT = 6.0  # a random target hardly prefers a token: sharper, it has a law to be met


def test_a_tree_knows_its_nodes() -> None:
    assert BUSHY.paths[:4] == ((0,), (1,), (2,), (0, 0))
    assert BUSHY.parents == (-1, -1, -1, 0, 0, 1, 4, 4)
    assert BUSHY.children == {(): [0, 1, 2], (0,): [0, 2], (1,): [1], (0, 2): [0, 3]}
    assert BUSHY.nodes == (3, 6, 8)
    assert BUSHY.depth == 3
    assert BUSHY.cut(1) == Tree(((0,), (1,), (2,)))


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        ([], "at least one node"),
        ([[0], [0]], "no node twice"),
        ([[0], [1, 0]], r"\[1, 0\] is in the tree, but its parent is not"),
        ([[-1]], "ranks from 0 on"),
        ([[0] * depth for depth in range(1, 34)], "depth 33; at most 32"),
    ],
)
def test_what_is_no_tree_is_refused(paths: list[list[int]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Tree.from_paths(paths)


def test_a_recipe_that_names_no_tree_is_told_so() -> None:
    with pytest.raises(UserError, match="is in the tree, but its parent is not"):
        build_method(MethodEntry.model_validate({"name": "eagle3", "tree": [[0], [1, 0]]}))
    assert Tree.from_paths(Eagle3(tree="eagle").paths).depth == 5
    assert len(Eagle3(tree="eagle").paths) == 25


def test_what_a_tree_emits_has_the_targets_law() -> None:
    """On four words: the first two tokens of 20,000 rounds against p, and where they end."""
    p_HV = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.5, 0.0]])
    proposal = Proposal((3, 1), parents=(-1, -1))
    generator = torch.Generator().manual_seed(0)
    seen: Counter[tuple[int, ...]] = Counter()
    for _ in range(20_000):
        path, following = verify_tree(proposal, p_HV, generator)
        seen[(*(proposal.token_ids[node] for node in path), following)] += 1
    expected = {(0,): 0.1, (2,): 0.3}
    expected |= {(3, word): 0.4 * float(p_HV[1, word]) for word in range(4)}
    expected |= {(1, word): 0.2 * float(p_HV[2, word]) for word in range(3)}
    assert set(seen) == set(expected)
    chi2 = sum((seen[k] - 20_000 * p) ** 2 / (20_000 * p) for k, p in expected.items())
    assert chi2 < 26.1  # 99.9 % of 8 degrees of freedom


@pytest.fixture(scope="module")
def target() -> LanguageModel:
    made = small_target("qwen2")
    with torch.no_grad():
        made.model.get_output_embeddings().weight.mul_(HOT / 0.02)
    return made


@pytest.fixture(scope="module", params=["eagle", "eagle3"])
def head(request: Any, target: LanguageModel) -> FeatureHead:
    """A head that starts as the target's last layer: it agrees with it now and then."""
    return small_head(target, request.param, from_layer=3)


def decode(target: LanguageModel, drafter: Any, how: Samplers, gamma: int) -> list[Decode]:
    settings = EngineSettings(how, gamma, LIMIT, frozenset({0}), 0, Placement())
    return list(_Loop(target, drafter, settings).generate(PROMPTS))


def texts_of(decoded: list[Decode]) -> list[Text]:
    return [
        Text(item.example_id, prompt.token_ids, item.token_ids, item.finish_reason)
        for item, prompt in zip(decoded, PROMPTS, strict=True)
    ]


@pytest.mark.parametrize("sampler", [GREEDY, ONE])
@pytest.mark.parametrize("gamma", [1, 2, 5])
def test_the_counts_of_a_tree_are_those_predicted_of_its_texts_exactly(
    target: LanguageModel, head: FeatureHead, sampler: Sampler, gamma: int
) -> None:
    """At every temperature: given the text a tree leaves nothing to chance."""
    how, drafter = Samplers(sampler, sampler), TreeDrafter(head, BUSHY)
    decoded = decode(target, drafter, how, gamma)
    texts = texts_of(decoded)
    scored = drafter.score(texts, read_target_logits(target, texts), how)
    by_id = {table.example_id: replace(table, limit=LIMIT) for table in scored}
    counts = block_counts([by_id[text.example_id] for text in texts], gamma)
    assert [item.target_passes for item in decoded] == counts.passes_B.tolist()
    for name, predicted_B in (("drafted", counts.drafted_B), ("accepted", counts.accepted_B)):
        counted = [sum(getattr(round_, name) for round_ in item.rounds) for item in decoded]
        assert counted == predicted_B.tolist()
    assert 0 < counts.accepted_B.sum() < counts.drafted_B.sum()


def test_a_tree_is_lossless_at_temperature_zero(target: LanguageModel, head: FeatureHead) -> None:
    how = Samplers(GREEDY, GREEDY)
    alone = decode(target, None, how, 3)
    together = decode(target, TreeDrafter(head, BUSHY), how, 3)
    assert [item.token_ids for item in together] == [item.token_ids for item in alone]


def test_a_tree_of_one_path_is_a_greedy_chain(target: LanguageModel, head: FeatureHead) -> None:
    how = Samplers(GREEDY, GREEDY)
    tree, chain = TreeDrafter(head, CHAIN), FeatureHeadDrafter(head)
    for gamma in (2, 5):
        mine, theirs = (decode(target, drafter, how, gamma) for drafter in (tree, chain))
        assert [item.rounds for item in mine] == [item.rounds for item in theirs]
    texts = texts_of(mine)
    laws = read_target_logits(target, texts)
    for mine_table, theirs_table in zip(
        tree.score(texts, laws, how), chain.score(texts, laws, how), strict=True
    ):
        np.testing.assert_array_equal(
            mine_table.accept_SD[:, :5], np.cumprod(theirs_table.accept_SD[:, :5], axis=1)
        )


def test_a_target_with_an_attention_window_verifies_no_tree() -> None:
    target = small_target("mistral")
    drafter = TreeDrafter(small_head(target, "eagle"), BUSHY)
    with pytest.raises(UserError, match="'mistral' models cannot verify a tree"):
        decode(target, drafter, Samplers(GREEDY, GREEDY), 2)
