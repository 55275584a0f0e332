"""The tokens of a task's rows: counted where rows and tokenizer are present, assumed otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from draftmark.data.prompts import plain
from draftmark.pipeline.experiment import row_counts
from draftmark.pipeline.planning.estimates import Load
from draftmark.pipeline.setting import Setting
from draftmark.types import Example, Split

# Mean tokens of (prompt, gold answer with its end token) of the first 300 training rows of each
# task, in plain text, by SmolLM2's tokenizer of 49,152 tokens. Other tokenizers were not counted.
TOKENS = {
    "gsm8k": (62, 131),
    "alpaca": (20, 49),
    "mbpp": (137, 63),
    "cnn_dm": (726, 54),
    "xsum": (472, 29),
}
OTHER_TASK = (128, 128)
CHAT = 5  # tokens of a chat template around each turn
COUNTED = 2000  # rows counted; the rest is extrapolated


def gold_loads(setting: Setting, directory: Path | None) -> tuple[dict[Split, Load], bool]:
    """Return the loads of the splits' gold answers, and True if their tokens were counted.

    `directory` is the target's folder, if present.
    """
    tokenizer = _load_tokenizer(directory) if directory else None
    counts = row_counts(setting.recipe)
    if tokenizer is None or any(rows.missing for rows in setting.rows.values()):
        prompt, response = TOKENS.get(setting.task.name, OTHER_TASK)
        return {split: Load(n, prompt * n, response * n) for split, n in counts.items()}, False
    turn = _template_tokens(setting, directory)
    return {s: _count_tokens(tokenizer, setting.rows[s].examples, turn) for s in counts}, True


def _load_tokenizer(directory: Path) -> Any:
    """Return the tokenizer of a folder, loaded without transformers, or None."""
    from tokenizers import Tokenizer

    path = directory / "tokenizer.json"
    return Tokenizer.from_file(str(path)) if path.is_file() else None


def _template_tokens(setting: Setting, directory: Path | None) -> int:
    """Return the tokens that the chat template adds to a turn; 0 for plain text."""
    has = directory is not None and (directory / "chat_template.jinja").is_file()
    return CHAT if setting.format == "chat" or (setting.format == "auto" and has) else 0


def _count_tokens(tokenizer: Any, rows: Sequence[Example], turn: int) -> Load:
    examples = rows[:COUNTED]
    prompts = tokenizer.encode_batch([plain(example.messages) for example in examples])
    answers = tokenizer.encode_batch(
        [example.reference for example in examples], add_special_tokens=False
    )
    response = sum(len(answer.ids) for answer in answers) + len(examples)
    prompt = sum(len(encoded.ids) for encoded in prompts)
    prompt += sum(turn * (len(example.messages) + 1) for example in examples)  # + the answer's turn
    return Load(len(examples), prompt, response).scaled(len(rows) / len(examples))
