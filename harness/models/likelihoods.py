"""The likelihood that a model gives to texts."""

from collections.abc import Iterator, Sequence

import torch

from draftmark.errors import UserError
from draftmark.models.finite import check_logits
from draftmark.models.hidden_states import hidden_states
from draftmark.models.language_model import LanguageModel
from draftmark.types import Text


@torch.no_grad()
def log_likelihoods(model: LanguageModel, texts: Sequence[Text]) -> Iterator[tuple[Text, float]]:
    """Yield each text with the log-probability of its response given its prompt, in nats.

    The end token is part of the response. Raises UserError for a text longer than the context.
    """
    for text in texts:
        needed = len(text.prompt_ids) + len(text.response_ids)
        if needed > model.max_positions:
            raise UserError(
                f"{text.example_id}: the prompt and its gold answer have {needed} tokens, but the "
                f"model's context is {model.max_positions}; leave the row out."
            )
    for text, hidden_ND in hidden_states(model, texts):
        logits_NV = model.logits(hidden_ND)
        check_logits(logits_NV, text.example_id)
        log_probs_NV = logits_NV.float().log_softmax(-1)
        y_N = torch.tensor(text.response_ids, device=log_probs_NV.device)
        yield text, float(log_probs_NV.gather(-1, y_N[:, None]).double().sum())
