"""The reference engine: lossless, and its counted passes are those that scoring predicts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from depth_scores import score_by_depth

from draftmark.baselines.prompt_lookup import METHOD as PromptLookup
from draftmark.baselines.suffix import METHOD as Suffix
from draftmark.config.model_sections import DraftInit
from draftmark.engines.measure.lossless import (
    check_distribution,
    check_own_draft,
    read_target_logits,
)
from draftmark.engines.reference import _Loop
from draftmark.models.draft_inits import make_draft
from draftmark.models.files import end_tokens
from draftmark.models.generation import Sampling, generate
from draftmark.models.hidden_states import (
    StoredHiddenStates,
    TargetLogits,
    hidden_states,
    write_hidden_states,
)
from draftmark.models.kv_cache import CachedModel
from draftmark.models.language_model import LanguageModel
from draftmark.models.sampling import draw_tokens, sampler_probs
from draftmark.progress import Progress
from draftmark.speculation.blocks import REFERENCE, block_counts
from draftmark.speculation.engine_counts import engine_counts
from draftmark.speculation.interfaces import EngineSettings
from draftmark.speculation.language_model_drafter import LanguageModelDrafter
from draftmark.store.acceptance_tables import with_greedy_draft
from draftmark.types import (
    GREEDY,
    AcceptanceTable,
    Decode,
    Placement,
    Prompt,
    Proposal,
    Sampler,
    Samplers,
    Text,
    Verification,
)

LIMIT = 160  # new tokens
SHORT = 32  # where whole texts would say no more


def samplers(how: float | Samplers) -> Samplers:
    """Return one sampler for target and draft where only a temperature is given."""
    return how if isinstance(how, Samplers) else Samplers(Sampler(how), Sampler(how))


def lefts(decode: Decode) -> Iterator[int]:
    """Yield the number of tokens that the text still has at the start of each round."""
    start = 0
    for round_ in decode.rounds:
        yield len(decode.token_ids) - start
        start += round_.accepted + 1


def texts_of(decoded: list[Decode], prompts: list[Prompt]) -> list[Text]:
    """Return what an engine wrote as texts to be scored."""
    return [
        Text(item.example_id, prompt.token_ids, item.token_ids, item.finish_reason)
        for item, prompt in zip(decoded, prompts, strict=True)
    ]


@dataclass(frozen=True)
class Fading:
    """A draft whose law gets flatter the deeper it is in a block, as a feature head's does."""

    model: LanguageModel

    def score(
        self, texts: list[Text], target: TargetLogits, how: Samplers
    ) -> Iterator[AcceptanceTable]:
        for text, hidden_ND in hidden_states(self.model, texts):
            logits_NV = self.model.logits(hidden_ND)
            depths = (logits_NV[depth:] / (1 + depth) for depth in range(min(len(logits_NV), 32)))
            yield score_by_depth(text, target, how, depths)

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, stream: torch.Generator
    ) -> "FadingSession":
        return FadingSession(CachedModel(self.model), sampler, stream)


@dataclass(frozen=True)
class FadingSession:
    cached: CachedModel
    sampler: Sampler
    stream: torch.Generator

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        self.cached.keep(0)  # reads all again: slow, and surely right
        unread, drafted, laws = list(token_ids), [], []
        for depth in range(num_tokens):
            logits_V = self.cached.model.logits(self.cached.feed(unread)[-1]) / (1 + depth)
            laws.append(sampler_probs(logits_V, self.sampler))
            drafted.append(int(draw_tokens(laws[-1], self.stream)))
            unread = drafted[-1:]
        return Proposal(tuple(drafted), torch.stack(laws))


@dataclass(frozen=True)
class Pair:
    target: LanguageModel
    draft: LanguageModel


@pytest.fixture(scope="module")
def shallow(target: LanguageModel) -> Pair:
    """Two layers of the tiny target as a target, one as its draft: 3 times as fast.

    The draft's law overlaps with the target's by 0.7, and the target is sure of few tokens: at
    every depth of a block many are accepted and many are rejected.
    """
    first_two = make_draft(DraftInit(pruned=(0, 1)), target, seed=0)
    return Pair(first_two, make_draft(DraftInit(pruned=(0,)), target, seed=0))


