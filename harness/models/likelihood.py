"""How likely a model finds given texts: one teacher-forced pass, at temperature 1.

Legend: N supervised position, V vocabulary.
"""

from collections.abc import Iterator, Sequence

import torch

from draftmark.errors import UserError
from draftmark.models.hidden_states import hidden_states
from draftmark.models.language_model import LanguageModel
from draftmark.types import Text


@torch.no_grad()
def log_likelihoods(model: LanguageModel, texts: Sequence[Text]) -> Iterator[tuple[Text, float]]:
    """Yield each text with the log-probability of its response given its prompt, in nats.

    The end token is part of the response. Raises UserError for what does not fit the context.
    """
    for text in texts:
        needed = len(text.prompt_ids) + len(text.response_ids)
        if needed > model.max_positions:
            raise UserError(
                f"{text.example_id}: the prompt and its gold answer have {needed} tokens, the "
                f"model's context is {model.max_positions}; leave the row out."
            )
    for text, hidden_ND in hidden_states(model, texts):
        law_NV = model.logits(hidden_ND).float().log_softmax(-1)
        y_N = torch.tensor(text.response_ids, device=law_NV.device)
        yield text, float(law_NV.gather(-1, y_N[:, None]).double().sum())
