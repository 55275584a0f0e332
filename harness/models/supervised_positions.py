"""Which position of a text predicts which token: labels are shifted by one.

The supervised positions of a text predict its response: token i of the response is predicted at
position (prompt length + i - 1). The last token predicts nothing and is not read.

Legend: B batch, T position, N supervised position, X whatever else a state has.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch

from draftmark.models.language_model import pad_rows
from draftmark.types import Text


def num_positions(text: Text) -> int:
    """Return the number of positions at which a text has states: all but the last token's."""
    return len(text.prompt_ids) + len(text.response_ids) - 1


def supervised_positions(text: Text) -> slice:
    """Return the positions that predict the response."""
    return slice(len(text.prompt_ids) - 1, num_positions(text))


def rows_read(texts: Iterable[Text]) -> list[list[int]]:
    """Return the tokens that a model reads of each text: all but the last."""
    return [[*text.prompt_ids, *text.response_ids][:-1] for text in texts]


def right_padded(texts: Sequence[Text], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (ids [B, T], mask [B, T]) of prompts and responses, without each text's last token."""
    return pad_rows(rows_read(texts), device)


def select_supervised(
    texts: Sequence[Text], states_BTX: Iterable[torch.Tensor]
) -> Iterator[torch.Tensor]:
    """Yield the states [N, ...] of each text at its supervised positions."""
    for text, states_TX in zip(texts, states_BTX, strict=True):
        yield states_TX[supervised_positions(text)]
