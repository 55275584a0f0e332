"""Examples: what each token adds makes up the text again."""

from pathlib import Path

import pytest

from draftmark.models.files import own_models
from draftmark.models.language_model import load_tokenizer
from draftmark.store.examples import NUM_EXAMPLES, examples_name, token_pieces, write_examples
from draftmark.store.records import TEXTS, read_rows, write_texts
from draftmark.types import Text

TARGET = own_models()["tiny-target"]


@pytest.mark.parametrize(
    "text", ["She has $54+19 = $73.\n#### 73", "café 漢字 👩‍🚀 end", "  two  spaces"]
)
def test_the_pieces_of_a_text_make_it_up_again(text: str) -> None:
    tokenizer = load_tokenizer(TARGET)
    ids = tokenizer.encode(text, add_special_tokens=False)

    found = token_pieces(tokenizer, ids)

    assert len(found) == len(ids)
    assert "".join(found) == tokenizer.decode(ids) == text


def test_examples_are_the_first_texts_with_their_prompt(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(TARGET)
    texts = [
        Text(f"gsm8k/test/{n}", tuple(tokenizer.encode("Who?")), tuple(tokenizer.encode("Ann.")))
        for n in range(NUM_EXAMPLES + 1)
    ]
    write_texts(tmp_path / TEXTS, texts)

    write_examples(tmp_path, tokenizer, tmp_path / examples_name(0.0))

    rows = read_rows(tmp_path / "examples-t0.parquet")
    assert [row["example_id"] for row in rows] == [f"gsm8k/test/{n}" for n in range(NUM_EXAMPLES)]
    assert rows[0]["prompt"].endswith("Who?")
    assert "".join(rows[0]["pieces"]).endswith("Ann.")
