"""The token counts of a task's rows, counted or assumed, from which plans follow."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from draftmark.config.recipe import Recipe
from draftmark.data.prompts import to_plain_text
from draftmark.pipeline.planning.estimates import Load
from draftmark.pipeline.setting import Setting
from draftmark.speculation.methods import build_method
from draftmark.types import Example, Split

# Mean tokens of (prompt, gold answer with its end token) of the first 300 training rows of each
# task (of humaneval's 164 test rows), in plain text, by SmolLM2's tokenizer of 49,152 tokens. Other
# tokenizers were not counted. Dolly's are means of all 15,011 rows (Wang et al. 2023, arXiv
# 2306.04751, table 1: 118.1 and 91.3, and the end token). They are upper bounds: the task leaves
# long rows out.
TOKENS = {
    "gsm8k": (62, 131),
    "alpaca": (20, 49),
    "mbpp": (137, 63),
    "cnn_dm": (726, 54),
    "xsum": (472, 29),
    "humaneval": (155, 60),
    "dolly": (118, 92),
}
OTHER_TASK = (128, 128)
CHAT = 5  # tokens of a chat template around each turn
COUNTED = 2000  # rows counted; the rest is extrapolated


def row_counts(recipe: Recipe) -> dict[Split, int]:
    """Return the number of rows that each split needs; only test rows if nothing is trained."""
    counts: dict[Split, int] = {"test": recipe.data.test_rows}
    own = (entry.draft for entry in recipe.methods if entry.draft)
    fitted = any(init.head == "fitted" for init in (*own, *(pair.draft for pair in recipe.pairs)))
    fits_to_rows = fitted or any(pair.fine_tune for pair in recipe.pairs)
    if not fits_to_rows and not any(build_method(entry).trains for entry in recipe.methods):
        return counts
    return {"train": recipe.data.train_rows, "validation": recipe.data.validation_rows, **counts}


def as_written(load: Load, limit: int) -> Load:
    """Return the load of a model's responses: as long as gold answers, up to `limit` tokens."""
    return replace(load, response_tokens=min(load.response_tokens, limit * load.rows))


def gold_loads(setting: Setting) -> tuple[dict[Split, Load], bool]:
    """Return the loads of the splits' gold answers, and True if their tokens were counted."""
    directory = setting.target_as_given.existing_folder
    counts = row_counts(setting.recipe)
    file = directory / "tokenizer.json" if directory else None
    missing = any(rows.missing for rows in setting.rows.values())
    if file is None or not file.is_file() or missing:
        prompt, response = TOKENS.get(setting.task.name, OTHER_TASK)
        return {split: Load(n, prompt * n, response * n) for split, n in counts.items()}, False
    from tokenizers import Tokenizer  # loads without transformers

    tokenizer = Tokenizer.from_file(str(file))
    has_template = file.with_name("chat_template.jinja").is_file()
    chat = setting.format == "chat" or (setting.format == "auto" and has_template)
    turn = CHAT if chat else 0
    limit = setting.max_new_tokens
    return {
        s: _count_tokens(tokenizer, setting.rows[s].examples, turn, limit) for s in counts
    }, True


def _count_tokens(tokenizer: Any, rows: Sequence[Example], turn: int, limit: int) -> Load:
    """Return the load of rows; `turn`: tokens of the chat template around each turn.

    A response to a row without a gold answer is taken for one of `limit` tokens.
    """
    examples = rows[:COUNTED]
    prompts = tokenizer.encode_batch([to_plain_text(example.messages) for example in examples])
    answers = tokenizer.encode_batch(
        [example.reference for example in examples], add_special_tokens=False
    )
    unknown = sum(not example.reference for example in examples)
    response = sum(len(answer.ids) for answer in answers) + len(examples) + limit * unknown
    prompt = sum(len(encoded.ids) for encoded in prompts)
    prompt += sum(turn * (len(example.messages) + 1) for example in examples)  # + the answer's turn
    return Load(len(examples), prompt, response).scaled(len(rows) / len(examples))
