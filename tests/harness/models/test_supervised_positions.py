"""Token i of a response is predicted at the position of the token before it."""

import torch

from draftmark.models.supervised_positions import (
    num_positions,
    right_padded,
    rows_read,
    select_supervised,
    supervised_positions,
)
from draftmark.types import Text

TEXTS = [Text("a", (3, 4, 5), (6, 7), "stop"), Text("b", (8,), (9, 10, 11, 12), "length")]


def test_a_text_is_read_but_for_its_last_token() -> None:
    assert [num_positions(text) for text in TEXTS] == [4, 4]
    assert rows_read(TEXTS) == [[3, 4, 5, 6], [8, 9, 10, 11]]


def test_the_position_before_each_token_of_the_response_predicts_it() -> None:
    for text, row in zip(TEXTS, rows_read(TEXTS), strict=True):
        positions = range(num_positions(text))[supervised_positions(text)]
        whole = [*text.prompt_ids, *text.response_ids]
        assert tuple(whole[at + 1] for at in positions) == text.response_ids
        assert row[positions[0]] == text.prompt_ids[-1]


def test_the_states_of_the_response_are_taken_from_each_text() -> None:
    states_BTD = torch.arange(16.0).view(2, 4, 2)
    first, second = select_supervised(TEXTS, states_BTD)
    assert torch.equal(first, states_BTD[0, 2:4])
    assert torch.equal(second, states_BTD[1, 0:4])


def test_padding_stands_after_a_text() -> None:
    short = Text("c", (1, 2), (3,), "stop")
    ids_BT, mask_BT = right_padded([TEXTS[0], short], torch.device("cpu"))
    assert ids_BT[0].tolist() == [3, 4, 5, 6]
    assert ids_BT[1, :2].tolist() == [1, 2]
    assert mask_BT.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
