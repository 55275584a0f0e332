"""Stages on a tiny family: generate texts, train a draft, score it, decode with it."""

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
from draftmark.models.draft_inits import fit_head, make_draft
from draftmark.models.generation import Sampling, generate
from draftmark.models.hidden_states import StoredHiddenStates, TargetLogits, write_hidden_states
from draftmark.models.language_model import (
    LanguageModel,
    load_model,
    load_tokenizer,
    save_model,
)
from draftmark.pipeline.stages.make_draft import DraftSpec, write_draft
from draftmark.progress import Progress
from draftmark.speculation.interfaces import Engine, EngineSettings
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
    """A tiny model of a family, its greedy texts, and the training texts of drafts.

    The model is random, so a draft is validated on its training texts: does it learn them?
    """

    directory: Path
    target: LanguageModel
    greedy: tuple[Text, ...]
    inputs: Mapping[str, Path]  # of the stage that trains a draft


def prompts(count: int, seed: int) -> list[Prompt]:
    """Return prompts of 3 to 9 random words."""
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
    """Return the family of a folder's model, with generated texts."""
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
    """Train a draft from an init by KD; return its folder.

    `given`: the folder of a draft init that is a model.
    """
    pair = Pair(name="p", target="target", draft=start, dtype=dtype)
    if start.head == "fitted":
        given = fitted(of, start, tmp)
    inputs = {**of.inputs, **({"init": given} if given else {})}
    out = Path(tempfile.mkdtemp(dir=tmp))
    job = Job(inputs, out, out.with_suffix(".scratch"), Progress(quiet=True))
    sampling = Sampling(Sampler(1.0), NEW_TOKENS, ENDS, 0)
    write_draft(DraftSpec(pair, KD, training, sampling, 0), job)
    return out


def fitted(of: Family, start: DraftInit, tmp: Path) -> Path:
    """Fit a draft init's head to the texts of the dataset; return its folder."""
    states = StoredHiddenStates.load(of.inputs["dataset texts"])
    draft = fit_head(make_draft(start, of.target, seed=0), of.target, states)
    directory = Path(tempfile.mkdtemp(dir=tmp))
    save_model(draft, load_tokenizer(of.directory), directory)
    return directory


def acceptances(draft: Path) -> list[float]:
    """Return the validation acceptance of each checkpoint of a draft; the first is the init."""
    history = json.loads((draft / DRAFT).read_text("utf-8"))["history"]
    return [point["validation_acceptance"] for point in history]


def tables(of: Family, draft: LanguageModel, sampler: Sampler, tmp: Path) -> list[AcceptanceTable]:
    """Return a draft's acceptance tables on the target's texts, greedy or at temperature 1."""
    texts = list(of.greedy) if sampler == GREEDY else written(of.target, 4, 2, 1.0)
    directory = Path(tempfile.mkdtemp(dir=tmp)) / "features"
    logits = TargetLogits(of.target, StoredHiddenStates.load(read(of.target, texts, directory)))
    found = LanguageModelDrafter(draft).score(texts, logits, Samplers(sampler, sampler))
    by_id = {table.example_id: table for table in found}
    return [by_id[text.example_id] for text in texts]


def decoded(
    of: Family, draft: Path | None, engine: Engine = ENGINE, sampler: Sampler = GREEDY
) -> list[Decode]:
    """Decode the greedy texts' prompts, by default in the reference engine, in blocks of 3."""
    settings = EngineSettings(Samplers(sampler, sampler), 3, NEW_TOKENS, ENDS, 0, Placement())
    running = engine.open(of.directory, KD if draft else None, draft, settings)
    return list(running.generate([Prompt(t.example_id, t.prompt_ids) for t in of.greedy]))
