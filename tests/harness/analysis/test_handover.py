"""What to paste: vLLM's own config takes it, and its schedule drafts as the advice says."""

import json
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


def test_what_no_server_runs_has_the_reason() -> None:
    tree = given({"name": "eagle", "tree": "eagle"})
    assert tree
    assert not tree.vllm
    assert "tree" in tree.notes[0]
    assert given({"name": "of a plug-in that is gone"}) is None


@pytest.mark.parametrize(
    ("name", "layout", "own"),
    [
        ("medusa", "medusa", {"method": "medusa"}),
        ("p_eagle", "eagle3", {"method": "eagle3", "parallel_drafting": True}),
        ("dflash", "dflash", {"method": "dflash"}),
        ("dspark", "dspark", {"method": "dspark"}),
    ],
)
def test_a_block_head_is_exported_in_its_authors_layout(
    name: str, layout: str, own: dict[str, Any]
) -> None:
    made = given({"name": name, "block_size": 4})
    assert made
    model = f"drafts/gsm8k-p-{name}-0/{layout}"
    assert made.vllm == {**own, "model": model, "num_speculative_tokens": 4}
    assert made.command == "draftmark export results/r --out drafts"
    assert not made.sglang  # whose flags for these heads are not known here
    assert any("CPU" in note for note in made.notes) == (name in ("dflash", "dspark"))


@pytest.mark.parametrize(
    ("method", "sampled", "reason"),
    [
        ({"name": "domino"}, False, "vLLM has no Domino"),
        ({"name": "medusa"}, True, "drafts greedily with Medusa"),
        ({"name": "dflash"}, False, "a block of 4 tokens other distributions than the 7"),
        (
            {"name": "dspark", "block_size": 4, "confidence_threshold": 0.5},
            False,
            "by its load, not at a confidence",
        ),
    ],
)
def test_a_block_head_that_vllm_drafts_with_otherwise_is_not_pasted(
    method: dict[str, Any], sampled: bool, reason: str
) -> None:
    made = given(method, sampled=sampled)
    assert made
    assert not made.vllm
    assert reason in made.notes[0]


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