@pytest.fixture
def decode(target: Any, tiny_directory: Path) -> Callable[..., list[Decode]]:
    """Return a function that decodes prompts with a draft, or with none."""
    tiny = target

    def run(
        prompts: list[Prompt],
        model: Any,
        how: float | Samplers,
        gamma: int,
        *,
        limit: int = LIMIT,
        verification: Verification = "standard",
        target: LanguageModel = tiny,
    ) -> list[Decode]:
        settings = EngineSettings(
            samplers=samplers(how),
            num_speculative_tokens=gamma,
            max_new_tokens=limit,
            end_tokens=end_tokens(tiny_directory),
            seed=0,
            placement=Placement(),
            verification=verification,
        )
        drafter = LanguageModelDrafter(model) if isinstance(model, LanguageModel) else model
        return list(_Loop(target, drafter, settings).generate(prompts))

    return run


@pytest.fixture
def score(target: Any, tmp_path: Path) -> Callable[..., list[AcceptanceTable]]:
    """Return a function that fills the acceptance tables of texts, in their order."""
    tiny = target

    def tables(
        model: Any,
        texts: list[Text],
        how: float | Samplers,
        *,
        limit: int = LIMIT,
        target: LanguageModel = tiny,
    ) -> list[AcceptanceTable]:
        with Progress(quiet=True).step("", len(texts)) as step:
            write_hidden_states(target, texts, tmp_path, dtype="float32", step=step)
        laws = TargetLogits(target, StoredHiddenStates.load(tmp_path))
        drafter = LanguageModelDrafter(model) if isinstance(model, LanguageModel) else model
        scored = drafter.score(texts, laws, samplers(how))
        by_id = {table.example_id: replace(table, limit=limit) for table in scored}
        return [by_id[text.example_id] for text in texts]

    return tables


def test_without_a_draft_it_writes_what_generation_writes(
    decode: Any, prompts: list[Prompt], greedy_texts: list[Text]
) -> None:
    decoded = decode(prompts[:8], None, 0.0, 4)
    assert [item.token_ids for item in decoded] == [text.response_ids for text in greedy_texts[:8]]
    assert all(item.target_passes == len(item.token_ids) for item in decoded)


@pytest.mark.slow
@pytest.mark.parametrize(("gamma", "count"), [(1, 6), (3, 12), (5, 6), (8, 6)])
def test_at_temperature_zero_it_is_lossless_and_its_passes_are_predicted_exactly(
    decode: Any,
    score: Any,
    draft: Any,
    prompts: list[Prompt],
    greedy_texts: list[Text],
    gamma: int,
    count: int,
) -> None:
    decoded, texts = decode(prompts[:count], draft, 0.0, gamma), greedy_texts[:count]
    assert [item.token_ids for item in decoded] == [text.response_ids for text in texts]
    counts = block_counts(score(draft, texts, 0.0), gamma)
    assert [item.target_passes for item in decoded] == counts.passes_B.tolist()
    counted = engine_counts(decoded, REFERENCE)
    assert counted.drafted_B.tolist() == counts.drafted_B.tolist()
    assert counted.tested_B.tolist() == counts.tested_B.tolist()
    assert counted.accepted_B.tolist() == counts.accepted_B.tolist()
    assert gamma == 1 or counts.drafted_B.sum() > sum(
        sum(min(gamma, left) for left in lefts(item)) for item in decoded
    )


@pytest.mark.parametrize("limit", [1, 2, 7, 23])
def test_it_is_lossless_at_every_length_limit(
    decode: Any, draft: Any, prompts: list[Prompt], limit: int
) -> None:
    alone = decode(prompts[:4], None, 0.0, 5, limit=limit)
    together = decode(prompts[:4], draft, 0.0, 5, limit=limit)
    assert [item.token_ids for item in together] == [item.token_ids for item in alone]
    assert all(len(item.token_ids) <= limit for item in together)
    assert [item.finish_reason for item in together] == [item.finish_reason for item in alone]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_a_draft_that_is_its_target_has_every_token_accepted(
    decode: Any, target: Any, prompts: list[Prompt], temperature: float
) -> None:
    for item in decode(prompts[:6], target, temperature, 4):
        assert check_own_draft([item]).passed
        assert all(round_.accepted == round_.drafted for round_ in item.rounds[:-1])


