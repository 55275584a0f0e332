"""Scoring: acceptance probabilities of drafted tokens on the target's texts.

p and q are the sampler probabilities of target and draft; y is the target's own text under p.
Speculative sampling emits y with distribution p, and given y a token was accepted, not resampled,
with probability min(1, q(y) / p(y)). For a greedy target that is q(y), for a deterministic draft it
is 1 or 0: one formula for all samplers. Block verification depends on the ratio q(y) / p(y) itself.

A language model is scored in one teacher-forced pass, a deterministic draft is queried at every
start. `speculation.head_drafter` scores feature heads, which feed on their own output.

Legend: N position of a response, V vocabulary, S start of a block, D depth in a block.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from draftmark.models.finite import check_logits
from draftmark.models.hidden_states import TargetLogits
from draftmark.models.sampling import sampler_probs
from draftmark.speculation.interfaces import Session
from draftmark.store.acceptance_tables import Floats, Ints, deterministic
from draftmark.types import MAX_GAMMA, AcceptanceTable, Samplers, Text


def probability_ratio(p_N: torch.Tensor, q_N: torch.Tensor) -> torch.Tensor:
    """Return q(y) / p(y) [N] in float64, not clipped at 1; 1 where p(y) is 0."""
    p_N, q_N = p_N.double(), q_N.double()
    return torch.where(p_N > 0, q_N / p_N, 1.0)


def tokens_above(confidence_SD: Floats, threshold: float) -> Ints:
    """Return the number of tokens [S] drafted before a confidence first falls below a threshold.

    A static rule keeps a draft lossless, and its tables exact, if confidence_SD[s, j] depends on
    the text up to the start s and on the j tokens drafted before, never on the token at depth j: a
    drawn token that is dropped for its own probability biases what is left. The confidences along
    y give a table's drafted_S, those along one draw from the draft its proposed_S. A rule on the
    probability that the block survives has the running product of confidences.
    """
    below_SD = np.concatenate([confidence_SD < threshold, np.ones((len(confidence_SD), 1))], axis=1)
    return np.asarray(below_SD.argmax(axis=1), dtype=np.int64)


def greedy_acceptance(q_NV: torch.Tensor, p_NV: torch.Tensor, y_N: torch.Tensor) -> dict[str, Any]:
    """Return greedy_S, True where y is the draft's most likely token, and greedy_overlap_S.

    A deterministic draft x is accepted with probability p(x), and given y if and only if y is x.
    """
    choice_N = q_NV.argmax(-1)
    p_choice_N = p_NV.gather(-1, choice_N[:, None])[:, 0]
    return {
        "greedy_S": (choice_N == y_N.to(choice_N.device)).cpu().numpy(),
        "greedy_overlap_S": p_choice_N.double().cpu().numpy(),
    }


@torch.no_grad()
def score_deterministic(
    start: Callable[[Sequence[int]], Session],
    texts: Sequence[Text],
    target: TargetLogits,
    samplers: Samplers,
) -> Iterator[AcceptanceTable]:
    """Yield the acceptance table of each text, for drafts that are a function of the text so far.

    `start` returns a session for a prompt. The session may propose fewer tokens than requested, or
    none; its proposal for a short block must be a prefix of its proposal for a longer one.
    """
    for text in texts:
        session = start(text.prompt_ids)
        logits_NV = target.logits(text)
        check_logits(logits_NV, text.example_id, "the target's")
        p_NV = sampler_probs(logits_NV, samplers.target)
        choice_N = p_NV.argmax(-1)
        length = len(text.response_ids)
        accept_SD, drafted_S = np.zeros((length, MAX_GAMMA)), np.zeros(length, dtype=np.int64)
        overlap_S, match_S = np.zeros(length), np.zeros(length)
        for s in range(length):
            so_far = (*text.prompt_ids, *text.response_ids[:s])
            drafted = session.propose(so_far, MAX_GAMMA).token_ids
            drafted_S[s] = len(drafted)  # also past the end of the text, which no draft knows
            within = min(len(drafted), length - s)
            accept_SD[s, :within] = np.equal(drafted[:within], text.response_ids[s : s + within])
            if drafted:
                overlap_S[s] = float(p_NV[s, drafted[0]])
                match_S[s] = float(choice_N[s] == drafted[0])
        table = AcceptanceTable(text.example_id, accept_SD, drafted_S, overlap_S, match_S)
        yield deterministic(table) if samplers.draft.temperature else table
