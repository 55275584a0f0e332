"""Feature heads: whose weights they have, what is trained, what is written and read again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from head_cases import ARCHITECTURES, OWN, small_head, small_target

from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead, HeadShape, load_head, make_head
from draftmark.models.heads.head_rollout import roll_forward
from draftmark.models.hidden_states import LiveStates
from draftmark.models.language_model import LanguageModel
from draftmark.training.head_training import frequent_ids
from draftmark.types import Placement, Text

TEXT = Text("a", (3, 9, 4, 17), (5, 60, 2, 8, 11, 7))


def logits(head: FeatureHead, target: LanguageModel, depth: int = 2) -> list[torch.Tensor]:
    states = LiveStates(target, head.model.shape.layers)
    with torch.no_grad():
        fused = [head.fuse(states.states_of(TEXT))]
        return [head.logits(hidden) for hidden in roll_forward(head, [TEXT], fused, depth)]


@pytest.mark.parametrize("family", OWN)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_embedding_and_output_head_are_the_targets_and_are_not_trained(
    family: str, architecture: str
) -> None:
    target = small_target(family)
    module = small_head(target, architecture).model
    for mine, theirs in (
        (module.get_input_embeddings(), target.model.get_input_embeddings()),
        (module.get_output_embeddings(), target.model.get_output_embeddings()),
    ):
        assert torch.equal(mine.weight, theirs.weight)
        assert not any(parameter.requires_grad for parameter in mine.parameters())
    frozen = {id(p) for p in module.parameters() if not p.requires_grad}
    ends = (module.get_input_embeddings(), module.get_output_embeddings())
    assert frozen == {id(parameter) for end in ends for parameter in end.parameters()}
    assert len(module.causal.base_model.layers) == 1


@pytest.mark.parametrize("family", OWN)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("cut", [None, [2, 5, 7, 60]])
def test_a_head_that_was_saved_gives_the_same_logits(
    family: str, architecture: str, cut: list[int] | None, tmp_path: Path
) -> None:
    target = small_target(family)
    ids = None if cut is None else torch.tensor(cut)
    head = small_head(target, architecture, draft_ids=ids)
    head.model.save_pretrained(tmp_path)
    loaded = load_head(tmp_path, Placement())
    assert loaded.model.shape == head.model.shape
    for mine, theirs in zip(logits(loaded, target), logits(head, target), strict=True):
        assert torch.equal(mine, theirs)


def test_what_is_outside_the_draft_vocabulary_has_no_chance() -> None:
    target = small_target("llama")
    kept = torch.tensor([2, 5, 7, 60])
    whole, cut = (small_head(target, "eagle3", draft_ids=ids) for ids in (None, kept))
    cut.model.load_state_dict({**whole.model.state_dict(), **_ends(cut)}, strict=False)
    (all_BRV, *_), (some_BRV, *_) = logits(whole, target), logits(cut, target)
    assert some_BRV.shape == all_BRV.shape
    torch.testing.assert_close(some_BRV[..., kept], all_BRV[..., kept])
    outside = [token for token in range(64) if token not in kept]
    assert torch.all(some_BRV[..., outside] == -torch.inf)


def _ends(head: FeatureHead) -> dict[str, torch.Tensor]:
    return {k: v for k, v in head.model.state_dict().items() if "lm_head" in k or "draft_ids" in k}


def test_the_draft_vocabulary_is_what_responses_hold_most_often() -> None:
    texts = [Text("a", (9, 9, 9), (4, 4, 7, 2)), Text("b", (9,), (7, 4, 1))]
    assert frequent_ids(texts, 2).tolist() == [4, 7]
    assert frequent_ids(texts, 3).tolist() == [1, 4, 7]
    assert frequent_ids(texts, 10).tolist() == list(range(10))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_head_starts_as_a_layer_of_the_target_if_it_is_asked_to(architecture: Any) -> None:
    target = small_target("llama")
    head = small_head(target, architecture, from_layer=3)
    mine = head.model.causal.base_model.layers[0].self_attn.q_proj.weight
    theirs = target.model.base_model.layers[3].self_attn.q_proj.weight
    assert torch.equal(mine[:, -theirs.shape[1] :], theirs)
    with pytest.raises(UserError, match="from_layer = 4: the target has layers 0 to 3"):
        small_head(target, architecture, from_layer=4)


def test_the_same_seed_gives_the_same_head() -> None:
    target = small_target("llama")
    shape = HeadShape("eagle", (4,), 64)
    first, second, other = (make_head(target, shape, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.model.fc.weight, second.model.fc.weight)
    assert not torch.equal(first.model.fc.weight, other.model.fc.weight)


def test_a_family_that_is_not_known_to_work_is_refused() -> None:
    target = small_target("llama")
    target.model.config.model_type = "gemma2"
    with pytest.raises(UserError, match="not 'gemma2'; choose another target"):
        small_head(target, "eagle")