@pytest.mark.parametrize("sampler", [GREEDY, Sampler(1.0), Sampler(0.8, 20, 0.9)])
def test_a_draft_that_is_its_target_scores_exactly_one(
    score: Any, write: Any, target: Any, prompts: list[Prompt], sampler: Sampler
) -> None:
    for table in score(target, write(prompts[:16], sampler), Samplers(sampler, sampler)):
        assert np.all(table.accept_SD[:, 0] == 1.0)
        assert np.all(table.greedy_match_S == 1.0)
        assert np.all(table.overlap_S == 1.0)


def test_a_text_that_the_target_did_not_write_is_refused(
    score: Any, write: Any, draft: Any, prompts: list[Prompt]
) -> None:
    with pytest.raises(ValueError, match="have probability 0 under the target's sampler"):
        score(draft, write(prompts[:8], Sampler(2.0)), 0.0)


@pytest.mark.parametrize("kind", ["model", "lookup"])
def test_the_greedy_draft_beside_a_sampled_one_is_the_draft_at_temperature_zero(
    score: Any, write: Any, draft: Any, prompts: list[Prompt], kind: str
) -> None:
    """Also its overlap: the target's probability of the draft's most likely token."""
    drafter = {"model": draft, "lookup": PromptLookup().drafter(Path(), Placement())}[kind]
    texts, one = write(prompts[:8], 1.0), Sampler(1.0)
    both, alone = score(drafter, texts, 1.0), score(drafter, texts, Samplers(one, GREEDY))
    for table, expected in zip(both, alone, strict=True):
        greedy = with_greedy_draft(table)
        assert greedy is not None
        assert with_greedy_draft(expected) is None
        np.testing.assert_array_equal(greedy.accept_SD, expected.accept_SD)
        np.testing.assert_allclose(greedy.overlap_S, expected.overlap_S, atol=1e-6)
        assert kind == "lookup" or not np.array_equal(table.accept_SD, greedy.accept_SD)


@pytest.mark.slow
def test_at_temperature_one_its_mean_passes_agree_with_the_prediction(
    decode: Any, score: Any, shallow: Pair, tiny_directory: Path, prompts: list[Prompt]
) -> None:
    """96 prompts, the prediction on the target's own texts, the count on the engine's."""
    copies = [
        Prompt(f"{prompt.example_id} {copy}", prompt.token_ids)
        for copy in range(2)
        for prompt in prompts
    ][:96]
    target, draft = shallow.target, shallow.draft
    decoded = decode(copies, draft, 1.0, 3, limit=SHORT, target=target)
    counted = np.array([item.target_passes for item in decoded])
    sampling = Sampling(Sampler(1.0), SHORT, end_tokens(tiny_directory), seed=7)
    texts = generate(target, copies, sampling, rows_per_batch=32)
    counts = block_counts(score(draft, texts, 1.0, limit=SHORT, target=target), 3)
    standard_error = np.sqrt((counted.var() + counts.passes_B.var()) / len(copies))
    assert abs(counted.mean() - counts.passes_B.mean()) < 2.6 * standard_error
    # Given the engine's own texts the same prediction has far less noise, so it says more.
    own = score(draft, texts_of(decoded, copies), 1.0, limit=SHORT, target=target)
    given = block_counts(own, 3)
    difference = counted - given.passes_B
    assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(len(copies))


def test_at_temperature_zero_both_rules_of_verification_count_the_same(
    decode: Any, draft: Any, prompts: list[Prompt]
) -> None:
    rules = [
        decode(prompts[:4], draft, 0.0, 4, limit=SHORT, verification=rule)
        for rule in ("standard", "block")
    ]
    standard, block = ([(it.token_ids, it.rounds) for it in decoded] for decoded in rules)
    assert block == standard


