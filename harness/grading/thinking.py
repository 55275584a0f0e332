"""Finds the answer in the response of a reasoning model: what comes after its thinking.

Chat templates mark thinking with a pair of marks, or (gpt-oss's "harmony") name the channel of each
message, of which the last "final" one is the answer. A template may open the thinking in the
prompt, so that a response has the closing mark alone. Thinking that is cut has no answer after it.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence

# The opening and closing mark of each family of templates.
_MARKS = (
    ("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, GLM, Olmo 3, SmolLM3, Granite 3
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<analysis>", "</analysis>"),
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<longcat_think>", "</longcat_think>"),  # LongCat-Flash-Thinking
    ("<unused94>thought", "<unused95>"),  # MedGemma
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("◁think▷", "◁/think▷"),  # Kimi-VL
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<mm:think>", "</mm:think>"),  # MiniMax M3
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),  # Kimi K3
    ("Here is my thought process:", "Here is my response:"),  # Granite 3.2
    ("Here's my thought process:", "Here's my response:"),
)
_OPENINGS = "|".join(re.escape(opening) for opening, _ in _MARKS)
_CLOSINGS = "|".join(re.escape(closing) for _, closing in _MARKS)
# A program may hold a mark in a string: an opening starts a line, no quote follows a closing.
_OPENED = re.compile(rf"^[ \t]*(?:{_OPENINGS})", re.MULTILINE | re.IGNORECASE)
_CLOSED = re.compile(
    f"(?:{_CLOSINGS})(?![\"'`])|<\\|channel\\|>final[^\\n]*?<\\|message\\|>", re.IGNORECASE
)
_CHANNEL = re.compile(r"<\|channel\|>\s*\w+")
_AT_END = re.compile(rf"(?:{_OPENINGS})\s*\Z", re.IGNORECASE)


def opens_thinking(prompt: str) -> bool:
    """True if a prompt ends with the opening mark of the response's thinking."""
    return _AT_END.search(prompt) is not None


def after_thinking(response: str, *, opened: bool = False) -> str:
    """Return what follows the last thinking of a response; "" if the thinking is cut.

    `opened` is True if the prompt opens the thinking. A response without thinking is returned as it
    is.
    """
    start = _end_of_thinking(response)
    rest = response[start:]
    cut = opened and start == 0
    return "" if cut or _OPENED.search(rest) or _CHANNEL.search(rest) else rest


def _end_of_thinking(response: str) -> int:
    """Return where the last thinking ends; 0 without a closing mark."""
    return max((mark.end() for mark in _CLOSED.finditer(response)), default=0)


def decode_answer(
    decode: Callable[..., str], token_ids: Sequence[int], *, opened: bool = False
) -> str:
    """Return the text after the thinking, without special tokens, some of which may be marks."""
    whole = decode(token_ids, skip_special_tokens=False)
    shown = decode(token_ids, skip_special_tokens=True)
    if not after_thinking(whole, opened=opened):
        return ""
    count = len(_CLOSED.findall(whole))
    if count == len(_CLOSED.findall(shown)):  # the marks are not special tokens
        return after_thinking(shown, opened=opened)
    # The answer starts after the token that completes the last mark.
    first = bisect_left(
        range(len(token_ids)),
        count,
        key=lambda n: len(_CLOSED.findall(decode(token_ids[: n + 1], skip_special_tokens=False))),
    )
    return decode(token_ids[first + 1 :], skip_special_tokens=True)
