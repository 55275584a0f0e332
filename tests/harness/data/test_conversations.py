"""Conversations: turns in order, and prompts that hold the answers before them."""

from collections.abc import Sequence

from draftmark.data.conversations import by_turn, with_context, with_gold_answers
from draftmark.data.leaks import find_overlaps
from draftmark.data.prompt_formats import conversation_examples
from draftmark.types import Example, conversation_of


def _examples() -> list[Example]:
    long = {"turns": ["a", "b", "c"], "reference": ["A", "B", "C"]}
    short = {"turns": ["d", "e"], "reference": ["", "E"]}
    return [*conversation_examples("t/0", long), *conversation_examples("t/1", short)]


def _ids(examples: Sequence[Example]) -> list[str]:
    return [example.id for example in examples]


def test_all_first_turns_come_before_the_second_ones() -> None:
    assert [_ids(turn) for turn in by_turn(_examples())] == [
        ["t/0/turn-1", "t/1/turn-1"],
        ["t/0/turn-2", "t/1/turn-2"],
        ["t/0/turn-3"],
    ]


def test_a_prompt_holds_the_turns_and_answers_before_it() -> None:
    examples = _examples()
    asked = with_context(examples, {"t/0/turn-1": "one", "t/0/turn-2": "two"})
    third = asked[2]

    assert [turn["content"] for turn in third.messages] == ["a", "one", "b", "two", "c"]
    roles = ["user", "assistant", "user", "assistant", "user"]
    assert [turn["role"] for turn in third.messages] == roles
    assert _ids(asked) == ["t/0/turn-1", "t/0/turn-2", "t/0/turn-3", "t/1/turn-1"]


def test_gold_answers_need_gold_answers_before_them() -> None:
    gold = with_gold_answers(_examples())

    assert _ids(gold) == ["t/0/turn-1", "t/0/turn-2", "t/0/turn-3"]
    assert [turn["content"] for turn in gold[2].messages] == ["a", "A", "b", "B", "c"]


def test_a_turn_belongs_to_its_conversation() -> None:
    assert conversation_of("mt_bench/test/3/turn-12") == "mt_bench/test/3"
    assert conversation_of("gsm8k/test/3") == "gsm8k/test/3"


def test_missing_answers_are_not_copies_of_each_other() -> None:
    rows = conversation_examples("t/2", {"prompt": "f"})
    _, answers = find_overlaps({"train": rows}, conversation_examples("t/3", {"prompt": "g"}))

    assert (answers.test_rows, answers.duplicates) == (0, 0)
