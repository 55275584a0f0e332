"""What to paste: vLLM's own config takes it, and its schedule drafts as the advice says."""

import json
import re
import runpy
import shlex
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from stored_runs import recipe_of

from draftmark.analysis.handover import Handover, handover, schedule, served_handover
from draftmark.environment import install_hint
from draftmark.results import Cell, Results

needs_vllm = pytest.mark.skipif(
    find_spec("vllm") is None, reason=f"vLLM is not installed; {install_hint('vllm')}"
)


def results_of(method: dict[str, Any], draft: dict[str, Any] | None = None) -> Results:
    recipe = recipe_of(["gsm8k"], {}, [0.0])
    recipe["methods"] = [method]
    recipe["pairs"][0]["draft"] = draft or {"pruned": [0, 7], "head": "copied"}
    return Results("r", "t", recipe, (), (), (), (), (), {})


def given(
    method: dict[str, Any], draft: dict[str, Any] | None = None, **more: Any
) -> Handover | None:
    title = method.get("label") or method["name"]
    options: dict[str, Any] = {"gammas": {1: 4}, "run": "results/r", "sampled": False, **more}
    cell = Cell("gsm8k", "p", title, 0)
    return handover(results_of(method, draft), cell, title, **options)


def test_a_trained_draft_model_is_exported_first() -> None:
    own = given({"name": "kd"})
    assert own is not None
    folder = "drafts/gsm8k-p-kd-0/model"
    assert own.command == "draftmark export results/r --out drafts"
    assert own.vllm == {"method": "draft_model", "model": folder, "num_speculative_tokens": 4}
    assert own.sglang_flags == (
        f"--speculative-algorithm STANDALONE --speculative-draft-model-path {folder} "
        "--speculative-num-steps 4 --speculative-eagle-topk 1 --speculative-num-draft-tokens 5"
    )


@pytest.mark.parametrize("name", ["eagle", "eagle3"])
def test_a_trained_head_is_exported_in_its_layout(name: str) -> None:
    own = given({"name": name, "label": "mine"})
    assert own is not None
    assert (own.vllm["method"], own.vllm["model"]) == (name, f"drafts/gsm8k-p-mine-0/{name}")
    assert own.sglang[0] == f"--speculative-algorithm {name.upper()}"
    assert any("LlamaForCausalLMEagle" in note for note in own.notes) == (name == "eagle")


def test_a_draft_that_nothing_trained_here_is_named_as_it_is() -> None:
    model = given({"name": "untrained"}, {"model": "org/draft@abc", "head": "copied"})
    head = given({"name": "untrained"}, {"head": "org/head@abc"})
    pruned = given({"name": "untrained"})
    assert model
    assert head
    assert pruned
    assert (model.vllm["method"], model.vllm["model"], model.command) == (
        *("draft_model", "org/draft"),
        "",
    )
    assert (head.vllm["method"], head.vllm["model"], head.command) == ("eagle3", "org/head", "")
    assert pruned.command


def test_lookups_have_their_knobs_and_need_no_folder() -> None:
    own = given({"name": "prompt_lookup", "max_ngram": 5})
    suffix = given({"name": "suffix", "max_depth": 9})
    assert own
    assert suffix
    assert own.vllm == {
        "method": "ngram",
        "num_speculative_tokens": 4,
        "prompt_lookup_max": 5,
        "prompt_lookup_min": 1,
    }
    assert suffix.vllm["suffix_decoding_max_tree_depth"] == 9
    assert not own.command
    assert not own.sglang


@pytest.mark.parametrize(
    ("method", "gammas", "config"),
    [
        ({"name": "medusa"}, {1: 4}, {"method": "medusa", "num_speculative_tokens": 4}),
        ({"name": "medusa"}, {1: 9}, {"method": "medusa", "num_speculative_tokens": 5}),
        (
            {"name": "p_eagle", "block_size": 8},
            {1: 4, 8: 0},
            {
                "method": "eagle3",
                "num_speculative_tokens": 4,
                "num_speculative_tokens_per_batch_size": [[1, 1, 4], [2, 8, 0]],
                "parallel_drafting": True,
            },
        ),
        (
            {"name": "dflash", "block_size": 7},
            {1: 4, 8: 2, 16: 0},
            {
                "method": "dflash",
                "num_speculative_tokens": 7,
                "num_speculative_tokens_per_batch_size": [[1, 8, 7], [9, 16, 0]],
            },
        ),
        ({"name": "dspark"}, {1: 7}, {"method": "dspark", "num_speculative_tokens": 7}),
        (
            {"name": "pard", "block_size": 6},
            {1: 8},
            {"method": "draft_model", "num_speculative_tokens": 6, "parallel_drafting": True},
        ),
    ],
)
def test_drafts_of_one_pass_have_the_settings_that_vllm_has_for_them(
    method: dict[str, Any], gammas: dict[int, int], config: dict[str, Any]
) -> None:
    own = given(method, gammas=gammas)
    assert own
    layout = "model" if config["method"] == "draft_model" else config["method"]
    assert own.vllm == {**config, "model": f"drafts/gsm8k-p-{method['name']}-0/{layout}"}
    assert not own.sglang
    assert "SGLang" in own.notes[0]
    assert any("slots" in note for note in own.notes) == (method["name"] == "dflash")


