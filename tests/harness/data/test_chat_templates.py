"""A chat template that loops or fails ends in a sentence; one that works is left alone."""

import copy
import threading
import time
from typing import Any

import pytest

from draftmark.data import chat_templates
from draftmark.data.prompts import encode_prompt
from draftmark.errors import UserError
from draftmark.models.files import own_models
from draftmark.models.language_model import load_tokenizer
from draftmark.types import Example

ROW = Example("row", ({"role": "user", "content": "2 + 2?"},), "4")
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}"
ENDLESS = {
    "loops": LOOP + "{% endfor %}{% endfor %}",
    "loops for one message": "{% if messages[0].content == '2 + 2?' %}"
    + LOOP
    + "{% endfor %}{% endfor %}{% endif %}",
    "counts": "{% set n = namespace(x=3) %}{% for a in range(99999) %}{% set n.x = n.x * n.x %}"
    "{% endfor %}",
    "calls itself": "{% macro f(n) %}{% for i in range(9) %}{{ f(n + 1) if n < 20 }}{% endfor %}"
    "{% endmacro %}{{ f(0) }}",
}
FAILS = {
    "{{ 9 ** 9 ** 9 ** 9 }}": "computes a power in line 1",
    "{{ raise_exception('roles must alternate') }}": "TemplateError: roles must alternate",
    "{{ 1 // 0 }}": "ZeroDivisionError",
    "{{ messages[0].content + 1 }}": "TypeError",
    "{{ nothing.at.all }}": "UndefinedError",
    "{% for m in messages %}": "TemplateSyntaxError",
    "{{ range(10000000) }}": "OverflowError",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "RecursionError",
    "{{ raise_exception('\x1b[2J') }}": "TemplateError: \ufffd[2J",
}


def with_template(template: str) -> Any:
    """Return the tiny target's tokenizer with another template."""
    tokenizer = copy.copy(load_tokenizer(own_models()["tiny-target"]))  # others share it
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_that_does_not_end_ends_in_a_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_templates, "TIMEOUT_S", 0.1)
    tokenizer = with_template(ENDLESS[name])

    with pytest.raises(UserError, match=r"did not end within 0\.1 s; fix chat_template\.jinja"):
        encode_prompt(tokenizer, ROW)


@pytest.mark.parametrize("template", FAILS)
def test_a_template_that_fails_is_a_sentence(template: str) -> None:
    with pytest.raises(UserError) as error:
        encode_prompt(with_template(template), ROW)

    assert FAILS[template] in str(error.value)
    assert str(error.value).endswith("or set prompting.format = 'plain'.")


def test_a_template_may_unpack_arguments() -> None:
    template = "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(**{'x': messages[0].content}) }}"
    tokenizer = with_template(template)

    assert tokenizer.decode(encode_prompt(tokenizer, ROW)) == "2 + 2?"


def test_what_ends_in_time_is_not_interrupted_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_templates, "TIMEOUT_S", 0.05)
    tokenizer = with_template("{{ messages[0].content }}")
    before = set(threading.enumerate())

    assert tokenizer.decode(encode_prompt(tokenizer, ROW)) == "2 + 2?"
    time.sleep(0.2)
    assert set(threading.enumerate()) <= before
