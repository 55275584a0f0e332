"""What is done with a tiny family: it writes texts, drafts of it are trained, scored, decode."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from family_cases import END, TOKENS

from draftmark.baselines.kd import METHOD as KnowledgeDistillation
from draftmark.config.model_sections import DraftInit, Pair, Training
from draftmark.engines.reference import ENGINE
from draftmark.models.generation import Sampling, generate
from draftmark.models.hidden_states import StoredHiddenStates, TargetLogits, write_hidden_states
from draftmark.models.language_model import LanguageModel, load_model
from draftmark.pipeline.stages.make_draft import DraftSpec, make
from draftmark.progress import Progress
from draftmark.speculation.interfaces import EngineSettings
from draftmark.speculation.language_model_drafter import LanguageModelDrafter
from draftmark.store.graph import Job
from draftmark.store.records import DRAFT
from draftmark.types import (
    GREEDY,
    AcceptanceTable,
    Decode,
    Placement,
    Prompt,
    Sampler,
    Samplers,
    Text,
)

KD = KnowledgeDistillation()
ENDS, NEW_TOKENS = frozenset({END}), 16
AT_RANDOM = {"num_hidden_layers": 1, "hidden_size": 64}
SETTINGS = Training(passes=10, rows_per_batch=8, learning_rate=3e-3, validations=1)
STARTS = {
    **{head: DraftInit(pruned=(0, 1), head=head) for head in ("copied", "shared", "fitted")},
    "random": DraftInit(random=AT_RANDOM),
    "given": DraftInit(model="given"),
}


@dataclass(frozen=True)
class Family:
    """A tiny model of a family and what it wrote: greedily, and to train a draft on.

    Its laws are random, so a draft is validated on what it was trained on: does it learn that?
    """

    directory: Path
    target: LanguageModel
    greedy: tuple[Text, ...]
    inputs: Mapping[str, Path]  # of the stage that makes a draft


def prompts(count: int, seed: int) -> list[Prompt]:
    """Return prompts of random words, of 3 to 9 tokens."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [3 + index % 7 for index in range(count)]
    words = [torch.randint(1, TOKENS, (size,), generator=generator).tolist() for size in sizes]
    return [Prompt(f"row {index}", tuple(ids)) for index, ids in enumerate(words)]


def written(model: LanguageModel, count: int, seed: int, temperature: float) -> list[Text]:
    sampling = Sampling(Sampler(temperature), NEW_TOKENS, ENDS, seed)
    return generate(model, prompts(count, seed), sampling, rows_per_batch=8)


def read(model: LanguageModel, texts: list[Text], directory: Path) -> Path:
    directory.mkdir()
    with Progress(quiet=True).step("", len(texts)) as step:
        write_hidden_states(model, texts, directory, dtype="float32", step=step)
    return directory


def family_in(directory: Path) -> Family:
    """Have the tiny model of a folder write its texts."""
    target = load_model(directory)
    texts = read(target, written(target, 8, 1, 1.0), directory.with_name("texts"))
    names = ("dataset texts", "draft texts", "validation")
    inputs = {"target": directory, **dict.fromkeys(names, texts)}
    return Family(directory, target, tuple(written(target, 4, 2, 0.0)), inputs)


def trained(
    of: Family,
    start: DraftInit,
    tmp: Path,
    *,
    given: Path | None = None,
    dtype: Any = "float32",
    training: Training = SETTINGS,
) -> Path:
    """Have the stage make a draft of an init by KD, and return its folder.

    `given` is where the model is that a draft may start as.
    """
    pair = Pair(name="p", target="target", draft=start, dtype=dtype)
    inputs = {**of.inputs, **({"init": given} if given and start.model else {})}
    out = Path(tempfile.mkdtemp(dir=tmp))
    job = Job(inputs, out, out.with_suffix(".scratch"), Progress(quiet=True))
    sampling = Sampling(Sampler(1.0), NEW_TOKENS, ENDS, 0)
    make(DraftSpec(pair, KD, training, sampling, 0), job)
    return out


def acceptances(draft: Path) -> list[float]:
    """Return the validation acceptance of a draft's checkpoints, the first before training."""
    history = json.loads((draft / DRAFT).read_text("utf-8"))["history"]
    return [point["validation_acceptance"] for point in history]


def tables(of: Family, draft: LanguageModel, sampler: Sampler, tmp: Path) -> list[AcceptanceTable]:
    """Score a draft on what the target writes, greedily or at temperature 1."""
    texts = list(of.greedy) if sampler == GREEDY else written(of.target, 4, 2, 1.0)
    directory = Path(tempfile.mkdtemp(dir=tmp)) / "features"
    laws = TargetLogits(of.target, StoredHiddenStates.load(read(of.target, texts, directory)))
    found = LanguageModelDrafter(draft).score(texts, laws, Samplers(sampler, sampler))
    by_id = {table.example_id: table for table in found}
    return [by_id[text.example_id] for text in texts]


def decoded(of: Family, draft: Path | None) -> list[Decode]:
    """Decode the greedy texts' prompts by the reference engine, 3 drafted tokens a block."""
    settings = EngineSettings(Samplers(GREEDY, GREEDY), 3, NEW_TOKENS, ENDS, 0, Placement())
    running = ENGINE.open(of.directory, KD if draft else None, draft, settings)
    return list(running.generate([Prompt(t.example_id, t.prompt_ids) for t in of.greedy]))
