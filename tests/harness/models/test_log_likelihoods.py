"""How likely gold answers are: parity with the model's own loss, and what does not fit."""

import pytest
import torch

from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel
from draftmark.models.likelihoods import log_likelihoods
from draftmark.types import Prompt, Text


def test_it_is_the_models_own_loss_on_the_response(
    target: LanguageModel, greedy_texts: list[Text]
) -> None:
    found = {text.example_id: nats for text, nats in log_likelihoods(target, greedy_texts[:4])}

    for text in greedy_texts[:4]:
        ids = torch.tensor([[*text.prompt_ids, *text.response_ids]])
        labels = ids.clone()
        labels[:, : len(text.prompt_ids)] = -100
        with torch.no_grad():
            loss = target.model(input_ids=ids, labels=labels).loss
        expected = -float(loss) * len(text.response_ids)
        assert found[text.example_id] == pytest.approx(expected, rel=1e-4)


def test_the_probabilities_of_all_next_tokens_sum_to_one(
    target: LanguageModel, prompts: list[Prompt]
) -> None:
    texts = [Text(f"{t}", prompts[0].token_ids, (t,)) for t in range(target.vocab_size)]

    total = sum(torch.tensor(nats).exp() for _, nats in log_likelihoods(target, texts))

    assert float(total) == pytest.approx(1, abs=1e-4)


def test_a_text_beyond_the_context_is_one_sentence(target: LanguageModel) -> None:
    most = target.max_positions
    text = Text("gsm8k/test/3", (1,) * most, (2,))
    said = rf"gsm8k/test/3: .* {most + 1} tokens, .* is {most}; leave the row"

    with pytest.raises(UserError, match=said):
        next(iter(log_likelihoods(target, [text])))
