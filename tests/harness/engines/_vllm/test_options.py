"""What vLLM is told: alike in both arms, and nothing that it would do otherwise than scored."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from draftmark.baselines.p_eagle import METHOD as PEagle
from draftmark.baselines.prompt_lookup import METHOD as PromptLookup
from draftmark.baselines.suffix import METHOD as Suffix
from draftmark.baselines.untrained import METHOD as Untrained
from draftmark.engines._vllm.options import (
    PROGRAM,
    check_equal_head_rows,
    engine_options,
    sampling_options,
    speculation_options,
    without_paths,
)
from draftmark.errors import Unsupported, UserError
from draftmark.models.shared_vocabulary import SharedVocabulary
from draftmark.speculation.interfaces import EngineSettings
from draftmark.types import GREEDY, Placement, Sampler, Samplers

SETTINGS = EngineSettings(Samplers(GREEDY, GREEDY), 3, 24, frozenset({2}), 0, Placement())


def test_the_program_of_the_child_exists() -> None:
    assert PROGRAM.is_file()


def test_heads_of_unlike_padding_are_refused_by_a_sentence(
    tiny_directory: Path, tmp_path: Path
) -> None:
    config = json.loads((tiny_directory / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 1152}))

    check_equal_head_rows(tiny_directory, tiny_directory)
    with pytest.raises(Unsupported, match="not 1152 beside 1024; choose another"):
        check_equal_head_rows(tiny_directory, tmp_path)


def sampled(target: Sampler, draft: Sampler) -> EngineSettings:
    return replace(SETTINGS, samplers=Samplers(target, draft))


def test_the_arms_differ_in_the_draft_alone(tiny_directory: Path) -> None:
    draft = speculation_options(Untrained(), tiny_directory, SETTINGS)
    alone = engine_options(tiny_directory, SETTINGS, None, 512)
    together = engine_options(tiny_directory, SETTINGS, draft, 512)
    differing = {name for name in alone if alone[name] != together[name]}
    assert differing == {"speculative_config", "per_request_spec_decode_metrics"}
    assert draft["method"] == "draft_model"
    assert draft["num_speculative_tokens"] == 3


def test_what_is_recorded_names_no_folder(tiny_directory: Path) -> None:
    draft = speculation_options(Untrained(), tiny_directory, SETTINGS)
    told = without_paths(engine_options(tiny_directory, SETTINGS, draft, 512))
    assert str(tiny_directory) not in str(told)
    assert told["speculative_config"]["method"] == "draft_model"


def test_the_cache_holds_eight_of_the_longest_texts_with_a_drafts(tiny_directory: Path) -> None:
    """A token of the tiny target has keys and values of 8 layers, 2 heads of 32, 4 bytes each."""
    for batch_size, texts in ((1, 1), (8, 8), (64, 8)):
        settings = replace(SETTINGS, batch_size=batch_size)
        options = engine_options(tiny_directory, settings, None, 512)
        assert options["kv_cache_memory_bytes"] == 2 * texts * 512 * (2 * 8 * 2 * 32 * 4)


@pytest.mark.parametrize(
    ("target", "draft", "expected"),
    [
        (GREEDY, GREEDY, "greedy"),
        (Sampler(0.7), GREEDY, "greedy"),
        (Sampler(0.7), Sampler(0.7), "probabilistic"),
        (Sampler(0.7, 20, 0.9), Sampler(0.7), "probabilistic"),
    ],
)
def test_drafts_are_drawn_greedily_or_at_the_targets_temperature(
    target: Sampler, draft: Sampler, expected: str, tiny_directory: Path
) -> None:
    told = speculation_options(Untrained(), tiny_directory, sampled(target, draft))
    assert told["draft_sample_method"] == expected


@pytest.mark.parametrize(
    ("target", "draft"),
    [
        (GREEDY, Sampler(1.0)),
        (Sampler(0.7), Sampler(1.0)),
        (Sampler(0.7, 20), Sampler(0.7, 20)),
        (Sampler(0.7, 0, 0.9), Sampler(0.7, 0, 0.9)),
    ],
)
def test_a_draft_that_vllm_would_draw_otherwise_is_refused(
    target: Sampler, draft: Sampler, tiny_directory: Path
) -> None:
    with pytest.raises(UserError, match="without top_k and top_p, not by temperature"):
        speculation_options(Untrained(), tiny_directory, sampled(target, draft))


def test_the_rule_of_verification_is_vllms_own_except_on_a_processor(tiny_directory: Path) -> None:
    joint = replace(SETTINGS, verification="block", placement=Placement("cuda"))
    for settings, expected in ((SETTINGS, "standard"), (joint, "block")):
        options = speculation_options(Untrained(), tiny_directory, settings)
        assert options["rejection_sample_method"] == expected
    with pytest.raises(Unsupported, match="On a CPU vLLM verifies token by token"):
        speculation_options(Untrained(), tiny_directory, replace(joint, placement=Placement()))


def test_a_lookup_draws_nothing_so_its_sampler_does_not_matter(tmp_path: Path) -> None:
    told = speculation_options(
        PromptLookup(4, 2), tmp_path, sampled(Sampler(0.7, 20), Sampler(1.0))
    )
    assert (told["method"], told["prompt_lookup_max"], told["prompt_lookup_min"]) == ("ngram", 4, 2)


def test_suffix_decoding_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = sampled(Sampler(0.7), Sampler(0.7))
    with pytest.raises(Unsupported, match="pip install arctic-inference"):
        speculation_options(Suffix(), tmp_path, how)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    found = speculation_options(Suffix(max_depth=16), tmp_path, how)
    assert found["method"] == "suffix"
    assert found["suffix_decoding_max_tree_depth"] == 16
    assert found["suffix_decoding_max_cached_requests"] == 0


def test_only_the_end_tokens_end_a_text_and_of_a_fixed_length_none_do() -> None:
    told = sampling_options(SETTINGS)
    assert (told["stop_token_ids"], told["ignore_eos"], told["max_tokens"]) == ([2], True, 24)
    assert sampling_options(replace(SETTINGS, fixed_length=True))["stop_token_ids"] == []


BLOCK_HEADS = {
    "medusa": ({"model_type": "medusa", "num_heads": 2}, {"num_speculative_tokens": 2}),
    "eagle3": (
        {"eagle_aux_hidden_state_layer_ids": [1], "mask_token_id": 7, "block_size": 2},
        {"parallel_drafting": True, "num_speculative_tokens": 2},
    ),
    "dflash": ({"block_size": 4}, {"num_speculative_tokens": 3}),
    "dspark": ({"block_size": 3, "markov_rank": 8}, {"num_speculative_tokens": 3}),
}


@pytest.mark.parametrize("name", BLOCK_HEADS)
def test_a_block_head_has_vllms_name_and_no_more_tokens_than_its_block(
    name: str, tmp_path: Path
) -> None:
    config, options = BLOCK_HEADS[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = speculation_options(PEagle(), tmp_path, SETTINGS)
    assert found["method"] == name
    assert {key: found[key] for key in options} == options


def test_a_block_that_vllm_would_draft_otherwise_than_scored_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BLOCK_HEADS["dflash"][0]))
    with pytest.raises(Unsupported, match=r"num_speculative_tokens = 3, or the head"):
        speculation_options(PEagle(), tmp_path, replace(SETTINGS, num_speculative_tokens=2))
    (tmp_path / "config.json").write_text(json.dumps(BLOCK_HEADS["medusa"][0]))
    sampled = replace(SETTINGS, samplers=Samplers(Sampler(1.0), Sampler(1.0)))
    with pytest.raises(Unsupported, match="vLLM drafts greedily with Medusa heads"):
        speculation_options(PEagle(), tmp_path, sampled)


def test_a_shared_vocabulary_is_drafted_greedily_or_refused(tmp_path: Path) -> None:
    SharedVocabulary((0, -1), 1).save(tmp_path)
    one = Sampler(1.0)
    for target in (GREEDY, one):
        told = speculation_options(Untrained(), tmp_path, sampled(target, GREEDY))
        assert told["use_heterogeneous_vocab"] is True
        assert told["draft_sample_method"] == "greedy"
    with pytest.raises(Unsupported, match=r"greedily with a shared vocabulary.*temperature = 0"):
        speculation_options(Untrained(), tmp_path, sampled(one, one))
