"""Formats of prompts: the columns that rows of prompts have in other tools, and their turns.

- `messages` (OpenAI): [{"role": "user", "content": "..."}, ...]
- `conversations` (ShareGPT): [{"from": "human", "value": "..."}, ...]
- `turns` (Spec-Bench, MT-Bench): ["first question", "second question"]
- `prompt` (vLLM): "question", or a list of turns or of messages

The format of a row is the first of these columns that it has. The questions of a row are asked one
after the other, with the target's own answers between; the answers in a row are references. An
optional column `reference` (a text, or a list with one for each turn) holds them otherwise, and
`category` names the row's category.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from draftmark.types import Example, Row, Turn

FORMATS = ("messages", "conversations", "turns", "prompt")
_ROLES = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "bing", "bard"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}


@dataclass(frozen=True)
class Conversation:
    """The questions of a row in order, the answer to each ("" if none), and the system's text."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    system: str = ""


def format_of(row: Row) -> str:
    """Return the format of a row; raises ValueError if it has the columns of none."""
    found = next((name for name in FORMATS if row.get(name) is not None), None)
    if found is None:
        has = ", ".join(map(repr, row)) or "none"
        raise ValueError(f"none of the columns {', '.join(FORMATS)} (its columns: {has})")
    return found


def conversation_examples(example_id: str, row: Row, category: str = "") -> tuple[Example, ...]:
    """Return an example for each question of a row.

    Raises ValueError if the row is malformed. `category` is by default that of the row.
    """
    found = read_conversation(row)
    several = len(found.questions) > 1
    names = [
        f"{example_id}/turn-{number}" if several else example_id
        for number in range(1, len(found.questions) + 1)
    ]
    system: tuple[Turn, ...] = (
        ({"role": "system", "content": found.system},) if found.system else ()
    )
    return tuple(
        Example(
            id=name,
            messages=(*(() if before else system), {"role": "user", "content": question}),
            reference=answer,
            category=category or category_of(row),
            follows=before,
        )
        for name, before, question, answer in zip(
            names, ["", *names], found.questions, found.answers, strict=False
        )
    )


def category_of(row: Row) -> str:
    """Return a row's category on one line; raises ValueError if it is neither text nor number."""
    value = row.get("category")
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"the category is not text: {str(value)[:40]!r}")
    return " ".join(str(value).split())


def read_conversation(row: Row) -> Conversation:
    """Return the conversation of a row of any format; raises ValueError if it is malformed."""
    name = format_of(row)
    value = row[name]
    if isinstance(value, str) and name == "prompt":
        value = [value]
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"column {name!r} is not a list of turns: {str(value)[:40]!r}")
    if all(isinstance(item, str) for item in value) and name in ("turns", "prompt"):
        found = Conversation(tuple(value), _references(row, len(value)))
    else:
        found = _from_messages(name, value)
    if not all(question.strip() for question in found.questions):
        raise ValueError(f"column {name!r} has an empty turn")
    return found


def _references(row: Row, count: int) -> tuple[str, ...]:
    """Return the reference to each of `count` questions; "" where there is none.

    Of several references to one question, the first counts.
    """
    value = row.get("reference")
    given = [value] if isinstance(value, str) else list(value or ())
    listed = [item[0] if isinstance(item, list) and item else item or "" for item in given]
    if not all(isinstance(item, str) for item in listed) or len(listed) > count:
        raise ValueError(f"the reference is not a text for each turn: {str(value)[:40]!r}")
    return tuple([*listed, *[""] * (count - len(listed))])


def _from_messages(name: str, messages: Sequence[Any]) -> Conversation:
    """Return the conversation of messages: a system's text, then questions and answers in turn."""
    system = ""
    questions: list[str] = []
    answers: list[str] = []
    for message in messages:
        role, text = _message(name, message)
        if role == "system" and not questions:
            system = "\n\n".join(filter(None, (system, text)))
        elif role == "user" and len(answers) == len(questions):
            questions.append(text)
        elif role == "assistant" and len(answers) < len(questions):
            answers.append(text)
        else:
            raise ValueError(f"column {name!r}: turns of user and assistant do not alternate")
    if not questions:
        raise ValueError(f"column {name!r} has no turn of a user")
    return Conversation(
        tuple(questions), (*answers, *[""] * (len(questions) - len(answers))), system
    )


def _message(name: str, message: Any) -> tuple[str, str]:
    """Return the role and text of a message, in the names of OpenAI or ShareGPT."""
    if not isinstance(message, Mapping):
        raise ValueError(f"column {name!r} has an item that is not a message")
    role = message.get("role", message.get("from"))
    known = _ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        roles = ", ".join(dict.fromkeys(_ROLES.values()))
        raise ValueError(f"column {name!r} has the role {role!r}, which is none of {roles}")
    return known, _content(name, message.get("content", message.get("value")))


def _content(name: str, content: Any) -> str:
    """Return the text of a message's content, which may be a list of texts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [None]
    found = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    texts = [text for text in found if isinstance(text, str)]
    if len(texts) < len(found):
        raise ValueError(f"column {name!r} has a message whose content is not text")
    return "\n".join(texts)
