"""The transformers engine: the reference engine's tokens and passes, and its own conventions."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from draftmark.baselines.eagle import METHOD as Eagle
from draftmark.baselines.prompt_lookup import METHOD as PromptLookup
from draftmark.baselines.untrained import METHOD as Untrained
from draftmark.engines.measure.lossless import check_own_draft
from draftmark.engines.reference import ENGINE as REFERENCE
from draftmark.engines.transformers import ENGINE
from draftmark.errors import UserError
from draftmark.models.files import end_tokens
from draftmark.models.hidden_states import StoredHiddenStates, TargetLogits, write_hidden_states
from draftmark.models.language_model import save_model
from draftmark.models.stop_conditions import StopStrings
from draftmark.pipeline.stages.measurements import engine_for
from draftmark.progress import Progress
from draftmark.speculation import blocks
from draftmark.speculation.blocks import block_counts
from draftmark.speculation.engine_counts import engine_counts
from draftmark.speculation.interfaces import EngineSettings, Method
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

GAMMA, LIMIT = 4, 60
HOW = blocks.TRANSFORMERS
Decoding = Callable[..., list[Decode]]


@pytest.fixture
def draft_directory(draft: Any, tokenizer: Any, tmp_path: Path) -> Path:
    save_model(draft, tokenizer, tmp_path / "draft")
    return tmp_path / "draft"


@pytest.fixture
def settings(tiny_directory: Path) -> Callable[..., EngineSettings]:
    def make(sampler: Sampler = GREEDY, **changes: Any) -> EngineSettings:
        told = {"num_speculative_tokens": GAMMA, "max_new_tokens": LIMIT, "seed": 0, **changes}
        told.setdefault("end_tokens", end_tokens(tiny_directory))
        return EngineSettings(
            samplers=Samplers(sampler, sampler),
            placement=Placement(),
            **told,
        )

    return make


@pytest.fixture
def decode(
    tiny_directory: Path, draft_directory: Path, settings: Callable[..., EngineSettings]
) -> Decoding:
    """Return a function that decodes prompts with a method, or with none."""

    def run(
        prompts: list[Prompt], method: Method | None, engine: Any = ENGINE, **told: Any
    ) -> list[Decode]:
        folder = told.pop("folder", draft_directory)
        running = engine.open(tiny_directory, method, folder, settings(**told))
        return list(running.generate(prompts))

    return run


@pytest.fixture
def score(target: Any, draft_directory: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that fills the acceptance tables of greedy texts, in their order."""

    def tables(method: Method, texts: list[Text], limit: int = LIMIT) -> list[AcceptanceTable]:
        with Progress(quiet=True).step("", len(texts)) as step:
            write_hidden_states(target, texts, tmp_path, dtype="float32", step=step)
        laws = TargetLogits(target, StoredHiddenStates.load(tmp_path))
        drafter = method.drafter(draft_directory, Placement())
        scored = drafter.score(texts, laws, Samplers(GREEDY, GREEDY))
        by_id = {table.example_id: replace(table, limit=limit) for table in scored}
        return [by_id[text.example_id] for text in texts]

    return tables


def left(decode: Decode) -> int:
    """Return the number of tokens that the text has left at its last round."""
    return len(decode.token_ids) - sum(round_.accepted + 1 for round_ in decode.rounds[:-1])


def tokens_of(decoded: list[Decode]) -> list[tuple[int, ...]]:
    return [item.token_ids for item in decoded]


@pytest.mark.parametrize("method", [Untrained(), PromptLookup(), PromptLookup(max_ngram=2)])
def test_it_writes_the_reference_engines_tokens_in_the_passes_that_scoring_predicts(
    decode: Decoding, score: Any, prompts: list[Prompt], method: Method
) -> None:
    alone = decode(prompts[:6], None, REFERENCE)
    decoded = decode(prompts[:6], method)
    assert tokens_of(decoded) == tokens_of(alone)
    texts = [
        Text(item.example_id, prompt.token_ids, item.token_ids, item.finish_reason)
        for item, prompt in zip(decoded, prompts, strict=False)
    ]
    counts, counted = block_counts(score(method, texts), GAMMA, HOW), engine_counts(decoded, HOW)
    assert counted.passes_B.tolist() == counts.passes_B.tolist()
    for item, accepted in zip(decoded, counts.accepted_B, strict=True):
        # By its convention the token that ends a text may be the target's own.
        assert accepted - sum(r.accepted for r in item.rounds) in (0, 1)
        assert all(r.accepted <= r.drafted <= GAMMA for r in item.rounds)


