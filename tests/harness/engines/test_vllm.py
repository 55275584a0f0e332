"""vLLM on a tiny pair: lossless, and its own counts are those that scoring predicts."""

import copy
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from block_cases import trained_block_head
from head_cases import TRAINED, as_qwen3, on_model, trained_head
from vllm_cases import needs_vllm
from vocabularies import with_other_ids

from draftmark.baselines.eagle3 import METHOD as Eagle3
from draftmark.baselines.p_eagle import METHOD as PEagle
from draftmark.baselines.pard import METHOD as Pard
from draftmark.baselines.prompt_lookup import METHOD as PromptLookup
from draftmark.baselines.untrained import METHOD as Untrained
from draftmark.baselines.untrained import MeasuredHead
from draftmark.engines import vllm
from draftmark.engines._vllm.child_process import ChildFailure
from draftmark.engines.measure.lossless import check_distribution, read_target_logits, to_texts
from draftmark.errors import UserError
from draftmark.models.files import end_tokens
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.heads.head_exports import export_head
from draftmark.models.heads.head_imports import read_head
from draftmark.models.heads.head_layouts import read_head_facts
from draftmark.models.hidden_states import StoredHiddenStates
from draftmark.models.language_model import LanguageModel, save_model, share_vocabulary
from draftmark.models.shared_vocabulary import match_vocabularies
from draftmark.speculation.blocks import VLLM, block_counts
from draftmark.speculation.engine_counts import engine_counts
from draftmark.speculation.interfaces import EngineSettings, Method
from draftmark.types import GREEDY, Decode, Placement, Prompt, Round, Sampler, Samplers

ONE, LIMIT, GAMMA = Sampler(1.0), 24, 3
HEADS = {"eagle": "eagle", "eagle3": "eagle3, cut"}  # by vLLM's name
EAGLE31 = Eagle3(depth=2, from_layer=7, draft_vocabulary=300, fc_norm=True, norm_output=True)


@pytest.fixture(scope="module")
def settings(tiny_directory: Path) -> EngineSettings:
    ends = end_tokens(tiny_directory)
    return EngineSettings(Samplers(GREEDY, GREEDY), GAMMA, LIMIT, ends, 0, Placement(), None, 4)


@pytest.fixture(scope="module")
def asked(prompts: list[Prompt]) -> list[Prompt]:
    return prompts[:12]


