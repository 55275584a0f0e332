"""Leaks: planted copies are found, template text is not, and the laws of being the same hold."""

import gzip
import json
from collections.abc import Sequence
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import REAL_ROWS

from draftmark.data.leaks import NGRAM, PHRASE_ROWS, Overlap, find_overlaps, split_words
from draftmark.data.rows import DATA_VARIABLE, load_splits
from draftmark.tasks.mbpp import TASK as MBPP
from draftmark.types import Example, Split

QUESTION = "How many apples does Ann have if she buys 3 bags of 4 apples and eats 2 of them?"


def _rows(*questions: str, split: str = "train") -> list[Example]:
    """Return rows that ask some questions; no two have the same answer."""
    return [
        Example(f"{split}/{n}", ({"role": "user", "content": text},), f"{split} answer {n}")
        for n, text in enumerate(questions)
    ]


def _questions(train: Sequence[str], test: Sequence[str]) -> Overlap:
    question, answer = find_overlaps({"train": _rows(*train)}, _rows(*test, split="test"))
    assert (question.part, answer.part) == ("question", "answer")
    return question


def _counts(overlap: Overlap) -> tuple[int, int, int]:
    return overlap.duplicates, overlap.copied, overlap.partly


def _some_words(number: int, prefix: str = "w") -> str:
    """Return text of `number` words, no two the same."""
    return " ".join(f"{prefix}{n}" for n in range(number))


@pytest.mark.parametrize(
    "variant",
    [
        QUESTION,
        QUESTION.upper(),
        f"  {QUESTION}\r\n".replace(" ", "  "),
        QUESTION.replace("?", " ...?!"),
        QUESTION.replace("Ann", "\uff21nn"),  # a full-width A
        QUESTION.replace("Ann", "\u201cAnn\u201d"),
    ],
)
def test_a_row_that_differs_in_case_spaces_or_punctuation_is_a_duplicate(variant: str) -> None:
    found = _questions(["Another question?", QUESTION], ["And another?", variant])

    assert _counts(found) == (1, 1, 1)
    assert [(match.test_id, match.other_id) for match in found.examples] == [("test/1", "train/1")]


@pytest.mark.parametrize("other", [QUESTION.replace("3", "5"), QUESTION + " Why?", "?"])
def test_a_row_that_differs_in_a_word_is_no_duplicate(other: str) -> None:
    assert _questions([QUESTION], [other]).duplicates == 0


def test_rows_without_words_are_the_same_only_if_their_signs_are() -> None:
    assert _questions(["?"], ["!", " ? "]).duplicates == 1


def test_questions_and_answers_are_looked_at_apart() -> None:
    train = [Example("a", ({"role": "user", "content": "Why?"},), "Because")]
    test = [Example("b", ({"role": "user", "content": "How?"},), "because.")]

    question, answer = find_overlaps({"train": train}, test)

    assert (question.duplicates, answer.duplicates) == (0, 1)


def test_every_named_group_has_its_own_counts() -> None:
    groups = {"train": _rows("a", "b"), "few-shot": _rows("c")}

    found = {(o.group, o.part): o for o in find_overlaps(groups, _rows("c", "d", split="test"))}

    assert found.keys() == {(g, p) for g in groups for p in ("question", "answer")}
    assert found["train", "question"].duplicates == 0
    assert found["few-shot", "question"].duplicates == 1
    assert (found["train", "question"].rows, found["few-shot", "question"].rows) == (2, 1)


@pytest.mark.parametrize(
    ("copied_words", "total_words", "counts"),
    [
        (NGRAM - 1, 30, (0, 0, 0)),
        (NGRAM, NGRAM + 4, (0, 0, 1)),  # 1 of 5 13-grams
        (NGRAM, NGRAM + 5, (0, 0, 0)),  # 1 of 6
        (NGRAM + 3, NGRAM + 4, (0, 1, 1)),  # 4 of 5
        (NGRAM + 2, NGRAM + 4, (0, 0, 1)),  # 3 of 5
    ],
)
def test_a_planted_passage_counts_by_its_share_of_the_test_row(
    copied_words: int, total_words: int, counts: tuple[int, int, int]
) -> None:
    test = _some_words(total_words)
    passage = " ".join(test.split()[:copied_words])

    found = _questions([f"Before it. {passage.upper()}; after it."], [test])

    assert _counts(found) == counts
    assert found.short == 0


def test_a_match_says_where_most_of_the_row_is_and_how_much() -> None:
    test = _some_words(40)
    parts = [" ".join(test.split()[start:end]) for start, end in ((0, 13), (13, 40))]

    (match,) = _questions(parts, [test]).examples

    assert (match.other_id, match.duplicate) == ("train/1", False)
    assert (match.shared_ngrams, match.ngrams) == (1 + 15, 28)
    assert match.share == 16 / 28


def test_the_worst_come_first() -> None:
    test = [_some_words(20, "a"), _some_words(20, "b"), "c"]
    train = [_some_words(15, "a"), _some_words(19, "b"), "c"]

    found = _questions(train, test)

    assert [match.test_id for match in found.examples] == ["test/2", "test/1", "test/0"]


TEMPLATE = "Read the article that follows, then say in one plain sentence what it is all about:"


