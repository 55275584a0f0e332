"""Drafts with another tokenizer: what they share, and that they draft exactly as scored."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vocabularies import tokenizer_of, with_other_ids

from draftmark.baselines.untrained import METHOD as Untrained
from draftmark.engines.measure.lossless import Check, read_target_logits, run_checks
from draftmark.engines.reference import ENGINE
from draftmark.engines.transformers import ENGINE as TransformersEngine
from draftmark.environment import install_hint
from draftmark.errors import Unsupported, UserError
from draftmark.models.cache import cached_model
from draftmark.models.files import end_tokens
from draftmark.models.language_model import (
    LanguageModel,
    SharedVocabularyModel,
    load_model,
    load_tokenizer,
    save_model,
    share_vocabulary,
)
from draftmark.models.sampling import sampler_probs
from draftmark.models.shared_vocabulary import (
    SharedVocabulary,
    has_shared_vocabulary,
    match_vocabularies,
    read_vocabulary,
)
from draftmark.progress import Progress
from draftmark.speculation.interfaces import EngineSettings
from draftmark.speculation.language_model_drafter import LanguageModelDrafter
from draftmark.types import (
    GREEDY,
    AcceptanceTable,
    Placement,
    Prompt,
    Sampler,
    Samplers,
    Text,
)

ONE = Sampler(1.0)
LOST = range(300, 700)  # tokens of the target that the draft lacks
MODEL = "smollm2-135m-instruct"


def share(loaded: LanguageModel, own: Any, tokenizer: Any) -> SharedVocabularyModel:
    rows = loaded.model.get_output_embeddings().weight.shape[0]
    return share_vocabulary(loaded, match_vocabularies(tokenizer, own, loaded.vocab_size, rows))


def tables(
    draft: LanguageModel, texts: Sequence[Text], target: LanguageModel, sampler: Sampler
) -> list[AcceptanceTable]:
    logits = read_target_logits(target, texts)
    drafter = LanguageModelDrafter(draft)
    return list(drafter.score(texts, logits, Samplers(sampler, sampler)))


@pytest.fixture(scope="module")
def texts(greedy_texts: list[Text]) -> list[Text]:
    """Four texts that the target wrote, cut to 24 tokens."""
    return [replace(text, response_ids=text.response_ids[:24]) for text in greedy_texts[:4]]


def test_tokens_are_one_if_their_strings_are_after_the_mark_of_a_space() -> None:
    target = tokenizer_of({"a": 0, "Ġa": 1, "Ġ": 2, "b": 3, "<end>": 4, "c": 5}, eos_token="<end>")
    draft = tokenizer_of({"▁a": 0, "b": 2, "</s>": 3, "a": 4, "c": 6}, eos_token="</s>")
    found = match_vocabularies(target, draft, 6, 6)  # the head has no row for "c"
    assert found == SharedVocabulary((4, 0, -1, 2, -1, -1), unknown=3)
    assert (found.size, found.count([0, 1, 1, 2, 5])) == (3, 3)
    assert found.reading == [4, 0, 3, 2, 3, 3]
    assert found.describe() == "3 of the target's 6 tokens (50.0%)"


def test_a_tokenizers_own_mark_is_taken(tokenizer: Any) -> None:
    """The tiny target's tokenizer marks a space by "Ġ", so "▁x" is a token like any other."""
    draft = tokenizer_of({"▁the": 0, "x": 1}, unk_token="x")
    found = match_vocabularies(tokenizer, draft, 1024, 2)
    the = tokenizer.convert_tokens_to_ids("Ġthe")
    assert [t for t in range(1024) if found.has(t)] == sorted([the, tokenizer.encode("x")[0]])


def test_the_lowest_id_of_equal_strings_is_taken_and_an_unknown_token_may_be_0() -> None:
    target = tokenizer_of({"▁a": 3, "Ġa": 2, "b": 0}, eos_token="b")
    draft = tokenizer_of({"<unk>": 0, " a": 1}, unk_token="<unk>", eos_token=" a")
    assert match_vocabularies(target, draft, 4, 2) == SharedVocabulary((-1, -1, 1, -1), 0)


def test_what_cannot_be_shared_is_refused() -> None:
    letters, others = tokenizer_of({"a": 0}, eos_token="a"), tokenizer_of({"b": 0}, eos_token="b")
    with pytest.raises(UserError, match="share no token"):
        match_vocabularies(letters, others, 1, 1)
    with pytest.raises(UserError, match="neither an unknown nor an end token"):
        match_vocabularies(letters, tokenizer_of({"a": 0}), 1, 1)


@pytest.mark.parametrize("sampler", [GREEDY, ONE])
def test_with_equal_tokenizers_the_table_is_the_plain_drafts_to_the_bit(
    sampler: Sampler, draft: LanguageModel, target: LanguageModel, tokenizer: Any, texts: list[Text]
) -> None:
    plain = tables(draft, texts, target, sampler)
    shared = share(draft, tokenizer, tokenizer)
    assert shared.vocabulary.to_draft == tuple(range(target.vocab_size))
    for one, other in zip(plain, tables(shared, texts, target, sampler), strict=True):
        for name, values in vars(one).items():
            np.testing.assert_array_equal(values, getattr(other, name), err_msg=name)


@pytest.mark.parametrize("sampler", [GREEDY, ONE])
def test_the_target_with_other_ids_has_every_token_accepted(
    sampler: Sampler, target: LanguageModel, tokenizer: Any, texts: list[Text]
) -> None:
    made, own, _ = with_other_ids(target, tokenizer)
    for table in tables(share(made, own, tokenizer), texts, target, sampler):
        accept_S = table.accept_SD[:, 0]
        assert abs(accept_S - 1).max() < (1e-4 if sampler.temperature else 1e-12)