@pytest.mark.parametrize(
    ("method", "how"), [(Untrained(), HOW), (PromptLookup(), blocks.TRANSFORMERS_LOOKUP)]
)
def test_its_own_counts_are_those_that_are_predicted(
    decode: Decoding, score: Any, prompts: list[Prompt], method: Method, how: blocks.Convention
) -> None:
    """Another project's loop, not ours, says what a block drafts; no text has an end token."""
    decoded = decode(prompts[:6], method, fixed_length=True)
    assert [len(item.token_ids) for item in decoded] == [LIMIT] * 6
    texts = [
        Text(item.example_id, prompt.token_ids, item.token_ids, item.finish_reason)
        for item, prompt in zip(decoded, prompts, strict=False)
    ]
    counts, counted = block_counts(score(method, texts), GAMMA, how), engine_counts(decoded, how)
    for name in ("passes", "drafted", "tested", "accepted"):
        mine, theirs = getattr(counts, f"{name}_B"), getattr(counted, f"{name}_B")
        assert theirs.tolist() == mine.tolist(), name
    assert 0 < counted.accepted_B.sum() < counted.drafted_B.sum()


def test_tokens_drafted_before_an_unforeseen_end_count_as_drafted(
    decode: Decoding, score: Any, prompts: list[Prompt]
) -> None:
    """The loop does not know where the target ends, so its last block is as long as any other."""
    prompt = prompts[0]
    (whole,) = decode([prompt], Untrained(), fixed_length=True)
    beyond = []
    for end in list(dict.fromkeys(whole.token_ids))[4:24:2]:
        (item,) = decode([prompt], Untrained(), end_tokens=frozenset({end}))
        text = Text(item.example_id, prompt.token_ids, item.token_ids)
        counts = block_counts(score(Untrained(), [text]), GAMMA, HOW)
        counted = engine_counts([item], HOW)
        assert (
            counted.drafted_B[0] <= counts.drafted_B[0]
        )  # it stops where it drafts the end itself
        if counted.drafted_B[0] == counts.drafted_B[0]:
            assert counted.tested_B[0] == counts.tested_B[0]
            assert counted.accepted_B[0] == counts.accepted_B[0]
            beyond.append(item.rounds[-1].drafted - left(item))
    assert max(beyond) > 0  # more than the text had left


def test_without_a_draft_a_pass_gives_a_token(decode: Decoding, prompts: list[Prompt]) -> None:
    decoded = decode(prompts[:4], None)
    assert tokens_of(decoded) == tokens_of(decode(prompts[:4], None, REFERENCE))
    for item in decoded:
        assert item.target_passes == len(item.token_ids)
        assert item.first_token_s == item.prefill_s > 0
        assert item.decode_s > 0


@pytest.mark.parametrize("sampler", [GREEDY, Sampler(1.0), Sampler(0.8, 20, 0.9)])
def test_a_draft_that_is_its_target_has_every_token_accepted(
    decode: Decoding, tiny_directory: Path, prompts: list[Prompt], sampler: Sampler
) -> None:
    for item in decode(prompts[:4], Untrained(), sampler=sampler, folder=tiny_directory):
        assert sum(r.drafted for r in item.rounds) > 0
        assert check_own_draft([item], HOW).passed


def test_what_is_sampled_depends_on_the_seed_and_the_prompt_alone(
    decode: Decoding, prompts: list[Prompt]
) -> None:
    first = tokens_of(decode(prompts[:3], Untrained(), sampler=Sampler(1.0)))
    assert tokens_of(decode(prompts[1:3], Untrained(), sampler=Sampler(1.0))) == first[1:]
    assert tokens_of(decode(prompts[:3], Untrained(), sampler=Sampler(1.0), seed=1)) != first


