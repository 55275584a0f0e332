"""Runs with a draft of another tokenizer: refused by default, measured by choice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from vocabularies import save_with_other_ids

from draftmark.analysis.handover import handover
from draftmark.config.recipe import Recipe
from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel, load_tokenizer
from draftmark.models.shared_vocabulary import VOCABULARY
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.export_drafts import export_drafts
from draftmark.pipeline.preflight import check_models
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.store.store import Store

QUIET = Progress(quiet=True)
LOST = (2, *range(300, 700))  # among them the end of a text


@pytest.fixture(scope="module")
def other(draft_folder: Path) -> str:
    return str(draft_folder)


@pytest.fixture(scope="module")
def draft_folder(
    target: LanguageModel, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny target with other ids and without some of its tokens."""
    return save_with_other_ids(target, tokenizer, tmp_path_factory.mktemp("other"), LOST)


def planned(draft: Mapping[str, Any], method: str = "untrained") -> Plan:
    document: dict[str, Any] = {
        "title": "t",
        "tasks": ("gsm8k",),
        "pairs": ({"name": "p", "target": "tiny-target", "draft": draft},),
        "methods": ({"name": method},),
        "data": {"sources": ("samples",), "train_rows": 4, "validation_rows": 2, "test_rows": 3},
        "evaluation": {"max_new_tokens": 16},
        "speed": False,
    }
    return plan_experiment(Recipe(**document), QUIET)


@pytest.fixture(scope="module")
def run(other: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store, Results]:
    plan = planned({"model": other, "vocabulary": "shared"})
    store = Store(tmp_path_factory.mktemp("store"))
    return plan, store, run_experiment(plan, "r", store, QUIET)


def test_another_tokenizer_is_refused_before_anything_runs_and_the_choice_is_named(
    other: str,
) -> None:
    with pytest.raises(UserError, match=r"differ in 10\d\d ids .* vocabulary = 'shared' in draft"):
        check_models(planned({"model": other}), QUIET)


def test_a_method_that_trains_is_refused(other: str) -> None:
    with pytest.raises(
        UserError, match=r"'kd' trains its draft.*measured as it is; take untrained"
    ):
        planned({"model": other, "vocabulary": "shared"}, "kd")


@pytest.mark.parametrize("init", [{"pruned": (0,)}, {"random": {}}, {"head": "./folder"}])
def test_only_a_model_has_a_vocabulary_to_share(init: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match="vocabulary = 'shared' needs model"):
        planned({**init, "vocabulary": "shared"})


def test_without_the_choice_recipes_and_keys_are_as_before() -> None:
    plan = planned({"model": "tiny-target"})
    (pair,) = plan.recipe.model_dump(mode="json")["pairs"]
    assert pair["draft"].keys() == {"model", "pruned", "random", "head"}
    assert pair["draft"].keys() - {"model"} == plan.recipe.pairs[0].draft.key_settings().keys()


def test_what_is_shared_is_said_before_the_run(other: str) -> None:
    (finding,) = check_models(planned({"model": other, "vocabulary": "shared"}), QUIET)
    assert finding.severity == "note"
    assert finding.text.endswith(
        "623 of the target's 1,024 tokens (60.8%), and drafts no other token."
    )


def test_a_run_measures_it_and_says_what_it_shares(run: tuple[Plan, Store, Results]) -> None:
    _plan, _, results = run
    (row,) = results.results
    assert row.failure is None
    facts = row.provenance["vocabulary"]
    assert (facts["shared_tokens"], facts["target_tokens"]) == (623, 1024)
    assert facts["shared_end_tokens"] == []
    (shared, total), *_ = facts["tokens_of_texts"].values()
    assert 0 < shared < total == 48
    notes = [it.text for it in results.findings if it.facts.get("vocabulary") == facts]
    assert len(notes) == 1
    assert f"{shared / total:.1%} at temperature 0" in notes[0]
    assert notes[0].endswith("It can draft no other token, nor the end of a text")
    rate = next(n.value for name, n in row.numbers.items() if name.startswith("acceptance_rate"))
    assert 0 < rate < 1
    assert not [name for name in row.numbers if "draft_alone" in name or "perplexity" in name]


def test_the_stores_own_folder_is_not_a_model_to_start_from(
    run: tuple[Plan, Store, Results],
) -> None:
    plan, store, results = run
    kept = store.load(plan.draft(results.results[0].cell)).directory
    with pytest.raises(UserError, match=r"is a draft in a store.*name the model"):
        check_models(planned({"model": str(kept), "vocabulary": "shared"}), QUIET)


def test_the_exported_folder_is_the_model_that_servers_load(
    run: tuple[Plan, Store, Results], draft_folder: Path, tmp_path: Path
) -> None:
    plan, store, _ = run
    (folder,) = export_drafts(plan, store, tmp_path, QUIET)
    assert not (folder / VOCABULARY).exists()
    assert load_tokenizer(folder).get_vocab() == load_tokenizer(draft_folder).get_vocab()
    assert (folder / "model.safetensors").stat().st_size > 0


def test_what_to_paste_is_vllms_option_without_sampling(
    run: tuple[Plan, Store, Results], other: str
) -> None:
    _, _, results = run
    cell = results.results[0].cell
    served = handover(results, cell, "n", {1: 4}, run="r", sampled=False)
    assert served is not None
    assert served.vllm == {
        "method": "draft_model",
        "model": other,
        "num_speculative_tokens": 4,
        "use_heterogeneous_vocab": True,
    }
    assert not served.sglang_flags
    sampled = handover(results, cell, "n", {1: 4}, run="r", sampled=True)
    assert sampled is not None
    assert not sampled.vllm
    assert "vLLM drafts greedily with a shared vocabulary" in sampled.notes[0]