def test_the_distribution_is_the_drafts_own_renormalised_on_the_shared_tokens(
    draft: LanguageModel, target: LanguageModel, tokenizer: Any, texts: list[Text]
) -> None:
    """Against a loop that feeds mapped ids to the original one by one."""
    made, own, ids = with_other_ids(draft, tokenizer, LOST)
    text = [*texts[0].prompt_ids, *texts[0].response_ids]
    assert set(text) & set(LOST)
    mapped = [own.unk_token_id if token in LOST else ids[token] for token in text]
    assert own.unk_token_id == ids[5]
    with torch.no_grad():
        logits_TV = made.model(torch.tensor([mapped])).logits[0]
        whole_TV = logits_TV.softmax(-1)
        shared = share(made, own, tokenizer)
        q_TV = sampler_probs(shared.logits(shared.hidden(torch.tensor([text])))[0], ONE)
    kept = [token for token in range(1024) if token not in LOST]
    expected_TK = whole_TV[:, [ids[token] for token in kept]]
    torch.testing.assert_close(q_TV[:, kept], expected_TK / expected_TK.sum(-1, keepdim=True))
    assert q_TV[:, list(LOST)].abs().max() == 0
    torch.testing.assert_close(q_TV.sum(-1), torch.ones(len(text)))


def test_a_token_outside_is_never_accepted(
    target: LanguageModel, tokenizer: Any, texts: list[Text]
) -> None:
    made, own, _ = with_other_ids(target, tokenizer, LOST)
    shared = share(made, own, tokenizer)
    for sampler in (GREEDY, ONE):
        found = {table.example_id: table for table in tables(shared, texts, target, sampler)}
        for text in texts:
            lost_S = np.isin(text.response_ids, LOST)
            first_S = found[text.example_id].accept_SD[:, 0]
            assert first_S[lost_S].max(initial=0) == 0 < first_S[~lost_S].max()


@pytest.fixture(scope="module")
def folder(target: LanguageModel, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A draft of other ids that lacks tokens of its target, as the draft stage writes it."""
    made, own, _ = with_other_ids(target, tokenizer, LOST)
    out = tmp_path_factory.mktemp("draft")
    save_model(share(made, own, tokenizer), own, out)
    return out


def test_a_saved_draft_is_read_as_it_was(folder: Path, target: LanguageModel) -> None:
    loaded = load_model(folder)
    assert isinstance(loaded, SharedVocabularyModel)
    assert has_shared_vocabulary(folder)
    assert loaded.vocabulary == read_vocabulary(folder)
    assert loaded.vocab_size == target.vocab_size
    assert load_tokenizer(folder).get_vocab().keys() >= {f"<lost {token}>" for token in LOST}


def verified(
    folder: Path, tiny_directory: Path, prompts: list[Prompt], samplers: Samplers
) -> dict[str, Check]:
    ends = end_tokens(tiny_directory)
    settings = EngineSettings(samplers, 3, 16, ends, 0, Placement())
    folders = {"target": tiny_directory, "draft": folder}
    with Progress(quiet=True).step("", 4) as step:
        found = run_checks(ENGINE, Untrained(), folders, settings, prompts, step)
    return {check.name: check for check in found}


@pytest.mark.parametrize("samplers", [Samplers(GREEDY, GREEDY), Samplers(ONE, ONE)])
def test_the_reference_engine_is_lossless_and_counts_what_scoring_predicts(
    samplers: Samplers, folder: Path, tiny_directory: Path, prompts: list[Prompt]
) -> None:
    checks = verified(folder, tiny_directory, prompts[:3], samplers)
    assert [check.evidence for check in checks.values() if not check.passed] == []
    counted = checks["passes are as predicted"].evidence
    if not samplers.target.temperature:
        assert (
            "3 of 3 prompts have the target's tokens" in checks["tokens are the target's"].evidence
        )
        count, _, _, _, _, predicted, *_ = counted.split()
        assert count == predicted
        assert counted.endswith("difference 0.00")
    shown = checks["the draft shares tokens of the texts"].evidence
    assert shown.startswith("the draft shares 624 of the target's 1,024 tokens (60.9%)")


def test_transformers_refuses_it_by_name(folder: Path, tiny_directory: Path) -> None:
    settings = EngineSettings(Samplers(GREEDY, GREEDY), 3, 8, frozenset({2}), 0, Placement())
    with pytest.raises(Unsupported, match="across vocabularies by rules of its own"):
        TransformersEngine.open(tiny_directory, Untrained(), folder, settings)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("vllm") is None, reason=f"no vLLM; {install_hint('vllm')}")
def test_the_vocabulary_is_vllms(tokenizer: Any, tiny_directory: Path, folder: Path) -> None:
    from vllm.v1.spec_decode.vocab_mapping import VocabMapping

    own = load_tokenizer(folder)
    pairs = [(tokenizer, own, 1024, 1031), (own, tokenizer, 1031, 1024)]
    if real := cached_model(MODEL):
        other = load_tokenizer(real)
        pairs += [(tokenizer, other, 1024, 49152), (other, tokenizer, 49152, 1024)]
    for target, draft, target_rows, draft_rows in pairs:
        found = match_vocabularies(target, draft, target_rows, draft_rows)
        theirs = VocabMapping(target, draft, target_rows, draft_rows, "cpu")
        assert theirs.target_to_draft_ids.tolist() == list(found.to_draft)
        assert theirs.draft_unk_token_id == found.unknown
        every = torch.arange(target_rows)
        assert theirs.map_target_to_draft_ids(every).tolist() == found.reading
