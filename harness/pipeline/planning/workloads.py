"""How many tokens a plan takes the rows of a task to have: counted if they can be, else assumed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draftmark.data.prompts import to_plain_text
from draftmark.pipeline.experiment import row_counts
from draftmark.pipeline.planning.estimates import Load
from draftmark.pipeline.setting import Setting
from draftmark.types import Example, Split

# Mean tokens of (prompt, gold answer with its end) of the first 300 training rows of each task, in
# plain text, by SmolLM2's tokenizer of 49,152 tokens. What other tokenizers give was not counted.
TOKENS = {
    "gsm8k": (62, 131),
    "alpaca": (20, 49),
    "mbpp": (137, 63),
    "cnn_dm": (726, 54),
    "xsum": (472, 29),
}
OTHERWISE = (128, 128)  # of a task that is not among these
CHAT = 5  # tokens that a chat template puts around each turn
COUNTED = 2000  # rows; the rest is taken to be like them


@dataclass(frozen=True)
class Workloads:
    """The loads of one task and pair's splits: gold answers counted, or assumed."""

    setting: Setting
    gold: dict[Split, Load]
    counted: bool

    @classmethod
    def of(cls, setting: Setting, directory: Path | None) -> "Workloads":
        """Return the loads of a setting; `directory` is the target's folder, if it is here."""
        tokenizer = _tokenizer(directory) if directory else None
        counted = tokenizer is not None and not any(rows.missing for rows in setting.rows.values())
        gold = {
            split: _count(tokenizer, setting.rows[split].examples, _template(setting, directory))
            if counted
            else _assume(setting.task.name, count)
            for split, count in row_counts(setting.recipe).items()
        }
        return cls(setting, gold, counted)

    def written(self, split: Split) -> Load:
        """Return the load of a model's own responses: as long as gold answers, to the limit."""
        load = self.gold[split]
        return Load(
            load.rows, load.prompt, min(load.response, self.setting.max_new_tokens * load.rows)
        )


def _assume(task: str, rows: int) -> Load:
    prompt, response = TOKENS.get(task, OTHERWISE)
    return Load(rows, prompt * rows, response * rows)


def _tokenizer(directory: Path) -> Any:
    """Return the tokenizer of a folder without transformers, or None."""
    from tokenizers import Tokenizer

    path = directory / "tokenizer.json"
    return Tokenizer.from_file(str(path)) if path.is_file() else None


def _template(setting: Setting, directory: Path | None) -> int:
    """Return how many tokens the chat template adds to a turn; 0 for plain text."""
    has = directory is not None and (directory / "chat_template.jinja").is_file()
    return CHAT if setting.format == "chat" or (setting.format == "auto" and has) else 0


def _count(tokenizer: Any, rows: Sequence[Example], around: int) -> Load:
    examples = rows[:COUNTED]
    prompts = tokenizer.encode_batch([to_plain_text(example.messages) for example in examples])
    answers = tokenizer.encode_batch(
        [example.reference for example in examples], add_special_tokens=False
    )
    response = sum(len(answer.ids) for answer in answers) + len(examples)
    asked = sum(len(prompt.ids) for prompt in prompts)
    # One more turn opens the answer.
    asked += sum(around * (len(example.messages) + 1) for example in examples)
    return Load(len(examples), asked, response).times(len(rows) / len(examples))
