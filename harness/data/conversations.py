"""Conversations: later turns, whose prompts hold the turns and answers before them.

Each turn is an example of its own (see `types.Example.follows`). The target answers the first
turns, then the second ones, and so on, so that a prompt holds the target's own earlier answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from draftmark.types import Example, Turn


def has_later_turns(examples: Sequence[Example]) -> bool:
    """True if an example follows another one in a conversation."""
    return any(example.follows for example in examples)


def by_turn(examples: Sequence[Example]) -> list[list[Example]]:
    """Return the first turns, then the second ones, and so on; turns keep their order.

    A turn comes after the one that it follows.
    """
    place: dict[str, int] = {}
    groups: list[list[Example]] = []
    for example in examples:
        place[example.id] = place[example.follows] + 1 if example.follows else 0
        if place[example.id] == len(groups):
            groups.append([])
        groups[place[example.id]].append(example)
    return groups


def with_context(examples: Sequence[Example], answers: Mapping[str, str]) -> list[Example]:
    """Return the examples with the turns before them, each with its answer, in their messages.

    `answers` has an answer by example id; an example without one before it is left out.
    """
    whole: dict[str, tuple[Turn, ...]] = {}
    for example in examples:
        if not example.follows:
            whole[example.id] = example.messages
        elif example.follows in whole and example.follows in answers:
            answer: Turn = {"role": "assistant", "content": answers[example.follows]}
            whole[example.id] = (*whole[example.follows], answer, *example.messages)
    return [replace(one, messages=whole[one.id]) for one in examples if one.id in whole]


def with_gold_answers(examples: Sequence[Example]) -> list[Example]:
    """Return the examples that have a gold answer, with the gold answers before it in context."""
    gold = {example.id: example.reference for example in examples if example.reference}
    return [example for example in with_context(examples, gold) if example.reference]