@pytest.fixture(scope="module")
def opened(vllm_python: str) -> Callable[..., Any]:
    """Return the engine's `open`, with a Python that has imported vLLM."""

    def open_engine(*arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", vllm_python)
            return vllm.ENGINE.open(*arguments)

    return open_engine


@pytest.fixture(scope="module")
def alone(
    opened: Callable[..., Any], tiny_directory: Path, settings: EngineSettings, asked: list[Prompt]
) -> list[Decode]:
    """What vLLM decodes without a draft."""
    return list(opened(tiny_directory, None, None, settings).generate(asked))


@pytest.fixture
def drafts(
    draft: Any,
    target: LanguageModel,
    tokenizer: Any,
    read_gold: Callable[..., dict[str, StoredHiddenStates]],
    trained_heads: Callable[[str], FeatureHead],
    tmp_path: Path,
) -> Callable[[str], tuple[Method, Path]]:
    """Return a function that gives a method and the folder of its draft, by vLLM's name for it."""

    def made(name: str) -> tuple[Method, Path]:
        if name == "ngram":
            return PromptLookup(), tmp_path
        method, model = Untrained(), draft
        if name == "shared":
            return method, _with_another_tokenizer(model, tokenizer, tmp_path)
        if name == "pard":
            method, model = Pard(block_size=GAMMA), copy.deepcopy(draft)
            model.model.config.pard_token = 1023
        if name == "p_eagle":
            scratch, method = tmp_path / "scratch", PEagle(block_size=GAMMA, num_layers=2)
            scratch.mkdir()
            texts = list(read_gold(train=24)["train"].texts)
            model = trained_block_head(method, target, texts, scratch)
        if name in HEADS:
            method, model = TRAINED[HEADS[name]], trained_heads(HEADS[name])
        save_model(model, tokenizer, tmp_path)
        return method, tmp_path

    return made


@needs_vllm
@pytest.mark.slow
def test_without_a_draft_it_writes_what_generation_writes(
    alone: list[Decode], asked: list[Prompt], write: Any
) -> None:
    texts = write(asked, 0.0, max_new_tokens=LIMIT)
    assert [item.token_ids for item in alone] == [text.response_ids for text in texts]
    assert [item.finish_reason for item in alone] == [text.finish_reason for text in texts]
    for item in alone:
        assert item.target_passes == len(item.token_ids) - 1  # prefill gave the first
        assert item.first_token_s is not None
        assert 0 < item.first_token_s < item.prefill_s + item.decode_s


@needs_vllm
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["draft_model", "ngram", "eagle", "eagle3", "pard", "p_eagle", "shared"]
)
def test_a_draft_changes_no_token_and_its_counts_are_predicted_exactly(
    name: str,
    drafts: Callable[[str], tuple[Method, Path]],
    opened: Callable[..., Any],
    alone: list[Decode],
    asked: list[Prompt],
    settings: EngineSettings,
    target: LanguageModel,
    tiny_directory: Path,
) -> None:
    method, folder = drafts(name)
    running = opened(tiny_directory, method, folder, settings)
    decoded = list(running.generate(asked))
    assert [item.token_ids for item in decoded] == [item.token_ids for item in alone]
    assert [item.finish_reason for item in decoded] == [item.finish_reason for item in alone]

    _check_counts(decoded, asked, method, folder, target, settings)

    told = running.describe()
    others = {"pard": "draft_model", "shared": "draft_model", "p_eagle": "eagle3"}
    vllms_name = others.get(name, name)
    assert told["engine"]["speculative_config"]["method"] == vllms_name
    assert told["engine"]["enable_prefix_caching"] is False
    assert told["resolved"]["prefix_caching"] is False
    assert str(folder) not in str(told)