BLOCK = [
    ("model, block", Samplers(Sampler(1.0), Sampler(1.0))),
    ("fading, block", Samplers(Sampler(1.0), Sampler(1.0))),
    ("lookup, block", Samplers(Sampler(1.0), Sampler(1.0))),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *BLOCK,
        ("model", Samplers(Sampler(1.0, top_p=0.9), Sampler(1.0, top_p=0.9))),
        ("model", Samplers(Sampler(1.0), GREEDY)),
        ("model", Samplers(GREEDY, Sampler(1.0))),
        ("model", Samplers(Sampler(0.7, top_k=5), Sampler(1.3, top_k=50))),
        ("fading", Samplers(Sampler(1.0), Sampler(1.0))),
        ("lookup", Samplers(GREEDY, GREEDY)),
        ("lookup", Samplers(Sampler(1.0), Sampler(1.0))),
        ("suffix", Samplers(GREEDY, GREEDY)),
    ],
)
def test_whatever_the_samplers_the_prediction_is_of_what_the_engine_counts(
    decode: Any, score: Any, shallow: Pair, prompts: list[Prompt], kind: str, how: Samplers
) -> None:
    """Passes, drafted, tested and accepted tokens, given the engine's own texts."""
    kind, _, named = kind.partition(", ")
    drafters = {"model": shallow.draft, "fading": Fading(shallow.draft)}
    drafter = drafters.get(kind) or {"lookup": PromptLookup(), "suffix": Suffix()}[kind]
    some, rule = prompts[:32], named or "standard"
    of = {"limit": SHORT, "target": shallow.target}
    decoded = decode(some, drafter, how, 4, verification=rule, **of)
    tables = score(drafter, texts_of(decoded, some), how, **of)
    counts = block_counts(tables, 4, verification=rule)
    engine = engine_counts(decoded, REFERENCE)
    for name in ("passes", "drafted", "tested", "accepted"):
        counted_B, predicted_B = getattr(engine, f"{name}_B"), getattr(counts, f"{name}_B")
        difference_B = counted_B - predicted_B
        error = difference_B.std() / np.sqrt(len(decoded))
        print(f"{kind} {how}: {name} {np.mean(counted_B):.2f}, predicted {predicted_B.mean():.2f}")
        rare = 1e-4 * predicted_B.mean()  # what so few prompts may never show
        # 32 prompts: beyond 3.5 standard errors in one of 700 comparisons, by the t distribution.
        assert abs(difference_B.mean()) <= (3.5 if named else 3) * error + rare, name
        if kind in ("lookup", "suffix"):  # a lookup leaves nothing to chance, given the text
            assert np.allclose(difference_B, 0), name


@pytest.mark.slow
def test_emitted_tokens_have_the_targets_law(
    decode: Any, shallow: Pair, prompts: list[Prompt]
) -> None:
    decoded = decode(prompts[:40], shallow.draft, 1.0, 4, limit=SHORT, target=shallow.target)
    texts = texts_of(decoded, prompts[:40])
    found = check_distribution(texts, read_target_logits(shallow.target, texts), Sampler(1.0))
    print(found.evidence)
    assert found.passed


def test_times_and_counts_are_of_the_prompt_and_the_text(
    decode: Any, draft: Any, prompts: list[Prompt]
) -> None:
    for item, prompt in zip(decode(prompts[:3], draft, 0.0, 4), prompts, strict=False):
        assert item.num_prompt_tokens == len(prompt.token_ids)
        assert item.decode_s > 0
        emitted = sum(round_.accepted + 1 for round_ in item.rounds)
        assert len(item.token_ids) in (emitted, emitted - 1)


def test_a_cache_that_is_not_cut_back_after_a_rejection_is_caught(
    decode: Any, draft: Any, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: rejected tokens stay in the target's cache, only the book-keeping goes."""
    alone = decode(prompts[:3], None, 0.0, 4)

    def stale(self: CachedModel, num_tokens: int) -> None:
        del self.seen[num_tokens:]

    monkeypatch.setattr(CachedModel, "keep", stale)
    together = decode(prompts[:3], draft, 0.0, 4)
    assert [item.token_ids for item in together] != [item.token_ids for item in alone]