@pytest.mark.parametrize("method", [None, Untrained()])
def test_a_fixed_length_is_kept_past_end_tokens(
    decode: Decoding, prompts: list[Prompt], tiny_directory: Path, method: Method | None
) -> None:
    told = {"fixed_length": True, "max_new_tokens": 150}
    decoded = decode(prompts[:3], method, **told)
    assert [len(item.token_ids) for item in decoded] == [150] * 3
    assert any(end_tokens(tiny_directory) & set(item.token_ids[:-1]) for item in decoded)
    assert tokens_of(decoded) == tokens_of(decode(prompts[:3], method, REFERENCE, **told))


def test_a_stop_string_ends_a_text_where_it_does_in_the_reference_engine(
    decode: Decoding, tokenizer: Any, prompts: list[Prompt]
) -> None:
    stop = StopStrings(("\n",), lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
    told = {"stop": stop, "max_new_tokens": 100}
    decoded = decode(prompts[:4], Untrained(), **told)
    assert tokens_of(decoded) == tokens_of(decode(prompts[:4], None, REFERENCE, **told))
    assert any(item.finish_reason == "stop_string" for item in decoded)


def test_the_target_alone_runs_in_batches_as_it_does_one_by_one(
    decode: Decoding, prompts: list[Prompt]
) -> None:
    together = decode(prompts[:5], None, batch_size=4)
    assert tokens_of(together) == tokens_of(decode(prompts[:5], None))
    assert [item.finish_reason for item in together] == [
        item.finish_reason for item in decode(prompts[:5], None)
    ]


def test_what_files_say_of_generation_is_not_read(
    decode: Decoding, draft_directory: Path, prompts: list[Prompt]
) -> None:
    before = decode(prompts[:3], Untrained())
    (draft_directory / "generation_config.json").write_text(
        json.dumps({"repetition_penalty": 1.5, "num_assistant_tokens": 1, "top_k": 1})
    )
    after = decode(prompts[:3], Untrained())
    assert [item.rounds for item in after] == [item.rounds for item in before]


def test_it_tells_what_it_pinned(
    tiny_directory: Path, draft_directory: Path, settings: Callable[..., EngineSettings]
) -> None:
    running = ENGINE.open(tiny_directory, Untrained(), draft_directory, settings(Sampler(1.0)))
    told = json.loads(json.dumps(running.describe()))
    assert told["assistant"]["num_assistant_tokens"] == GAMMA
    assert told["assistant"]["num_assistant_tokens_schedule"] == "constant"
    assert told["assistant"]["assistant_confidence_threshold"] == 0.0
    assert told["generation"] | {"top_k": 0, "do_sample": True} == told["generation"]


@pytest.mark.parametrize(
    ("method", "told", "said"),
    [
        (Untrained(), {"batch_size": 4}, "one prompt at a time, not 4"),
        (PromptLookup(min_ngram=2), {}, "not to min_ngram = 2"),
        (PromptLookup(), {"sampler": Sampler(1.0, top_p=0.9)}, "under top_p = 0.9"),
    ],
)
def test_what_it_cannot_do_it_says(
    decode: Decoding, prompts: list[Prompt], method: Method, told: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        decode(prompts[:1], method, **told)


def test_a_draft_that_is_sampled_otherwise_is_refused(
    tiny_directory: Path, settings: Callable[..., EngineSettings]
) -> None:
    apart = replace(settings(Sampler(1.0)), samplers=Samplers(Sampler(1.0), GREEDY))
    with pytest.raises(UserError, match="target's sampler, not with temperature 0"):
        ENGINE.open(tiny_directory, Untrained(), tiny_directory, apart)


def test_block_verification_is_refused(
    tiny_directory: Path, settings: Callable[..., EngineSettings]
) -> None:
    joint = replace(settings(Sampler(1.0)), verification="block")
    with pytest.raises(UserError, match=r"verifies token by token; set speed\.verification"):
        ENGINE.open(tiny_directory, Untrained(), tiny_directory, joint)


def test_feature_heads_are_left_to_other_engines() -> None:
    with pytest.raises(UserError, match="does not run feature_head drafts"):
        engine_for("transformers", Eagle())