@pytest.mark.parametrize("side", ["train", "test"])
def test_template_text_does_not_count_whichever_side_shows_it(side: str) -> None:
    """Neither does what only template text and a common first word make long enough."""
    many = [f"{TEMPLATE} The {_some_words(20, letter)}" for letter in ascii_lowercase]
    few = [f"{TEMPLATE} The {_some_words(20, f'few{n}')}" for n in range(3)]
    train, test = (many, few) if side == "train" else (few, many)

    found = _questions(train, test)

    assert _counts(found) == (0, 0, 0)
    assert found.short == 0


def test_a_copy_under_a_template_is_found() -> None:
    many = [f"{TEMPLATE} {_some_words(20, letter)}" for letter in ascii_lowercase]
    copy = f"{TEMPLATE} {_some_words(19, 'k')} end"

    found = _questions(many, [copy, f"{TEMPLATE} {_some_words(20, 'other')}"])

    assert _counts(found) == (0, 1, 1)
    assert found.examples[0].other_id == f"train/{ascii_lowercase.index('k')}"


def test_a_template_alone_makes_a_row_short() -> None:
    many = [f"{TEMPLATE} {letter}" for letter in ascii_lowercase]

    found = _questions(many, [f"{TEMPLATE} 1", f"{TEMPLATE} a"])

    assert _counts(found) == (1, 1, 1)
    assert found.short == 2


@pytest.mark.parametrize(("copies", "partly"), [(PHRASE_ROWS, 1), (PHRASE_ROWS + 1, 0)])
def test_a_passage_is_template_text_from_the_eleventh_row_on(copies: int, partly: int) -> None:
    passage = _some_words(NGRAM)
    train = [f"{passage} then {letter}" for letter in ascii_lowercase[:copies]]

    assert _questions(train, [f"{passage} but"]).partly == partly


def test_in_many_rows_a_passage_is_template_text_beyond_one_in_a_hundred() -> None:
    passage = _some_words(NGRAM)
    train = [f"{passage} then {n}" for n in range(20)] + [str(n) for n in range(1980)]

    assert _questions(train, [f"{passage} but"]).partly == 1
    assert _questions([*train, f"{passage} once more"], [f"{passage} but"]).partly == 0


def test_no_test_rows_are_an_error_and_no_other_rows_are_none() -> None:
    with pytest.raises(ValueError, match="no test rows"):
        find_overlaps({"train": _rows("a")}, [])
    assert _counts(_questions([], ["a"])) == (0, 0, 0)


any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
short_words = st.lists(st.sampled_from("abc"), max_size=16).map(" ".join)
some_rows = st.lists(any_text | short_words, min_size=1, max_size=5)


@given(some_rows)
def test_rows_are_duplicates_of_themselves(texts: list[str]) -> None:
    assert _questions(texts, texts).duplicates == len(texts)


@given(any_text, any_text | short_words)
def test_being_duplicates_is_mutual(first: str, second: str) -> None:
    assert _questions([first], [second]).duplicates == _questions([second], [first]).duplicates


@given(some_rows, some_rows)
def test_the_order_of_rows_changes_no_count(train: list[str], test: list[str]) -> None:
    assert _counts(_questions(train, test)) == _counts(_questions(train[::-1], test[::-1]))


@given(some_rows, some_rows, some_rows)
def test_more_rows_never_hide_a_copy(train: list[str], more: list[str], test: list[str]) -> None:
    """As long as they are too few to make template text."""
    before, after = _questions(train, test), _questions(train + more, test)

    assert all(a >= b for a, b in zip(_counts(after), _counts(before), strict=True))


@given(some_rows, some_rows)
def test_counts_are_nested(train: list[str], test: list[str]) -> None:
    found = _questions(train, test)

    assert 0 <= found.duplicates <= found.copied <= found.partly <= found.test_rows == len(test)


@given(any_text)
def test_normalised_text_stays_as_it_is(text: str) -> None:
    assert split_words(" ".join(split_words(text))) == split_words(text)


def _real(task: str, split: str, question: str, answer: str) -> list[Example]:
    path = REAL_ROWS / task / f"{split}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no real rows: {DATA_VARIABLE} names none")
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return [
        Example(f"{task}/{split}/{n}", ({"role": "user", "content": row[question]},), row[answer])
        for n, row in enumerate(rows)
    ]


def test_three_problems_of_mbpp_repeat_the_text_of_a_training_problem() -> None:
    if not (REAL_ROWS / "mbpp").is_dir():
        pytest.skip(f"no real rows: {DATA_VARIABLE} names none")
    counts: dict[Split, int] = {"train": 374, "test": 500}
    rows = load_splits(MBPP, counts, sources=["directory"], directory=REAL_ROWS)

    question, _ = find_overlaps({"train": rows["train"].examples}, rows["test"].examples)

    assert question.duplicates == 3
    assert [m.test_id for m in question.examples if m.duplicate] == [
        f"mbpp/test/{n}" for n in (205, 206, 237)
    ]


def test_no_question_of_gsm8k_is_in_two_splits() -> None:
    train, validation, test = (
        _real("gsm8k", split, "question", "answer") for split in ("train", "validation", "test")
    )

    found = find_overlaps({"train": train, "validation": validation}, test)

    assert [overlap.copied for overlap in found] == [0, 0, 0, 0]
