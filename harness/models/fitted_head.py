"""A head fitted in closed form, so that a cut-down draft starts with meaningful logits.

Cut layers out of a model and what is left feeds its head states that the head was never trained
on. Ridge regression finds the matrix A that best turns the draft's final hidden states into the
target's, on text; the draft's head is then the target's after A, folded into one matrix, with the
target's bias if it has one. It costs one pass of the draft and a solve of D equations, and what
training would otherwise spend its first passes on is there at the start.

Legend: N position, D hidden size of the draft, E of the target, V vocabulary.
"""

import copy
from typing import Any

import torch

from draftmark.models.hidden_states import StoredHiddenStates, hidden_states
from draftmark.models.language_model import LanguageModel, freeze_embeddings

RIDGE = 1e-2  # of the draft states' mean square


def fit_head(
    draft: LanguageModel, target: LanguageModel, states: StoredHiddenStates
) -> LanguageModel:
    """Return the draft with a fitted head; embedding and head are not trained further."""
    a_DE = _regress(draft, states)
    fitted = _untied(draft)
    mine, its = fitted.get_output_embeddings(), target.model.get_output_embeddings()
    known = slice(target.vocab_size)  # the padding rows beyond may differ in number
    with torch.no_grad():
        mine.weight[known] = (its.weight[known].double().cpu() @ a_DE.T).float()
        if its.bias is not None:
            mine.bias[known] = its.bias[known].float().cpu()
    freeze_embeddings(fitted)
    return LanguageModel(fitted.to(draft.device).eval(), draft.vocab_size)


def _regress(draft: LanguageModel, states: StoredHiddenStates) -> torch.Tensor:
    """Return A [D, E] that minimises |X A - Y|^2 + ridge, X of the draft, Y of the target."""
    xx_DD, xy_DE = torch.zeros(()).double(), torch.zeros(()).double()
    for text, hidden_ND in hidden_states(draft, states.texts):
        x_ND, y_NE = hidden_ND.double().cpu(), states.last_layer_of(text).double()
        xx_DD = xx_DD + x_ND.T @ x_ND
        xy_DE = xy_DE + x_ND.T @ y_NE
    ridge_DD = RIDGE * xx_DD.diagonal().mean() * torch.eye(len(xx_DD)).double()
    a_DE: torch.Tensor = torch.linalg.solve(xx_DD + ridge_DD, xy_DE)
    return a_DE


def _untied(draft: LanguageModel) -> Any:
    """Return a copy of the draft whose head is a matrix of its own."""
    config = copy.deepcopy(draft.model.config)
    config.tie_word_embeddings = False
    model = type(draft.model)._from_config(config, dtype=torch.float32)
    model.load_state_dict(draft.model.state_dict())
    return model