def test_what_vllm_has_no_settings_for_says_why() -> None:
    cases: list[tuple[dict[str, Any], bool, str]] = [
        ({"name": "mtp"}, False, "MTP heads only of models that come with one"),
        ({"name": "domino"}, False, "vLLM has no Domino"),
        ({"name": "dspark", "confidence_threshold": 0.5}, False, "not at a confidence_threshold"),
        ({"name": "medusa"}, True, "vLLM drafts greedily with Medusa heads"),
    ]
    for method, sampled, reason in cases:
        own = given(method, sampled=sampled)
        assert own
        assert (own.vllm, own.sglang, own.command) == ({}, (), "")
        assert reason in own.notes[0]


@needs_vllm
def test_vllm_itself_has_every_method_that_is_pasted() -> None:
    found = find_spec("vllm")
    assert found
    assert found.submodule_search_locations
    text = (Path(found.submodule_search_locations[0]) / "config/speculative.py").read_text("utf-8")
    names = ("medusa", "p_eagle", "dflash", "dspark", "pard", "eagle", "suffix", "prompt_lookup")
    for name in names:
        own = given({"name": name})
        assert own
        assert f'"{own.vllm["method"]}"' in text
        for key in own.vllm:
            assert re.search(rf"^    {key}:", text, re.MULTILINE), key


def test_what_no_server_runs_has_the_reason() -> None:
    tree = given({"name": "eagle", "tree": "eagle"})
    assert tree
    assert not tree.vllm
    assert "tree" in tree.notes[0]
    assert given({"name": "of a plug-in that is gone"}) is None


def test_a_sampled_draft_and_odd_names_are_quoted_for_a_shell() -> None:
    own = given({"name": "kd", "label": "it's $(x)"}, sampled=True, run="a folder")
    assert own
    assert own.vllm["draft_sample_method"] == "probabilistic"
    flag, config = shlex.split(own.vllm_flag)
    assert flag == "--speculative-config"
    assert json.loads(config) == own.vllm
    assert shlex.split(own.command)[2] == "a folder"
    assert "drafts/gsm8k-p-it's $(x)-0/model" in shlex.split(own.sglang_flags)


@pytest.mark.parametrize("label", ["<b>", "a`b", "a\nb", "\u202eab", "y" * 5000])
def test_a_name_with_markup_is_not_pasted(label: str) -> None:
    own = given({"name": "kd", "label": label})
    assert own
    assert not own.vllm
    assert "characters that no command here repeats" in own.notes[0]


@pytest.mark.parametrize(
    ("gammas", "ranges"),
    [
        ({1: 4}, [[1, 1, 4]]),
        ({1: 4, 8: 4}, [[1, 8, 4]]),
        ({1: 4, 4: 2, 16: 0}, [[1, 1, 4], [2, 4, 2], [5, 16, 0]]),
        ({2: 0, 4: 3}, [[1, 2, 0], [3, 4, 3]]),
    ],
)
def test_the_schedule_has_a_range_for_each_block_length(
    gammas: dict[int, int], ranges: list[list[int]]
) -> None:
    assert schedule(gammas) == ranges
    own = given({"name": "kd"}, gammas=gammas)
    assert own
    expected = ranges if len(ranges) > 1 else None
    assert own.vllm.get("num_speculative_tokens_per_batch_size") == expected


@needs_vllm
def test_vllm_itself_reads_the_schedule_as_the_advice_says() -> None:
    found = find_spec("vllm")
    assert found
    assert found.submodule_search_locations
    file = Path(found.submodule_search_locations[0]) / "v1/spec_decode/dynamic/utils.py"
    read = runpy.run_path(str(file))["build_dynamic_sd_schedule_lookup"]  # without all of vLLM
    gammas = {1: 4, 4: 2, 16: 0}
    own = given({"name": "kd"}, gammas=gammas)
    assert own
    ranges = own.vllm["num_speculative_tokens_per_batch_size"]
    dense = read(ranges, 32, own.vllm["num_speculative_tokens"])
    assert {batch: dense[batch] for batch in gammas} == gammas
    assert dense[17:] == [0] * 16


def test_a_measured_server_keeps_its_draft() -> None:
    run = replace(results_of({"name": "served"}), manifest={"server": {"software": "vLLM"}})
    own = served_handover(run, "served", {1: 3, 8: 0})
    assert own.vllm["num_speculative_tokens_per_batch_size"] == [[1, 1, 3], [2, 8, 0]]
    assert "model" not in own.vllm
    facts = {
        "software": "SGLang",
        "speculative_algorithm": "EAGLE3",
        "speculative_draft_model_path": "org/head",
    }
    sglang = served_handover(replace(run, manifest={"server": facts}), "served", {1: 3})
    assert "--speculative-draft-model-path org/head" in sglang.sglang_flags
