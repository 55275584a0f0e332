"""GKD: its divergence at known beta, and its lambda as a mixture of texts."""

from typing import Any

import pytest
from method_cases import Make, assert_same_gradient, built, gradient, latest

from draftmark.config.model_sections import DraftInit
from draftmark.errors import UserError
from draftmark.models.draft_inits import make_draft
from draftmark.models.generation import Sampling
from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.models.language_model import LanguageModel
from draftmark.training.batches import FixedTexts, OnPolicyTexts, TrainingTexts
from draftmark.training.loop import TrainingContext
from draftmark.training.schedule import total_steps
from draftmark.types import Prompt, Sampler


def test_with_beta_one_half_it_is_distillspecs_jsd(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = gradient(context, built("gkd"), monkeypatch)
    theirs = gradient(context, built("distillspec", divergence="jsd"), monkeypatch)
    assert_same_gradient(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("beta", "divergence", "rtol"), [(1e-3, "forward_kl", 0.01), (1 - 1e-4, "reverse_kl", 0.1)]
)
def test_near_beta_zero_and_one_it_is_a_scaled_kl(
    context: Make,
    target: LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    beta: float,
    divergence: str,
    rtol: float,
) -> None:
    """Holds for a draft near its target: the loss is bounded, KL is not."""

    def near(**changes: Any) -> TrainingContext:
        layers = DraftInit(pruned=(0, 1, 2, 3, 4, 5, 7))
        return context(draft=make_draft(layers, target, seed=0), **changes)

    scale = 1 / min(beta, 1 - beta)
    mine = gradient(near, built("gkd", beta=beta), monkeypatch, times=scale)
    kl = gradient(near, built("distillspec", divergence=divergence), monkeypatch)
    assert_same_gradient(mine, kl, rtol)


def test_lambda_is_the_share_of_on_policy_text(
    context: Make, few: dict[str, StoredHiddenStates], tokenizer: Any
) -> None:
    given, read = context(), few["train"]
    prompts = [Prompt(text.example_id, text.prompt_ids) for text in read.texts]
    sampling = Sampling(Sampler(1.0), 12, frozenset({tokenizer.eos_token_id}), 0)
    sources = {
        "dataset": FixedTexts(read.texts, read),
        "draft": OnPolicyTexts(given.draft, given.target, prompts, sampling),
    }
    texts = TrainingTexts(sources, {"dataset": 0.5, "draft": 0.5}, 0)
    writers = {texts.writer(step) for step in range(total_steps(len(given.texts), given.settings))}
    assert writers == {"dataset", "draft"}
    ledger = built("gkd").train(context(draft=given.draft, texts=texts, criterion=latest())).ledger
    assert 0 < ledger.generated_tokens < ledger.supervised_tokens


@pytest.mark.parametrize("beta", [0, 1, -0.5])
def test_a_beta_outside_zero_to_one_is_refused(beta: float) -> None:
    with pytest.raises(UserError, match=r"'gkd': beta: Input should be (greater|less) than [01]"):
        built("gkd", beta=beta)
