"""The checks of losslessness pass for the engine as it is, and fail for one that cheats."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from draftmark.baselines.prompt_lookup import METHOD as PromptLookup
from draftmark.baselines.untrained import METHOD as Untrained
from draftmark.engines import reference
from draftmark.engines.measure import lossless
from draftmark.engines.measure.lossless import Check, run_checks
from draftmark.engines.reference import ENGINE
from draftmark.models.files import end_tokens
from draftmark.models.language_model import save_model
from draftmark.progress import Progress
from draftmark.speculation.interfaces import EngineSettings
from draftmark.speculation.verification import RULES
from draftmark.store.acceptance_tables import sliding_table
from draftmark.types import (
    GREEDY,
    AcceptanceTable,
    Decode,
    Placement,
    Prompt,
    Round,
    Sampler,
    Samplers,
    Text,
)

SAMPLED = Sampler(1.0, top_p=0.95)
Checks = Callable[..., dict[str, Check]]


@pytest.fixture
def checks(
    tiny_directory: Path, draft: Any, tokenizer: Any, prompts: list[Prompt], tmp_path: Path
) -> Checks:
    """Return a function that runs all checks and gives them by name."""
    save_model(draft, tokenizer, tmp_path)
    folders = {"target": tiny_directory, "draft": tmp_path}

    def run(sampler: Sampler, method: Any = None, **changes: Any) -> dict[str, Check]:
        settings = EngineSettings(
            samplers=Samplers(sampler, sampler),
            num_speculative_tokens=4,
            max_new_tokens=80,
            end_tokens=end_tokens(tiny_directory),
            seed=0,
            placement=Placement(),
        )
        with Progress(quiet=True).step("", 4) as step:
            found = run_checks(
                ENGINE,
                method or Untrained(),
                folders,
                replace(settings, **changes),
                prompts[:6],
                step,
            )
        return {check.name: check for check in found}

    return run


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [GREEDY, SAMPLED])
def test_the_engine_as_it_is_passes_every_check(checks: Checks, sampler: Sampler) -> None:
    found = checks(sampler, max_new_tokens=40)
    tokens = (
        "tokens are the target's" if sampler == GREEDY else "tokens have the target's distribution"
    )
    assert list(found) == [tokens, "passes are as predicted", "the target as its own draft"]
    assert all(check.passed for check in found.values()), found


@pytest.mark.slow
def test_a_method_without_a_model_is_checked_as_far_as_it_goes(checks: Checks) -> None:
    found = checks(GREEDY, PromptLookup())
    assert list(found) == ["tokens are the target's", "passes are as predicted"]
    assert all(check.passed for check in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [GREEDY, SAMPLED])
def test_an_engine_that_accepts_all_is_caught(
    checks: Checks, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accept_all(drafted_NG: torch.Tensor, q: torch.Tensor, p: torch.Tensor, stream: Any) -> Any:
        return torch.tensor([drafted_NG.shape[1]]), p[:, -1].argmax(-1)

    monkeypatch.setitem(RULES, "standard", accept_all)
    found = list(checks(sampler).values())
    assert not found[0].passed
    assert not found[1].passed
    if sampler == GREEDY:
        assert "no tie" in found[0].evidence


@pytest.mark.slow
def test_an_engine_that_samples_at_another_temperature_is_caught(
    checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler_probs = reference.sampler_probs
    monkeypatch.setattr(
        reference, "sampler_probs", lambda logits, _: sampler_probs(logits, Sampler(1.6))
    )
    assert not checks(Sampler(1.0))["tokens have the target's distribution"].passed


def decode(name: str, tokens: tuple[int, ...], *rounds: Round) -> Decode:
    return Decode(name, tokens, 3, rounds, 0.1, 0.1, "stop")


def test_texts_that_part_at_a_tie_pass_and_say_so(
    target: Any, prompts: list[Prompt], greedy_texts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = greedy_texts[0]
    alone = [decode(text.example_id, text.response_ids)]
    other = [decode(text.example_id, (*text.response_ids[:5], text.response_ids[5] + 1))]
    arguments = (alone, alone, other, prompts[:1], target, "float32")
    apart = lossless.check_identity(*arguments)
    assert not apart.passed
    assert "differs from token 5 on" in apart.evidence
    monkeypatch.setattr(lossless, "_ULPS", {"float32": 1e9})  # as if anything were rounding
    assert "a tie within rounding" in lossless.check_identity(*arguments).evidence


def test_a_text_that_goes_on_where_the_target_ended_is_no_tie(
    target: Any, prompts: list[Prompt], greedy_texts: list[Any]
) -> None:
    text = greedy_texts[0]
    alone = [decode(text.example_id, text.response_ids)]
    longer = [decode(text.example_id, (*text.response_ids, 7))]
    assert not lossless.check_identity(alone, alone, longer, prompts[:1], target, "float32").passed


def test_a_target_that_rejects_itself_is_caught() -> None:
    assert lossless.check_own_draft([decode("a", (1, 2), Round(1, 1))]).passed
    assert not lossless.check_own_draft([decode("a", (1, 2), Round(2, 1))]).passed
    assert not lossless.check_own_draft([decode("a", (1, 2), Round(0, 0))]).passed


@dataclass(frozen=True)
class Scored:
    """A draft whose acceptance is known: each of its tokens is accepted with one probability."""

    accept: float

    def score(self, texts: Sequence[Text], *_: Any) -> Iterator[AcceptanceTable]:
        for text in texts:
            accept_S = np.full(len(text.response_ids), self.accept)
            yield sliding_table(text.example_id, accept_S, accept_S, accept_S, 32)


def simulated(name: str, accept: float, length: int, generator: np.random.Generator) -> Decode:
    """Return what a lossless engine does with blocks of four."""
    rounds, left = [], length
    while left > 0:
        drafted = min(4, left)
        rejected = np.flatnonzero(generator.random(drafted) >= accept)
        accepted = int(rejected[0]) if len(rejected) else drafted
        rounds.append(Round(drafted, accepted))
        left -= accepted + 1
    return decode(name, tuple(range(length)), *rounds)


@pytest.mark.parametrize(("really", "refused"), [(0.5, range(6)), (0.8, range(190, 201))])
def test_of_few_prompts_counts_are_refused_as_seldom_as_laws(really: float, refused: range) -> None:
    generator, how = np.random.default_rng(3), Samplers(Sampler(1.0), Sampler(1.0))
    texts = [Text(f"{number}", (1,), tuple(range(60))) for number in range(8)]
    draft: Any = Scored(0.5)
    nothing: Any = None
    failed = 0
    for _ in range(800 if really == 0.5 else 200):
        decodes = [simulated(text.example_id, really, 60, generator) for text in texts]
        failed += not lossless.check_counts(decodes, texts, draft, nothing, how, 4).passed
    assert failed in refused  # three standard errors would refuse some 16 of 800


def test_texts_that_leave_the_targets_choice_are_caught_at_their_first_token(
    target: Any, greedy_texts: list[Text]
) -> None:
    texts = [replace(text, response_ids=text.response_ids[:12]) for text in greedy_texts[:3]]
    found = lossless.check_written(texts, target, GREEDY, "float32")
    assert found.passed
    assert found.evidence == "3 of 3 texts are the target's choice at each of their 36 tokens"

    wrong = replace(texts[1], response_ids=(*texts[1].response_ids[:5], 7, 9))
    found = lossless.check_written([texts[0], wrong, texts[2]], target, GREEDY, "float32")
    assert not found.passed
    assert "2 of 3 texts are the target's choice" in found.evidence
    assert f"{wrong.example_id} leaves the target's choice first at token 5, " in found.evidence
    assert found.evidence.endswith("below the best: no tie")
