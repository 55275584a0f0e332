"""MTP: its layer against a slow loop, its loss by hand, and what vLLM does not run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from head_cases import small_target
from method_cases import built, latest, prepared

from draftmark.config.model_sections import Training
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead, HeadShape, load_head, make_head
from draftmark.models.heads.head_exports import export_head
from draftmark.models.heads.head_rollout import rolled_features
from draftmark.models.hidden_states import LiveStates
from draftmark.models.language_model import save_model
from draftmark.types import Placement, Text

TEXTS = [Text("a", (5, 9, 3), (7, 1, 2, 8)), Text("b", (4, 4), (6, 2))]


@pytest.fixture(params=["llama", "qwen3"])
def head(request: Any) -> FeatureHead:
    """Return a random head whose norms differ from each other."""
    shape = HeadShape("mtp", (4,), 64, norm_output=True)
    made = make_head(small_target(request.param), shape, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in made.model.named_parameters():
            if "norm" in name:
                weight.copy_(1 + 0.3 * torch.randn(weight.shape, generator=generator))
    return made


@torch.no_grad()
def slow_features(head: FeatureHead, ids: list[int], states_TD: Any, start: int, depth: int) -> Any:
    """Return the features of a chain: each pass reads all slots anew, by the published formula."""
    module: Any = head.model
    base = module.causal.base_model
    of_embedding, of_feature = module.fc_norm
    inputs = list(states_TD[: start + 1])
    for _ in range(depth + 1):
        following = torch.tensor([ids[1 : len(inputs) + 1]])
        embedding = of_embedding(module.get_input_embeddings()(following))
        feature = of_feature(torch.stack(inputs)[None])
        joined = module.fc(torch.cat([embedding, feature], dim=-1))
        slots = torch.arange(len(inputs))[None]
        hidden = base.layers[0](
            joined,
            attention_mask=torch.full((len(inputs),) * 2, -torch.inf).triu(1)[None, None],
            position_ids=slots,
            position_embeddings=base.rotary_emb(joined, slots),
        )
        inputs.append(module.norm(hidden[0] if hidden.dim() == 3 else hidden[0][0])[-1])
    return inputs[-1]


def test_each_depth_reads_the_normed_output_of_the_one_before(head: FeatureHead) -> None:
    states = LiveStates(small_target(head.model.config.model_type), (4,))
    for text, by_depth in rolled_features(head, TEXTS, states, 3):
        ids, read_TD = [*text.prompt_ids, *text.response_ids], states.states_of(text)[:, 0]
        for k, hidden_ND in enumerate(by_depth):
            for n, hidden_D in enumerate(hidden_ND):
                start = len(text.prompt_ids) - 2 + n
                expected_D = slow_features(head, ids, read_TD, start, k)
                torch.testing.assert_close(hidden_D, expected_D, atol=1e-5, rtol=1e-4)
                logits_V = torch.nn.functional.linear(
                    expected_D, head.model.get_output_embeddings().weight
                )
                torch.testing.assert_close(head.logits(hidden_D), logits_V, atol=1e-4, rtol=1e-4)


def test_a_saved_head_is_the_same_head(head: FeatureHead, tmp_path: Path, tokenizer: Any) -> None:
    save_model(head, tokenizer, tmp_path)
    again = load_head(tmp_path, Placement())
    assert again.model.shape == head.model.shape
    for name, value in head.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


@pytest.mark.parametrize("loss", ["cross_entropy", "forward_kl"])
def test_its_loss_is_the_weighted_mean_over_depths(
    context: Any, few: Any, target: Any, loss: str
) -> None:
    method = built("mtp", loss=loss, depth=2)
    settings = Training(passes=4 / 12, rows_per_batch=4, learning_rate=1e-3, validations=1)
    given = prepared(context(settings=settings, criterion=latest()), method, few)
    texts = given.texts.training_batch(0, 4).texts
    states, total, tokens = LiveStates(target, (8,)), 0.0, 0
    known = read_target_logits(target, texts)
    with torch.no_grad():
        for text, by_depth in rolled_features(given.draft, texts, states, 2):
            tokens += len(text.response_ids)
            labels = torch.tensor(text.response_ids)
            p_NV = known.logits(text).softmax(-1)
            for k, hidden in enumerate(by_depth):
                log_q_NV = given.draft.logits(hidden).log_softmax(-1)
                of_label = -log_q_NV.gather(-1, labels[k:, None]).sum()
                kl = torch.nn.functional.kl_div(log_q_NV, p_NV[k:], reduction="sum")
                total += 0.6**k / 1.6 * float(of_label if loss == "cross_entropy" else kl)
    found = method.train(given).history[-1]["loss"]
    assert found == pytest.approx(total / tokens, rel=1e-3)


def test_its_head_has_no_layout_of_vllm(head: FeatureHead, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not fit mtp heads; take another method"):
        export_head(head, "eagle", tmp_path, target="", num_speculative_tokens=3)
