"""What a model's files say of generation does not leak: only the recipe decides how text is made.

A repetition penalty on one side only made another tool score a draft identical to its target at
0.86. Here target and draft are the same model with every default set that a file can hold.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draftmark.engines.reference import ENGINE
from draftmark.models.files import end_tokens
from draftmark.models.generation import Sampling, generate
from draftmark.models.hidden_states import StoredHiddenStates, TargetLogits, write_hidden_states
from draftmark.models.language_model import load_model
from draftmark.progress import Progress
from draftmark.speculation.interfaces import EngineSettings
from draftmark.speculation.language_model_drafter import LanguageModelDrafter
from draftmark.types import GREEDY, Placement, Prompt, Sampler, Samplers, Text

DEFAULTS = {
    "do_sample": True,
    "temperature": 0.3,
    "top_k": 3,
    "top_p": 0.5,
    "repetition_penalty": 1.5,
    "no_repeat_ngram_size": 2,
    "max_new_tokens": 5,
}


@pytest.fixture(scope="module")
def opinionated(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny target, with files that want to be asked otherwise."""
    directory = tmp_path_factory.mktemp("opinionated") / "model"
    shutil.copytree(tiny_directory, directory)
    path = directory / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **DEFAULTS}), "utf-8")
    return directory


@pytest.fixture(params=[GREEDY, Sampler(1.0)], ids=["greedy", "sampled"])
def sampler(request: pytest.FixtureRequest) -> Sampler:
    chosen: Sampler = request.param
    return chosen


def test_the_files_are_read_at_all(opinionated: Path) -> None:
    assert load_model(opinionated).model.generation_config.repetition_penalty == 1.5


def test_it_writes_what_it_writes_without_them(
    opinionated: Path, write: Callable[..., list[Text]], prompts: list[Prompt], sampler: Sampler
) -> None:
    sampling = Sampling(sampler, 160, end_tokens(opinionated), seed=0)
    with Progress(quiet=True).step("", 8) as step:
        model = load_model(opinionated)
        texts = generate(model, prompts[:8], sampling, rows_per_batch=8, step=step)
    assert texts == write(prompts[:8], sampler)


def test_scored_as_its_own_draft_it_stays_at_one(
    opinionated: Path,
    target: Any,
    write: Callable[..., list[Text]],
    prompts: list[Prompt],
    sampler: Sampler,
    tmp_path: Path,
) -> None:
    texts = write(prompts[:8], sampler)
    with Progress(quiet=True).step("", 8) as step:
        write_hidden_states(target, texts, tmp_path, dtype="float32", step=step)
    laws = TargetLogits(target, StoredHiddenStates.load(tmp_path))
    drafter = LanguageModelDrafter(load_model(opinionated))
    for table in drafter.score(texts, laws, Samplers(sampler, sampler)):
        assert np.all(table.accept_SD[:, 0] == 1.0)
        assert np.all(table.overlap_S == 1.0)


def test_decoding_with_itself_as_draft_accepts_every_token(
    opinionated: Path, write: Callable[..., list[Text]], prompts: list[Prompt], sampler: Sampler
) -> None:
    from draftmark.baselines.untrained import METHOD as Untrained

    settings = EngineSettings(
        samplers=Samplers(sampler, sampler),
        num_speculative_tokens=4,
        max_new_tokens=160,
        end_tokens=end_tokens(opinionated),
        seed=0,
        placement=Placement(),
    )
    running = ENGINE.open(opinionated, Untrained(), opinionated, settings)
    decoded = list(running.generate(prompts[:4]))
    for item in decoded:
        *whole, last = item.rounds
        assert all(round_.accepted == round_.drafted for round_ in whole)
        left = len(item.token_ids) - sum(round_.accepted + 1 for round_ in whole)
        assert last.accepted == min(last.drafted, left)  # no draft knows where the text ends
    if sampler == GREEDY:
        written = write(prompts[:4], sampler)
        assert [item.token_ids for item in decoded] == [text.response_ids for text in written]
