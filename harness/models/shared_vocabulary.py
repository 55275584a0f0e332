"""The tokens that a target and a draft with another tokenizer share: cross-vocabulary drafting.

Token-level intersection (TLI; Timor et al. 2025, arXiv 2502.05202), as vLLM 0.32 does it with
`use_heterogeneous_vocab` (v1/spec_decode/vocab_mapping.py):

- Two tokens are one if their strings are equal after the mark of a leading space ("Ġ", "▁").
- The draft reads the target's ids one by one in its own ids; a token that it lacks is its unknown
  token, else its end token.
- The draft proposes shared tokens only: q is its distribution, renormalised on them.

So q depends on the text so far alone, as that of any language model, and no other token of a text
can be accepted. If several tokens of one tokenizer have the same string, the lowest id is taken;
vLLM takes any.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.store.reading import read_json
from draftmark.store.store import write_json

VOCABULARY = "shared_vocabulary.json"  # beside a draft's weights
_SPACE_MARKS = ("\u0120", "\u2581")  # of byte-level BPE, of SentencePiece


@dataclass(frozen=True)
class SharedVocabulary:
    """For each id of the target, the draft's id of the same token, or -1.

    `unknown` is the id that the draft reads for a token that it lacks.
    """

    to_draft: tuple[int, ...]
    unknown: int

    @property
    def size(self) -> int:
        """The number of shared tokens."""
        return sum(index >= 0 for index in self.to_draft)

    @property
    def reading(self) -> list[int]:
        """For each id of the target, the id that the draft reads."""
        return [self.unknown if index < 0 else index for index in self.to_draft]

    def has(self, token: int) -> bool:
        """True if the target's token is shared."""
        return 0 <= token < len(self.to_draft) and self.to_draft[token] >= 0

    def describe(self) -> str:
        """Return the size in words."""
        share = self.size / len(self.to_draft)
        return f"{self.size:,} of the target's {len(self.to_draft):,} tokens ({share:.1%})"

    def count(self, token_ids: Iterable[int]) -> int:
        """Return how many tokens of a text are shared."""
        return sum(map(self.has, token_ids))

    def save(self, directory: Path) -> None:
        """Write the vocabulary beside a draft's weights."""
        write_json(directory / VOCABULARY, asdict(self))


def has_shared_vocabulary(directory: Path) -> bool:
    """True if the folder's draft reads the target's ids through a shared vocabulary."""
    return (directory / VOCABULARY).is_file()


def read_vocabulary(directory: Path) -> SharedVocabulary | None:
    """Return the shared vocabulary of a draft's folder; None if it has its target's tokenizer."""
    if not has_shared_vocabulary(directory):
        return None
    vocabulary: SharedVocabulary = read_json(directory / VOCABULARY, SharedVocabulary)
    return vocabulary


def match_vocabularies(
    target: Any, draft: Any, target_size: int, draft_rows: int
) -> SharedVocabulary:
    """Return the tokens that two tokenizers share, below the sizes of the models' heads.

    Raises UserError if they share none, or if the draft has neither an unknown nor an end token.
    """
    to_draft = [-1] * target_size
    of_draft = _by_string(draft, draft_rows)
    for string, index in _by_string(target, target_size).items():
        to_draft[index] = of_draft.get(string, -1)
    vocabulary = SharedVocabulary(tuple(to_draft), _unknown_token(draft, draft_rows))
    if not vocabulary.size:
        raise UserError("The tokenizers of target and draft share no token; choose another draft.")
    return vocabulary


def _by_string(tokenizer: Any, size: int) -> Mapping[str, int]:
    """Return the lowest id of each token's string; ids from `size` on are left out."""
    marks = _space_marks(tokenizer)
    ids: dict[str, int] = {}
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        mark = next(filter(token.startswith, marks), None)
        string = token if mark is None else " " + token.removeprefix(mark)
        if index < size:
            ids.setdefault(string, index)
    return ids


def _space_marks(tokenizer: Any) -> tuple[str, ...]:
    """Return the mark of a leading space: what precedes "a" in the first token of " a"."""
    first = tokenizer.encode(" a", add_special_tokens=False)[:1]
    token = tokenizer.convert_ids_to_tokens(first[0]) if first else None
    marked = token and len(token) > 1 and token.endswith("a") and not token[0].isspace()
    return (token[:-1],) if token and marked else _SPACE_MARKS


def _unknown_token(tokenizer: Any, rows: int) -> int:
    """Return the unknown token's id, else the end token's."""
    for index in (tokenizer.unk_token_id, tokenizer.eos_token_id):
        if index is not None and index < rows:
            return int(index)
    raise UserError(
        "The draft's tokenizer has neither an unknown nor an end token, one of which it would read "
        "in place of the target's other tokens; choose another draft."
    )
