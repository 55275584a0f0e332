"""Prompts: text is text, templates get their arguments, and no prompt ends in an end token."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from draftmark.data.control_tokens import appended_tokens, control_tokens, encode_text, spelled_out
from draftmark.data.prompts import encode_gold, encode_prompt
from draftmark.data.rows import load_rows
from draftmark.errors import UserError
from draftmark.models.files import cached_model, own_models
from draftmark.models.language_model import load_tokenizer
from draftmark.registry import find_registered
from draftmark.types import Example

END = 2
THINKS = (
    "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)


def _example(content: str, reference: str = "4") -> Example:
    return Example("row", ({"role": "user", "content": content},), reference)


def _folders() -> list[Path]:
    cached = cached_model("smollm2-135m-instruct")
    return [*own_models().values(), *([cached] if cached else [])]


@pytest.fixture(scope="module", params=_folders(), ids=lambda folder: folder.name)
def any_tokenizer(request: pytest.FixtureRequest) -> Any:
    return load_tokenizer(request.param)


@pytest.fixture
def thinking(tiny_directory: Path, tmp_path: Path) -> Any:
    """The tiny target's tokenizer with a template that can switch thinking off."""
    shutil.copytree(tiny_directory, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(THINKS)
    return load_tokenizer(tmp_path / "model")


@pytest.mark.parametrize("form", ["chat", "plain"])
def test_a_special_token_that_a_row_spells_out_is_text(any_tokenizer: Any, form: str) -> None:
    spelled = "Is <|im_end|> one token, or <|im_start|>user\nmany?"
    ids = encode_prompt(any_tokenizer, _example(spelled), form)
    plain = encode_prompt(any_tokenizer, _example("Is it one token?"), form)
    special = set(any_tokenizer.all_special_ids)

    assert [token for token in ids if token in special] == [
        token for token in plain if token in special
    ]
    assert spelled in any_tokenizer.decode(ids)


def test_a_gold_answer_ends_once(any_tokenizer: Any) -> None:
    example = _example("Close a turn.", "Write <|im_end|> and stop.")
    (text,) = encode_gold(any_tokenizer, [example], frozenset({END}))

    assert text.response_ids.index(END) == len(text.response_ids) - 1
    assert any_tokenizer.decode(text.response_ids[:-1]) == example.reference


@given(st.lists(st.sampled_from(["<|im_end|>", "<|im_start|>", "a", " ", "\n", "<|", "é", "#"])))
def test_the_parts_of_a_chat_are_those_of_the_template(pieces: list[str]) -> None:
    tokenizer = load_tokenizer(own_models()["tiny-target"])
    content = "".join(pieces)
    ids = encode_prompt(tokenizer, _example(content))

    marked = encode_prompt(tokenizer, _example("x"))
    shown = tokenizer.decode(marked).replace("x", content)
    assert tokenizer.decode(ids) == shown
    special = set(tokenizer.all_special_ids)
    assert sum(token in special for token in ids) == sum(token in special for token in marked)


def test_rows_that_spell_out_nothing_are_encoded_as_ever(any_tokenizer: Any) -> None:
    rows = load_rows(find_registered("tasks", "gsm8k"), "test", 16, sources=["samples"])
    for example in rows.examples:
        expected = any_tokenizer.apply_chat_template(
            list(example.messages), add_generation_prompt=True, tokenize=True, return_dict=False
        )
        assert encode_prompt(any_tokenizer, example) == tuple(expected)
        assert spelled_out(any_tokenizer, [example.messages[-1]["content"]]) == []
        assert encode_text(any_tokenizer, example.reference) == tuple(
            any_tokenizer.encode(example.reference, add_special_tokens=False)
        )


def test_the_longest_special_token_is_found_first(any_tokenizer: Any) -> None:
    lengths = [len(token) for token in control_tokens(any_tokenizer)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths


def _appending(tiny_directory: Path, single: str) -> Any:
    tokenizer = copy.deepcopy(load_tokenizer(tiny_directory))
    special = [("<|im_end|>", END), ("<|im_start|>", 1)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=special
    )
    return tokenizer


@pytest.mark.parametrize(
    ("single", "before", "after"),
    [
        ("$A <|im_end|>", (), (END,)),
        ("<|im_start|> $A <|im_end|>", (1,), (END,)),
        ("<|im_start|> $A", (1,), ()),
        ("$A <|im_end|> <|im_end|>", (), (END, END)),
    ],
)
def test_what_a_tokenizer_appends_to_plain_text_is_dropped(
    tiny_directory: Path, single: str, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    usual, appending = load_tokenizer(tiny_directory), _appending(tiny_directory, single)
    bare = encode_prompt(usual, _example("How many?"), "plain")

    assert appended_tokens(usual) == ()
    assert appended_tokens(appending) == after
    assert encode_prompt(appending, _example("How many?"), "plain") == (*before, *bare)
    assert encode_prompt(appending, _example("How many?")) == encode_prompt(
        usual, _example("How many?")
    )


def test_a_template_gets_its_arguments(thinking: Any) -> None:
    example = _example("How many?")
    off = encode_prompt(thinking, example, template_kwargs={"enable_thinking": False})
    assert thinking.decode(off).endswith("<|im_start|><think>\n\n</think>\n\n")
    for kwargs in ({}, {"enable_thinking": True}):
        shown = thinking.decode(encode_prompt(thinking, example, template_kwargs=kwargs))
        assert shown.endswith("<|im_start|>")
    (text,) = encode_gold(
        thinking, [example], frozenset({END}), template_kwargs={"enable_thinking": False}
    )
    assert text.prompt_ids == off


def test_an_argument_that_the_template_does_not_read_is_refused(thinking: Any) -> None:
    with pytest.raises(UserError, match=r"'enable_thinkng', which .* does not read; check its"):
        encode_prompt(thinking, _example("?"), template_kwargs={"enable_thinkng": False})


def test_arguments_of_a_template_that_is_missing_are_refused(thinking: Any) -> None:
    thinking = copy.deepcopy(thinking)
    thinking.chat_template = None
    with pytest.raises(UserError, match="prompts are plain text"):
        encode_prompt(thinking, _example("?"), template_kwargs={"enable_thinking": False})
