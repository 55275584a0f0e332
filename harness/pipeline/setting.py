"""The setting of a task and pair: rows, target and limits, as all stages use them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from draftmark.config.model_sections import Pair
from draftmark.config.recipe import MethodEntry, Recipe
from draftmark.config.sections import SpeedCondition
from draftmark.data.rows import Rows
from draftmark.grading.sandbox import Sandbox
from draftmark.grading.thinking import decode_answer, opens_thinking
from draftmark.models.heads.block_layouts import TrainedHead, read_trained_head
from draftmark.models.heads.head_layouts import HeadFacts
from draftmark.models.stop_conditions import StopStrings
from draftmark.speculation.interfaces import EngineSettings, Method
from draftmark.speculation.methods import (
    build_method,
    check_draft_has_effect,
    check_vocabulary,
    start_from_head,
)
from draftmark.store.graph import Node
from draftmark.types import (
    Example,
    Placement,
    Prompt,
    Samplers,
    Split,
    Task,
)

TEXT_SEED = 0  # fixed: all methods and seeds of a task and pair are measured on the same texts
ROWS_PER_BATCH = 32
_LONGEST_MARK = 32  # tokens that a mark of thinking takes at most, with the space after it


@dataclass(frozen=True)
class Setting:
    """The recipe, rows and target that the cells of one task and pair share."""

    recipe: Recipe
    task: Task
    pair: Pair
    target: Node
    rows: Mapping[Split, Rows]
    sandbox: Sandbox = field(default_factory=Sandbox)
    init: Node | None = None  # the model or head that drafts start from, unless cut from the target
    inits: Mapping[str, Node] = field(default_factory=dict)  # of entries with drafts of their own

    @property
    def target_as_given(self) -> Node:
        """The target before fine-tuning."""
        return self.target.inputs.get("target", self.target)

    def for_entry(self, entry: MethodEntry) -> "Setting":
        """Return the setting with the draft of a method's entry, if the entry has its own."""
        if entry.draft is None:
            return self
        pair = self.pair.model_copy(update={"draft": entry.draft})
        return replace(self, pair=pair, init=self.inits.get(entry.title))

    def short_name(self, entry: MethodEntry, seed: int) -> str:
        """Return a draft's name, with the seed if the recipe has several."""
        return entry.title + (f", seed {seed}" if len(self.recipe.seeds) > 1 else "")

    def method_of(self, entry: MethodEntry) -> Method:
        """Return the method of an entry, with the architecture of a trained head it starts from.

        Raises UserError for a method that does not start from the draft.
        """
        method, reference = build_method(entry), self.pair.draft.trained_head
        check_draft_has_effect(method, entry)
        check_vocabulary(method, entry, self.pair.draft)
        if reference is None or (method.kind == "training_free" and entry.draft is None):
            return method
        folder = self.init.existing_folder if self.init else None
        # A plan of a head that is not on this machine takes it for the method's own.
        facts: TrainedHead = HeadFacts(reference, getattr(method, "architecture", "eagle3"))
        if folder:
            facts = read_trained_head(folder, reference)
        return start_from_head(method, entry, facts)

    @property
    def max_new_tokens(self) -> int:
        """The length limit of responses, in tokens."""
        return self.recipe.max_new_tokens(self.task)

    @property
    def end_tokens(self) -> frozenset[int]:
        """The ids that end a response of the target."""
        return frozenset(self.target.settings["end_tokens"])

    def placement(self, dtype: str = "float32") -> Placement:
        """Return the devices and dtype of the target on this machine; drafts have its `whole`."""
        from draftmark.models.spread import target_placement

        return target_placement(self.pair, dtype)

    def placement_of(self, model: Node) -> Placement:
        """Return the devices of the target, or of a draft."""
        return self.placement() if model.stage == "target" else self.placement().whole

    @property
    def timed_placement(self) -> dict[str, Any]:
        """The setting that enters the cache key of times: where the target is, if it is spread."""
        memory = self.pair.memory
        return {} if memory is None else {"placement": memory}

    @property
    def format(self) -> str:
        """The prompt format: chat, plain or auto."""
        return self.recipe.prompting.format

    @property
    def prompt_settings(self) -> dict[str, Any]:
        """The settings of prompts that enter cache keys, besides rows and target."""
        kwargs = dict(self.recipe.prompting.chat_template_kwargs)
        return {"format": self.format, **({"chat_template_kwargs": kwargs} if kwargs else {})}

    def prompts(self, directory: Path, examples: Sequence[Example]) -> list[Prompt]:
        """Return examples as prompts, encoded for the target in `directory`."""
        from draftmark.data.prompts import encode_prompts

        kwargs = self.recipe.prompting.chat_template_kwargs
        return encode_prompts(self.tokenizer(directory), examples, self.format, kwargs)

    def answer_reader(
        self, directory: Path, examples: Sequence[Example]
    ) -> Callable[[str, Sequence[int]], str]:
        """Return what decodes an example's response: its text after thinking, up to a stop string.

        The target is in `directory`.
        """
        tokenizer, stop = self.tokenizer(directory), self.stop_strings(directory)
        opened = {
            prompt.example_id
            for prompt in self.prompts(directory, examples)
            if opens_thinking(tokenizer.decode(prompt.token_ids[-_LONGEST_MARK:]))
        }

        def read(example_id: str, token_ids: Sequence[int]) -> str:
            text = decode_answer(tokenizer.decode, token_ids, opened=example_id in opened)
            return stop.cut(text) if stop else text

        return read

    @property
    def stop(self) -> tuple[str, ...]:
        """The stop strings of the recipe, else those of the task."""
        configured = self.recipe.prompting.stop
        return self.task.stop if configured is None else configured

    def stop_strings(self, directory: Path) -> StopStrings | None:
        """Return the stop strings of the target in `directory`, or None.

        The task's own stop strings apply to plain-text prompts only.
        """
        from draftmark.data.prompts import is_plain_text

        tokenizer = self.tokenizer(directory)
        configured = self.recipe.prompting.stop is not None
        if not self.stop or not (configured or is_plain_text(tokenizer, self.format)):
            return None
        return StopStrings(self.stop, partial(tokenizer.decode, skip_special_tokens=True))

    def engine_settings(
        self, condition: SpeedCondition, samplers: Samplers, directory: Path
    ) -> EngineSettings:
        """Return an engine's settings for the target in `directory` under a speed condition."""
        return EngineSettings(
            samplers=samplers,
            num_speculative_tokens=condition.num_speculative_tokens,
            max_new_tokens=self.max_new_tokens,
            end_tokens=self.end_tokens,
            seed=TEXT_SEED,
            placement=self.placement(condition.dtype),
            stop=self.stop_strings(directory),
            batch_size=condition.batch_size,
            fixed_length=condition.length == "fixed",
            verification=condition.verification,
        )

    def tokenizer(self, directory: Path) -> Any:
        """Return the tokenizer of the target in `directory`."""
        from draftmark.models.language_model import load_tokenizer

        return load_tokenizer(directory, trust_remote_code=self.pair.trust_remote_code)
