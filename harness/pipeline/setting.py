"""TODO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from draftmark.config.model_sections import Pair
from draftmark.config.recipe import Recipe
from draftmark.config.sections import SpeedCondition
from draftmark.data.rows import Rows
from draftmark.grading.sandbox import Sandbox
from draftmark.models.stop_conditions import StopStrings
from draftmark.speculation.interfaces import EngineSettings
from draftmark.store.graph import Node
from draftmark.types import Example, Placement, Prompt, Samplers, Split, Task

# The evaluation text of a task and pair is the same for every method and seed.
TEXT_SEED = 0


ROWS_PER_BATCH = 32


@dataclass(frozen=True)
class Setting:
    """What the cells of one task and pair share."""

    recipe: Recipe
    task: Task
    pair: Pair
    target: Node
    rows: Mapping[Split, Rows]
    sandbox: Sandbox = field(default_factory=Sandbox)
    init: Node | None = None  # the model that drafts start as, if it is one by itself

    @property
    def max_new_tokens(self) -> int:
        """The length limit of responses."""
        return self.recipe.max_new_tokens(self.task)

    @property
    def end_tokens(self) -> frozenset[int]:
        """The ids that end a response of the target."""
        return frozenset(self.target.settings["end_tokens"])

    def placement(self, dtype: str = "float32") -> Placement:
        """How models are held on this machine."""
        from draftmark.models.language_model import pick_device

        return Placement(pick_device(), dtype, self.pair.trust_remote_code)

    @property
    def format(self) -> str:
        """How prompts are put together."""
        return self.recipe.prompting.format

    def prompts(self, directory: Path, examples: Sequence[Example]) -> list[Prompt]:
        """Return examples as prompts for the target in a folder."""
        from draftmark.data.prompts import encode_prompts

        return encode_prompts(self.tokenizer(directory), examples, self.format)

    @property
    def stop(self) -> tuple[str, ...]:
        """The strings that may end a response: the recipe's, else the task's in plain text."""
        told = self.recipe.prompting.stop
        return self.task.stop if told is None else told

    def stop_strings(self, directory: Path) -> StopStrings | None:
        """Return the strings that end a response of the target in a folder, if any do."""
        from draftmark.data.prompts import is_plain_text

        tokenizer = self.tokenizer(directory)
        told = self.recipe.prompting.stop is not None
        if not self.stop or not (told or is_plain_text(tokenizer, self.format)):
            return None
        return StopStrings(self.stop, partial(tokenizer.decode, skip_special_tokens=True))

    def decoding(
        self, under: SpeedCondition, samplers: Samplers, directory: Path
    ) -> EngineSettings:
        """Return how an engine decodes this task's prompts for the target in a folder."""
        return EngineSettings(
            samplers=samplers,
            num_speculative_tokens=under.num_speculative_tokens,
            max_new_tokens=self.max_new_tokens,
            end_tokens=self.end_tokens,
            seed=TEXT_SEED,
            placement=self.placement(under.dtype),
            stop=self.stop_strings(directory),
            batch_size=under.batch_size,
            fixed_length=under.length == "fixed",
        )

    def tokenizer(self, directory: Path) -> Any:
        """Return the tokenizer of the target in a folder."""
        from draftmark.models.language_model import load_tokenizer

        return load_tokenizer(directory, trust_remote_code=self.pair.trust_remote_code)
