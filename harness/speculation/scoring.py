"""The target's own texts -> how likely each drafted token is to be accepted (DESIGN section 4).

p is the target's law, q the law that the draft token is drawn from, each after its own sampler's
warp; y is the target's own text under p. Speculative sampling emits y with law p, and given y its
token was accepted, not resampled, with probability min(1, q(y) / p(y)). Where the target is greedy
that is q(y), where the draft is deterministic it is 1 or 0: one formula for all samplers.

A language model is scored in one teacher-forced pass, a deterministic draft is asked at every
start; `draftmark.speculation.head_drafter` has drafts that feed on what they drafted.

Legend: N position of a response, V vocabulary, S start of a block, D depth in it.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from draftmark.models.hidden_states import TargetLogits, hidden_states
from draftmark.models.language_model import LanguageModel
from draftmark.models.sampling import sampler_probs
from draftmark.speculation.interfaces import Session
from draftmark.store.acceptance_tables import sliding_table
from draftmark.training.divergences import overlap
from draftmark.types import MAX_GAMMA, AcceptanceTable, Samplers, Text

# Rounding alone makes a few of a text's tokens impossible under its own law (ties at temperature 0,
# the edge of a nucleus). More of them than this, and the text is not the target's.
MAX_IMPOSSIBLE = 0.05


@torch.no_grad()
def score_language_model(
    model: LanguageModel, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
) -> Iterator[AcceptanceTable]:
    """Yield the acceptance table of each text, for blocks of up to MAX_GAMMA tokens.

    Raises ValueError, at the end, if the texts are not what the target writes by its sampler.
    """
    impossible, tokens = 0, 0
    for text, hidden_ND in hidden_states(model, texts):
        draft_logits_NV, target_logits_NV = model.logits(hidden_ND), target.logits(text)
        q_NV = sampler_probs(draft_logits_NV, samplers.draft)
        p_NV = sampler_probs(target_logits_NV, samplers.target)
        y_N = torch.tensor(text.response_ids, device=q_NV.device)
        p_N, q_N = (law_NV.gather(-1, y_N[:, None])[:, 0] for law_NV in (p_NV, q_NV))
        overlap_N = overlap(q_NV, p_NV)
        agree_N = draft_logits_NV.argmax(-1) == target_logits_NV.argmax(-1)
        # Of a y that rounding made impossible: the probability that any token was accepted.
        accept_N = torch.where(p_N > 0, acceptance(p_N, q_N), overlap_N)
        yield sliding_table(
            text.example_id,
            accept_S=_numbers(accept_N),
            overlap_S=_numbers(overlap_N),
            greedy_match_S=_numbers(agree_N),
            depth=MAX_GAMMA,
        )
        impossible, tokens = impossible + int((p_N == 0).sum()), tokens + len(y_N)
    _check_own(impossible, tokens)


def acceptance(p_N: torch.Tensor, q_N: torch.Tensor) -> torch.Tensor:
    """Return the probability [N] that y was accepted, of its probabilities; 1 if p is 0."""
    return torch.where(q_N >= p_N, torch.ones_like(q_N), q_N / p_N)


def _check_own(impossible: int, tokens: int) -> None:
    if impossible > MAX_IMPOSSIBLE * tokens:
        raise ValueError(
            f"{impossible} of {tokens} tokens of these texts have probability 0 under the target's "
            "sampler: the target did not write them so"
        )


@torch.no_grad()
def score_deterministic(
    start: Callable[[Sequence[int]], Session],
    texts: Sequence[Text],
    target: TargetLogits,
    samplers: Samplers,
) -> Iterator[AcceptanceTable]:
    """Yield the acceptance table of each text, for drafts that are a function of the text so far.

    `start` returns a session for a prompt. It may propose fewer tokens than asked for, or none, and
    what it proposes for a short block must begin what it proposes for a long one.
    """
    for text in texts:
        session = start(text.prompt_ids)
        p_NV = sampler_probs(target.logits(text), samplers.target)
        choice_N = p_NV.argmax(-1)
        length = len(text.response_ids)
        accept_SD, drafted_S = np.zeros((length, MAX_GAMMA)), np.zeros(length, dtype=np.int64)
        overlap_S, match_S = np.zeros(length), np.zeros(length)
        for s in range(length):
            following = text.response_ids[s : s + MAX_GAMMA]
            so_far = (*text.prompt_ids, *text.response_ids[:s])
            drafted = session.propose(so_far, len(following)).token_ids
            drafted_S[s] = len(drafted)
            accept_SD[s, : len(drafted)] = np.equal(drafted, following[: len(drafted)])
            if drafted:
                overlap_S[s] = float(p_NV[s, drafted[0]])
                match_S[s] = float(choice_N[s] == drafted[0])
        yield AcceptanceTable(text.example_id, accept_SD, drafted_S, overlap_S, match_S)


def _numbers(values_N: torch.Tensor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    numbers: np.ndarray[tuple[int], np.dtype[np.float64]] = values_N.double().cpu().numpy()
    return numbers
