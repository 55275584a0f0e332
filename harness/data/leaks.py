"""Finds rows that are in two splits: duplicates, and long passages in common.

Duplicates have the same normalised text: they differ at most in case, spaces and punctuation.
Copied passages share word 13-grams, as in GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C),
which ignores 13-grams in more than 10 training documents as common phrases. Here, words of 13-grams
in more than 10 rows and more than 1 in 100 rows of a side are template text (the instruction on
every row) and are removed first. A row is copied if 8 in 10 of its remaining 13-grams are
elsewhere, partly copied if 2 in 10: the bounds of dirty and clean of Llama 2 (Touvron et al. 2023,
arXiv 2307.09288, appendix A.6, for tokens). A row with fewer than 13 words of its own can only be a
duplicate.
"""

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from draftmark.types import Example

NGRAM = 13
PHRASE_ROWS, PHRASE_SHARE = 10, 0.01
COPIED_SHARE, PARTLY_SHARE = 0.8, 0.2
SHOWN = 5

Part = Literal["question", "answer"]
_Ngram = tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """A test row and the row that shares most of it; n-grams are counted without template text."""

    test_id: str
    other_id: str
    duplicate: bool
    shared_ngrams: int
    ngrams: int

    @property
    def share(self) -> float:
        """The share of the test row's n-grams that are elsewhere; 1 for a duplicate."""
        return 1.0 if self.duplicate else self.shared_ngrams / self.ngrams


@dataclass(frozen=True)
class Overlap:
    """The number of test rows whose questions, or whose answers, are in a group of other rows."""

    group: str
    part: Part
    rows: int
    test_rows: int
    short: int  # test rows with fewer than NGRAM words of their own
    duplicates: int
    copied: int  # duplicates, and rows with a share of COPIED_SHARE or more
    partly: int  # those, and rows with a share of PARTLY_SHARE or more
    examples: tuple[Match, ...]  # the worst


@dataclass(frozen=True)
class _Text:
    example_id: str
    words: Sequence[str]
    normal: str  # equal for duplicates


def find_overlaps(
    groups: Mapping[str, Sequence[Example]], test: Sequence[Example]
) -> tuple[Overlap, ...]:
    """Return the overlap of the test rows with each named group, for questions and for answers.

    Time and memory are linear in the number of words. Raises ValueError without test rows.
    """
    if not test:
        raise ValueError("no test rows: nothing can overlap them")
    return tuple(
        _overlap(name, part, _texts(rows, part), _texts(test, part))
        for name, rows in groups.items()
        for part in get_args(Part)
    )


def question_text(example: Example) -> str:
    """Return an example's question, without the task's instructions where the task marks them."""
    asked: str = example.meta.get("question", example.messages[-1]["content"])
    return asked


def normalise_question(text: str) -> str:
    """Return the normalised text: equal for texts that differ in case, spaces, punctuation."""
    # A text without words keeps its punctuation: "?" is not "!".
    return " ".join(split_words(text) or _folded(text).split())


def split_words(text: str) -> list[str]:
    """Return the words of a text, without case, punctuation and typographic variants."""
    folded = _folded(text)
    marks = [mark for mark in set(folded) if unicodedata.category(mark).startswith("P")]
    return folded.translate(dict.fromkeys(map(ord, marks), " ")).split()


def _folded(text: str) -> str:
    """Return a text in NFKC, casefolded, and in NFKC again, as casefolding may undo it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _texts(examples: Sequence[Example], part: Part) -> list[_Text]:
    if part == "answer":
        texts = [(example.id, example.reference) for example in examples if example.reference]
    else:
        texts = [(example.id, question_text(example)) for example in examples]
    return [
        _Text(example_id, split_words(text), normalise_question(text)) for example_id, text in texts
    ]


def _overlap(group: str, part: Part, rows: Sequence[_Text], test: Sequence[_Text]) -> Overlap:
    phrases = _phrases(test, within=test) | _phrases(rows, within=test)
    own = [frozenset(_ngrams(_without(text.words, phrases))) for text in test]
    wanted = frozenset[_Ngram]().union(*own)
    # Later entries of a dict win, so in reverse order the first of several rows is named.
    same = {text.normal: text.example_id for text in reversed(rows)}
    where = {
        ngram: text.example_id
        for text in reversed(rows)
        for ngram in wanted.intersection(_ngrams(_without(text.words, phrases)))
    }
    found = [
        match
        for text, ngrams in zip(test, own, strict=True)
        if (match := _match(text, ngrams, same, where))
    ]
    return Overlap(
        group=group,
        part=part,
        rows=len(rows),
        test_rows=len(test),
        short=sum(not ngrams for ngrams in own),
        duplicates=sum(match.duplicate for match in found),
        copied=sum(match.share >= COPIED_SHARE for match in found),
        partly=len(found),
        examples=tuple(sorted(found, key=_worst_first)[:SHOWN]),
    )


def _ngrams(found: Sequence[str]) -> Iterator[_Ngram]:
    return zip(*(found[start:] for start in range(NGRAM)), strict=False)


def _phrases(rows: Sequence[_Text], within: Sequence[_Text]) -> set[_Ngram]:
    """Return the n-grams of `within` that are in enough rows to be template text."""
    known = {ngram for text in within for ngram in _ngrams(text.words)}
    counts = Counter(ngram for text in rows for ngram in known.intersection(_ngrams(text.words)))
    most = max(PHRASE_ROWS, PHRASE_SHARE * len(rows))
    return {ngram for ngram, count in counts.items() if count > most}


def _without(found: Sequence[str], phrases: Collection[_Ngram]) -> Sequence[str]:
    """Return the words outside of all phrases."""
    starts = [start for start, ngram in enumerate(_ngrams(found)) if ngram in phrases]
    inside = {place for start in starts for place in range(start, start + NGRAM)}
    return [word for place, word in enumerate(found) if place not in inside] if inside else found


def _match(
    text: _Text, ngrams: frozenset[_Ngram], same: Mapping[str, str], where: Mapping[_Ngram, str]
) -> Match | None:
    """Return the match of a test row, or None if its share is below PARTLY_SHARE."""
    shared = ngrams & where.keys()
    twin = same.get(text.normal)
    if twin is None and len(shared) < max(1.0, PARTLY_SHARE * len(ngrams)):
        return None
    owners = Counter(where[ngram] for ngram in shared)
    other = twin or min(owners, key=lambda name: (-owners[name], name))
    return Match(text.example_id, other, twin is not None, len(shared), len(ngrams))


def _worst_first(match: Match) -> tuple[bool, float, str]:
    return (not match.duplicate, -match.share, match.test_id)
