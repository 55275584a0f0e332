"""The stages: each a pure function of its key, which hashes exactly what decides its bytes.

target -> responses -> features -> draft -> scores, decodes -> grades (DESIGN section 3). A function
here makes the node of the graph; the work is done by the module that the node names as its code.
torch is imported where a stage runs, so that a plan costs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.config import Recipe
from harness.data import MISSING, Rows
from harness.graph import Job, Node
from harness.inputs.model_files import end_tokens, model_digest
from harness.protocols import EngineSettings
from harness.responses.endings import StopStrings
from harness.sandbox import Sandbox
from harness.settings.model_sections import Pair
from harness.settings.sections import Condition, Samples
from harness.storage.records import TEXTS, read_texts, write_texts
from harness.types import Example, Placement, Prompt, Sampler, Samplers, Split, Task, Text

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
        from harness.models import pick_device

        return Placement(pick_device(), dtype, self.pair.trust_remote_code)

    @property
    def format(self) -> str:
        """How prompts are put together."""
        return self.recipe.prompting.format

    def prompts(self, directory: Path, examples: Sequence[Example]) -> list[Prompt]:
        """Return examples as prompts for the target in a folder."""
        from harness.responses.prompts import encode_prompts

        return encode_prompts(self.tokenizer(directory), examples, self.format)

    @property
    def stop(self) -> tuple[str, ...]:
        """The strings that may end a response: the recipe's, else the task's in plain text."""
        told = self.recipe.prompting.stop
        return self.task.stop if told is None else told

    def stop_strings(self, directory: Path) -> StopStrings | None:
        """Return the strings that end a response of the target in a folder, if any do."""
        from harness.responses.prompts import is_plain

        tokenizer = self.tokenizer(directory)
        told = self.recipe.prompting.stop is not None
        if not self.stop or not (told or is_plain(tokenizer, self.format)):
            return None
        return StopStrings(self.stop, partial(tokenizer.decode, skip_special_tokens=True))

    def decoding(self, under: Condition, samplers: Samplers, directory: Path) -> EngineSettings:
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
        from harness.models import load_tokenizer

        return load_tokenizer(directory, trust_remote_code=self.pair.trust_remote_code)


def given(stage: str, reference: str, directory: Path, *, trust_remote_code: bool) -> Node:
    """Return the node of a model as it is, named by its files' hash."""
    settings = {
        "digest": model_digest(directory),
        "end_tokens": sorted(end_tokens(directory)),
        "trust_remote_code": trust_remote_code,
    }
    return Node(stage, f"{stage} {reference}", settings, {}, code=(), given=directory)


def absent(stage: str, reference: str) -> Node:
    """Return the node of a model that is not here: a plan can go on, a run cannot."""
    settings = {"digest": MISSING + reference, "end_tokens": []}
    return Node(stage, f"{stage} {reference}", settings, {}, code=())


def gold_texts(setting: Setting, split: Split) -> Node:
    """Return the node of the gold answers of a split as texts."""

    def build(job: Job) -> None:
        from harness.responses.prompts import encode_gold

        tokenizer = setting.tokenizer(job.inputs["target"])
        examples = setting.rows[split].examples
        texts = encode_gold(tokenizer, examples, setting.end_tokens, setting.format)
        write_texts(job.out / TEXTS, texts)

    settings = {
        "source": "dataset",
        "rows": setting.rows[split].digest,
        "format": setting.format,
    }
    label = f"gold answers, {split}"
    code = ("harness.responses.prompts", "harness.storage.records")
    return Node("responses", label, settings, {"target": setting.target}, code, build)


def questions(setting: Setting, split: Split) -> Node:
    """Return the node of the prompts of a split, which a draft answers while it is trained."""

    def build(job: Job) -> None:
        prompts = setting.prompts(job.inputs["target"], setting.rows[split].examples)
        write_texts(
            job.out / TEXTS, [Text(item.example_id, item.token_ids, ()) for item in prompts]
        )

    settings = {
        "source": "draft",
        "rows": setting.rows[split].digest,
        "format": setting.format,
    }
    label = f"questions for the draft to answer in training, {split}"
    code = ("harness.responses.prompts", "harness.storage.records")
    return Node("responses", label, settings, {"target": setting.target}, code, build)


def responses(
    setting: Setting,
    split: Split,
    sampler: Sampler,
    of: Node | None = None,
    samples: Samples | None = None,
) -> Node:
    """Return the node of the responses that a model, the target if none is given, writes.

    One to each prompt, or as many as `samples` says: all first ones, then all second ones ...
    """
    rows = setting.rows[split].first(samples.prompts if samples else None)
    count = samples.count if samples else 1

    def build(job: Job) -> None:
        from harness.models import load_model
        from harness.responses.generation import Sampling, generate

        prompts = setting.prompts(job.inputs["target"], rows.examples)
        model = load_model(job.inputs["model"], setting.placement())
        limits = (setting.max_new_tokens, setting.end_tokens)
        stop = setting.stop_strings(job.inputs["target"])
        texts = []
        with job.progress.step("generating", count * len(prompts)) as step:
            for sample in range(count):  # each in batches of its own: the same however many follow
                sampling = Sampling(sampler, *limits, TEXT_SEED, sample, stop)
                texts += generate(
                    model, prompts, sampling, rows_per_batch=ROWS_PER_BATCH, step=step
                )
        write_texts(job.out / TEXTS, texts)

    settings = {
        "source": "model",
        "rows": rows.digest,
        "format": setting.format,
        "sampler": asdict(sampler),
        "max_new_tokens": setting.max_new_tokens,
        "stop": setting.stop,
        "rows_per_batch": ROWS_PER_BATCH,
        "seed": TEXT_SEED,
        **({"count": count} if samples else {}),
    }
    whose = f"{of.label}'s" if of else "target's"
    label = f"{whose} responses, {split}, {sampler.describe()}"
    label += f", {count} to a prompt" if samples else ""
    inputs = {"model": of or setting.target, "target": setting.target}
    code = ("harness.responses.generation", "harness.responses.prompts", "harness.storage.records")
    return Node("responses", label, settings, inputs, code, build)


def features(setting: Setting, texts: Node, dtype: str) -> Node:
    """Return the node of the target's hidden states on texts."""

    def build(job: Job) -> None:
        from harness.models import load_model
        from harness.teacher import write_features

        read = read_texts(job.inputs["texts"] / TEXTS)
        model = load_model(job.inputs["target"], setting.placement())
        with job.progress.step("reading", len(read)) as step:
            write_features(model, read, job.out, dtype=dtype, step=step)

    inputs = {"target": setting.target, "texts": texts}
    label = f"target's hidden states on {texts.label}"
    return Node("features", label, {"dtype": dtype}, inputs, ("harness.teacher",), build)
