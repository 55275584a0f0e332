"""Stop strings: seen when the token that completes one is there, and cut from what is graded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from draftmark.engines.reference import ENGINE
from draftmark.models.files import end_tokens
from draftmark.models.generation import Sampling, generate
from draftmark.models.stop_conditions import StopStrings, finish_reason
from draftmark.speculation.interfaces import EngineSettings
from draftmark.types import GREEDY, Placement, Prompt, Samplers, Text


def of_characters(token_ids: Sequence[int]) -> str:
    return "".join(map(chr, token_ids))


@pytest.fixture(scope="module")
def stop(tokenizer: Any, greedy_texts: list[Text]) -> StopStrings:
    """A string of two words that the target writes in some responses."""
    words = tokenizer.decode(greedy_texts[0].response_ids, skip_special_tokens=True).split()
    return StopStrings((f"{words[3]} {words[4]}",), tokenizer.decode)


@given(st.text("ab\n", max_size=12), st.sampled_from([("\n\n",), ("ab", "ba"), ("bb\n",)]))
def test_a_response_ends_with_the_token_that_completes_the_first_stop_string(
    text: str, strings: tuple[str, ...]
) -> None:
    stop = StopStrings(strings, of_characters)
    tokens = [ord(character) for character in text]
    lengths = [size for size in range(1, len(text) + 1) if stop.completes(tokens[:size])]
    ends = [place + len(s) for s in strings if (place := text.find(s)) >= 0]
    assert lengths[:1] == ([min(ends)] if ends else [])


def test_what_is_graded_ends_before_the_stop_string_that_comes_first() -> None:
    stop = StopStrings(("\n\n", "[DONE]"), of_characters)
    assert stop.cut("one [DONE]\n\ntwo") == "one "
    assert stop.cut("one\n\ntwo [DONE]") == "one"
    assert stop.cut("one\ntwo") == "one\ntwo"


def test_an_end_token_goes_before_a_stop_string_and_that_before_the_limit() -> None:
    sampling = Sampling(
        GREEDY, 2, frozenset({ord("b")}), 0, stop=StopStrings(("b",), of_characters)
    )
    assert finish_reason([ord("a"), ord("b")], sampling) == "stop"
    sampling = Sampling(GREEDY, 2, frozenset(), 0, stop=StopStrings(("b",), of_characters))
    assert finish_reason([ord("a"), ord("b")], sampling) == "stop_string"
    assert finish_reason([ord("a"), ord("a")], sampling) == "length"
    assert finish_reason([ord("a")], sampling) is None


def test_responses_stop_where_those_of_transformers_do(
    target: Any, prompts: list[Prompt], tokenizer: Any, tiny_directory: Path, stop: StopStrings
) -> None:
    sampling = Sampling(GREEDY, 160, end_tokens(tiny_directory), 0, stop=stop)
    texts = generate(target, prompts[:12], sampling, rows_per_batch=12)
    for prompt, text in zip(prompts, texts, strict=False):
        ids = torch.tensor([prompt.token_ids])
        out = target.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=160,
            stop_strings=list(stop.strings),
            tokenizer=tokenizer,
            pad_token_id=tokenizer.pad_token_id,
        )
        assert tuple(out[0, ids.shape[1] :].tolist()) == text.response_ids
    assert texts[0].finish_reason == "stop_string"
    assert stop.strings[0] not in stop.cut(tokenizer.decode(texts[0].response_ids))


def test_the_engine_stops_where_the_target_alone_does(
    target: Any, prompts: list[Prompt], tiny_directory: Path, stop: StopStrings
) -> None:
    ends = end_tokens(tiny_directory)
    sampling = Sampling(GREEDY, 160, ends, 0, stop=stop)
    texts = generate(target, prompts[:4], sampling, rows_per_batch=4)
    settings = EngineSettings(Samplers(GREEDY, GREEDY), 4, 160, ends, 0, Placement(), stop)
    decoded = list(ENGINE.open(tiny_directory, None, None, settings).generate(prompts[:4]))
    assert [one.token_ids for one in decoded] == [text.response_ids for text in texts]
    assert [one.finish_reason for one in decoded] == [text.finish_reason for text in texts]