@needs_vllm
@pytest.mark.slow
def test_a_head_that_was_read_has_the_counts_in_vllm_that_scoring_predicts(
    opened: Callable[..., Any],
    settings: EngineSettings,
    asked: list[Prompt],
    target: LanguageModel,
    tokenizer: Any,
    read_gold: Callable[..., dict[str, StoredHiddenStates]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """EAGLE-3.1 of a Qwen3 target in the layout of speculators: vLLM reads the folder itself."""
    served, theirs, own, scratch = (tmp_path / name for name in ("q", "theirs", "own", "scratch"))
    for folder in (own, scratch):
        folder.mkdir()
    qwen = as_qwen3(target)
    save_model(qwen, tokenizer, served)
    texts = {name: on_model(qwen, known.texts) for name, known in read_gold(train=24).items()}
    head = trained_head(EAGLE31, qwen, {**texts, "validation": texts["train"]}, scratch)
    export_head(head, "speculators", theirs, target="", num_speculative_tokens=GAMMA)
    read_head(theirs, qwen, "theirs").model.save_pretrained(own)
    method = MeasuredHead(read_head_facts(theirs, "theirs"))
    monkeypatch.setattr(vllm, "_export", lambda *_: theirs)
    decoded = list(opened(served, method, own, settings).generate(asked))
    _check_counts(decoded, asked, method, own, qwen, settings)


def _with_another_tokenizer(model: LanguageModel, tokenizer: Any, folder: Path) -> Path:
    """Return the folder of the draft with other ids, without some of the target's tokens."""
    made, own, _ = with_other_ids(model, tokenizer, range(300, 700))
    rows = made.model.get_output_embeddings().weight.shape[0]
    shared = match_vocabularies(tokenizer, own, model.vocab_size, rows)
    save_model(share_vocabulary(made, shared), own, folder)
    return folder


def _check_counts(
    decoded: list[Decode],
    asked: list[Prompt],
    method: Method,
    folder: Path,
    target: LanguageModel,
    settings: EngineSettings,
) -> None:
    """Assert that vLLM counted, prompt by prompt, what scoring predicts."""
    logits = read_target_logits(target, to_texts(decoded, asked))
    scored = method.drafter(folder, Placement()).score(
        logits.final_states.texts, logits, settings.samplers
    )
    tables = {table.example_id: table for table in scored}
    in_order = [tables[prompt.example_id] for prompt in asked]
    predicted = block_counts(in_order, GAMMA, VLLM)
    counted = engine_counts(decoded, VLLM)
    assert 0 < counted.accepted_B.sum() < counted.drafted_B.sum()
    assert counted.passes_B.tolist() == predicted.passes_B.tolist()
    assert counted.drafted_B.tolist() == predicted.drafted_B.tolist()
    assert counted.tested_B.tolist() == predicted.tested_B.tolist()
    assert counted.within_B.tolist() == predicted.accepted_B.tolist()


@needs_vllm
@pytest.mark.slow
def test_a_draft_that_is_its_target_has_every_token_accepted_at_any_temperature(
    opened: Callable[..., Any],
    tiny_directory: Path,
    settings: EngineSettings,
    asked: list[Prompt],
    target: LanguageModel,
) -> None:
    sampled = replace(settings, samplers=Samplers(ONE, ONE), max_new_tokens=60)
    running = opened(tiny_directory, Untrained(), tiny_directory, sampled)
    at_one = list(running.generate(asked))
    at_zero = list(replace(running, settings=settings).generate(asked))
    for decoded in (at_one, at_zero):
        counted = engine_counts(decoded, VLLM)
        assert counted.accepted_B.tolist() == counted.drafted_B.tolist()
    texts = to_texts(at_one, asked)
    assert check_distribution(texts, read_target_logits(target, texts), ONE).passed
    other = list(replace(running, settings=replace(sampled, seed=1)).generate(asked))
    assert [item.token_ids for item in other] != [item.token_ids for item in at_one]


@needs_vllm
@pytest.mark.slow
def test_an_engine_that_is_killed_or_hangs_fails_in_words_and_leaves_nothing(
    tiny_directory: Path, settings: EngineSettings, asked: list[Prompt]
) -> None:
    before = set(psutil.Process().children(recursive=True))
    running = vllm.ENGINE.open(tiny_directory, None, None, settings)
    os.kill(running.child.pid, signal.SIGKILL)
    with pytest.raises(ChildFailure, match="vLLM was ended by SIGKILL"):
        list(running.generate(asked))
    with pytest.raises(ChildFailure, match=r"vLLM did not answer within 0\.5 s and was ended"):
        vllm.VllmEngine(timeout_s=0.5).open(tiny_directory, None, None, settings)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_machine_without_vllm_is_told_how_to_get_it(
    tiny_directory: Path, settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"needs vLLM, 0\.32 or later; run `(make|pip) "):
        vllm.ENGINE.open(tiny_directory, None, None, settings)


@pytest.mark.parametrize(
    ("emitted", "drafts", "expected"),
    [
        ([], [], []),
        ([1, 1], [], [(0, 0), (0, 0)]),
        ([4, 2], [(3, 3), (3, 1)], [(3, 3), (3, 1)]),
        ([1, 3, 1], [(3, 2)], [(0, 0), (3, 2), (0, 0)]),
        ([4, 1], [(3, 3), (3, 2)], [(3, 3), (3, 2)]),  # the text ends within the last block
        ([4, 1], [(3, 3)], [(3, 3), (0, 0)]),
    ],
)
def test_passes_are_told_apart_by_what_they_gave(
    emitted: list[int], drafts: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    found = vllm._rounds(emitted, [Round(*each) for each in drafts])
    assert [(each.drafted, each.accepted) for each in found] == expected
