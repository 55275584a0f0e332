"""Stored counts of conversations: a conversation is one unit of every paired comparison."""

import numpy as np

from draftmark.analysis.stored_counts import StoredCounts, paired_effect, shared_prompts
from draftmark.results import Contender

TURNS = ("t/0/turn-1", "t/0/turn-2", "t/1", "t/2/turn-1", "t/2/turn-2")


def _stored(prompts: tuple[str, ...], accepted: tuple[float, ...]) -> StoredCounts:
    columns = {"accepted": accepted, "tested": (4.0,) * len(prompts)}
    return StoredCounts(Contender("t", "p", "m"), 0.0, prompts, {0: columns}, 4)


def test_turns_are_summed_and_paired_by_conversation() -> None:
    now, before = _stored(TURNS, (1, 2, 3, 0, 4)), _stored(TURNS, (1, 1, 2, 0, 1))
    shared = shared_prompts(now, before)
    ((top_B, bottom_B),) = now.counts("acceptance_rate", shared)

    assert shared == ["t/0", "t/1", "t/2"]
    assert list(top_B) == [3, 3, 4]
    assert list(bottom_B) == [8, 4, 8]
    effect = paired_effect(now, before, "acceptance_rate", shared)
    assert effect.n == 3
    assert np.isclose(effect.value, 10 / 20 - 5 / 20)


def test_a_conversation_that_has_other_turns_is_not_shared() -> None:
    assert shared_prompts(_stored(TURNS, (1,) * 5), _stored(TURNS[1:], (1,) * 4)) == ["t/1", "t/2"]
