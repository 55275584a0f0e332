"""Scoring's formulas by hand, and a deterministic draft beside the target's own probabilities."""

from typing import Any

import numpy as np
import pytest
import torch

from draftmark.baselines.prompt_lookup import LookupSession
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.speculation.scoring import (
    greedy_acceptance,
    probability_ratio,
    score_deterministic,
)
from draftmark.types import GREEDY, MAX_GAMMA, AcceptanceTable, Sampler, Samplers, Text

ONE = Sampler(1.0)
PROMPT, RESPONSE = (7, 1, 2, 3), (7, 1, 2, 3, 9)
COPIED = (1, 2, 3, 7)  # the first token that the lookup proposes at starts 1 to 4


def test_a_token_is_accepted_with_the_ratio_of_the_drafts_probability_to_the_targets() -> None:
    p_N = torch.tensor([0.5, 0.25, 0.25, 0.8, 0.0, 0.0])
    q_N = torch.tensor([0.25, 0.25, 0.5, 0.0, 0.5, 0.0])
    assert probability_ratio(p_N, q_N).tolist() == [0.5, 1.0, 2.0, 0.0, 1.0, 1.0]


def test_a_greedy_draft_is_accepted_where_its_choice_is_the_text() -> None:
    q_NV = torch.tensor([[0.1, 0.3, 0.6], [0.1, 0.2, 0.7]])
    p_NV = torch.tensor([[0.4, 0.4, 0.2], [0.1, 0.6, 0.3]])
    found = greedy_acceptance(q_NV, p_NV, torch.tensor([2, 1]))
    assert found["greedy_S"].tolist() == [True, False]
    assert found["greedy_overlap_S"].tolist() == pytest.approx([0.2, 0.3])


def scored(target: Any, samplers: Samplers) -> AcceptanceTable:
    text = Text("a", PROMPT, RESPONSE)
    logits = read_target_logits(target, [text])
    (table,) = score_deterministic(lambda _: LookupSession(3, 1), [text], logits, samplers)
    return table


@pytest.mark.parametrize("sampler", [GREEDY, ONE, Sampler(0.5)])
def test_a_deterministic_draft_is_scored_token_by_token(target: Any, sampler: Sampler) -> None:
    """At each start the lookup copies four tokens; past the end of the text none is accepted."""
    table = scored(target, Samplers(sampler, sampler))
    assert table.drafted_S.tolist() == [0, 4, 4, 4, 4]
    expected_SD = np.zeros((5, MAX_GAMMA))
    for start in (1, 2, 3):
        expected_SD[start, : 4 - start] = 1
    assert np.array_equal(table.accept_SD, expected_SD)

    with torch.no_grad():
        logits_TV = target.model(torch.tensor([[*PROMPT, *RESPONSE]])).logits[0].double()
    logits_SV = logits_TV[len(PROMPT) - 1 : -1, : target.vocab_size]
    choices = logits_SV.argmax(-1).tolist()[1:]
    agree = [float(choice == copied) for choice, copied in zip(choices, COPIED, strict=True)]
    assert table.greedy_match_S.tolist() == [0, *agree]
    if sampler == GREEDY:
        chances = agree
    else:
        p_SV = torch.softmax(logits_SV / sampler.temperature, -1)
        chances = [float(p_SV[1 + place, token]) for place, token in enumerate(COPIED)]
    assert table.overlap_S.tolist() == pytest.approx([0, *chances], rel=1e-4)


def test_the_sampled_draft_of_a_deterministic_one_is_itself(target: Any) -> None:
    sampled, greedy = (scored(target, Samplers(ONE, draft)) for draft in (ONE, GREEDY))
    assert greedy.greedy_SD is None
    assert sampled.greedy_SD is not None
    assert np.array_equal(sampled.greedy_SD, sampled.accept_SD > 0)
    assert np.array_equal(sampled.overlap_S, greedy.overlap_S)


def test_on_a_greedy_text_a_right_proposal_is_the_targets_first_choice(
    target: Any, write: Any, prompts: Any
) -> None:
    (text,) = write(prompts[:1], 0.0, max_new_tokens=60)
    logits, samplers = read_target_logits(target, [text]), Samplers(GREEDY, GREEDY)
    (table,) = score_deterministic(lambda _: LookupSession(3, 1), [text], logits, samplers)
    assert np.array_equal(table.greedy_match_S, table.accept_SD[:, 0])
    assert 0 < table.greedy_match_S.sum() < len(text.response_ids)
