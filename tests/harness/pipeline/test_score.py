"""The recipe of `draftmark score`: what drafts and prompts are found, named and refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from score_cases import QUESTIONS, TARGET, save_draft, save_head, save_questions

from draftmark.config.recipe import Recipe
from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel
from draftmark.models.weights import holds_head
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.preflight import check_models
from draftmark.pipeline.score import ScoreRequest, save_prompts, score_recipe
from draftmark.progress import Progress

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def folder(target: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with drafts of the tiny target, and with prompts."""
    made = tmp_path_factory.mktemp("score")
    save_draft(target, made / "a" / "draft")
    save_draft(target, made / "b" / "draft", (0,))
    save_head(target, made / "spec", "speculators")
    save_head(target, made / "three", "eagle3")
    save_head(target, made / "one", "eagle")
    save_questions(made / "questions.jsonl")
    return made


def recipe_of(folder: Path, *drafts: str, **more: Any) -> Recipe:
    fields = {"prompts": folder / "questions.jsonl"} | more
    return score_recipe(ScoreRequest(TARGET, drafts, **fields), QUIET)


def drafts_of(recipe: Recipe) -> dict[str, tuple[str, Any]]:
    return {
        entry.title: (entry.name, entry.draft and entry.draft.model_dump(exclude_unset=True))
        for entry in recipe.methods
    }


def test_models_heads_and_words_become_entries_with_names(folder: Path) -> None:
    given = [str(folder / name) for name in ("a/draft", "spec", "three", "one")]
    assert drafts_of(recipe_of(folder, *given, "lookup", "suffix")) == {
        "draft": ("untrained", {"model": given[0]}),
        "spec": ("untrained", {"head": given[1]}),
        "three": ("untrained", {"head": given[2]}),
        "one": ("untrained", {"head": given[3]}),
        "prompt_lookup": ("prompt_lookup", None),
        "suffix": ("suffix", None),
    }


def test_every_draft_is_one_that_runs_accept(folder: Path) -> None:
    given = [str(folder / name) for name in ("a/draft", "spec", "three", "one")]
    assert check_models(plan_experiment(recipe_of(folder, *given, "lookup"), QUIET), QUIET) == ()


def test_equal_names_are_told_apart(folder: Path) -> None:
    given = [str(folder / "a" / "draft"), str(folder / "b" / "draft"), str(folder / "spec")]
    assert [*drafts_of(recipe_of(folder, *given))] == ["a-draft", "b-draft", "spec"]


def test_relative_paths_become_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    recipe = recipe_of(Path(), "a/draft", "./spec")
    found = {title: draft for title, (_, draft) in drafts_of(recipe).items()}
    assert found == {
        "draft": {"model": str(folder / "a/draft")},
        "spec": {"head": f"{folder}/spec"},
    }
    assert recipe.rows["prompts"].file == str(folder / "questions.jsonl")


def test_a_snapshot_in_the_hubs_cache_is_called_by_its_repository(
    folder: Path, tmp_path: Path
) -> None:
    snapshot = tmp_path / "models--org--small" / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(folder / "a" / "draft")
    assert [*drafts_of(recipe_of(folder, str(snapshot)))] == ["draft"]  # a link is its folder
    snapshot.unlink()
    (folder / "a" / "draft").rename(snapshot)
    try:
        assert [*drafts_of(recipe_of(folder, str(snapshot)))] == ["small"]
    finally:
        snapshot.rename(folder / "a" / "draft")


def test_the_settings_are_those_of_the_request(folder: Path) -> None:
    recipe = recipe_of(
        folder,
        "suffix",
        temperatures=(0, 0.7),
        num_speculative_tokens=3,
        max_new_tokens=9,
        limit=2,
        engines=("reference",),
        verification="block",
    )
    assert recipe.data.test_rows == 2
    assert recipe.evaluation.temperatures == (0, 0.7)
    assert recipe.evaluation.num_speculative_tokens == 3
    assert recipe.evaluation.max_new_tokens == 9
    conditions = recipe.speed.conditions() if recipe.speed else ()
    assert {(one.temperature, one.num_speculative_tokens) for one in conditions} == {
        (0, 3),
        (0.7, 3),
    }
    assert {(one.engine, one.blocks, one.verification) for one in conditions} == {
        ("reference", 2, "block")
    }


def test_without_an_engine_no_speed_is_measured(folder: Path) -> None:
    recipe = recipe_of(folder, "suffix")
    assert recipe.speed is None
    assert recipe.data.test_rows == len(QUESTIONS)


def test_a_tasks_own_rows_are_taken_without_a_file(folder: Path) -> None:
    recipe = recipe_of(folder, "suffix", prompts=None, task="gsm8k", limit=5)
    assert (recipe.tasks, recipe.data.sources) == (("gsm8k",), ("samples",))
    assert recipe.data.test_rows == 5


@pytest.mark.parametrize(
    ("drafts", "fields", "words"),
    [
        ((), {}, "There is no draft"),
        (("lookup", "prompt_lookup"), {}, "'prompt_lookup' is given twice"),
        (("kd",), {}, "'kd' is a method, and drafts are measured as they are"),
        (("nothing",), {}, "No model 'nothing'; name a folder"),
        (("suffix",), {"prompts": None}, r"There are no prompts: .*--prompts.*--task gsm8k"),
        (("suffix",), {"prompts": Path("none.jsonl")}, "There is no file 'none.jsonl' of prompts"),
        (("suffix",), {"limit": 0}, "limit = 0 takes no prompts"),
        (("suffix",), {"limit": 1, "engines": ("reference",)}, "there is one prompt; give two"),
        (("suffix",), {"engines": ("vlm",)}, "Unknown engine 'vlm'. Did you mean 'vllm'"),
        (("suffix",), {"task": "nosuch"}, "Unknown task 'nosuch'"),
        (("suffix",), {"num_speculative_tokens": 99}, "evaluation.num_speculative_tokens"),
        (("suffix",), {"temperatures": (-1,)}, "evaluation.temperatures"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    folder: Path, drafts: Sequence[str], fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        recipe_of(folder, *drafts, **fields)


def test_malformed_prompts_are_refused_wherever_they_are(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Hi"}\n{"text": "no"}\n', "utf-8")
    with pytest.raises(UserError, match=r"rows.jsonl, line 2: none of the columns messages"):
        recipe_of(folder, "suffix", prompts=tmp_path / "rows.jsonl")
    (tmp_path / "empty.txt").write_text("\n", "utf-8")
    with pytest.raises(UserError, match=r"empty\.txt has no prompts"):
        recipe_of(folder, "suffix", prompts=tmp_path / "empty.txt")


def test_a_folder_with_the_name_of_a_word_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("suffix").mkdir()
    with pytest.raises(UserError, match=r"write '\./suffix' for the folder"):
        recipe_of(folder, "suffix")


def test_a_head_of_another_target_is_refused_by_the_run(
    folder: Path, target: LanguageModel, tmp_path: Path
) -> None:
    config = json.loads((folder / "three" / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 24}), "utf-8")
    (tmp_path / "model.safetensors").symlink_to(folder / "three" / "model.safetensors")
    plan = plan_experiment(recipe_of(folder, str(tmp_path)), QUIET)
    with pytest.raises(UserError):
        check_models(plan, QUIET)


@pytest.mark.parametrize(
    ("config", "names", "expected"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, ["tokenizer.json"], False),
        ({"architectures": ["LlamaForCausalLM"]}, [], True),  # on the hub: no weights here yet
        ({"architectures": ["Qwen3ForCausalLM"]}, [], False),  # it lacks its tokenizer
        ({"architectures": ["DFlashDraftModel"]}, [], True),  # refused as a head, by its name
        ({"architectures": ["LlamaForCausalLMEagle3"]}, ["tokenizer.json"], True),
        ({"speculators_model_type": "peagle"}, [], True),
        ({}, [], False),
    ],
)
def test_config_and_names_of_files_show_a_head(
    tmp_path: Path, config: dict[str, Any], names: list[str], expected: bool
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    assert holds_head(tmp_path, ["config.json", *names]) is expected


def test_weights_tell_a_model_without_tokenizer_from_a_head(folder: Path, tmp_path: Path) -> None:
    for name, expected in (("a/draft", False), ("one", True)):
        files = tmp_path / str(expected)
        files.mkdir()
        for file in ("config.json", "model.safetensors"):
            (files / file).symlink_to(folder / name / file)
        config = json.loads((files / "config.json").read_text("utf-8"))
        assert config["architectures"] == ["LlamaForCausalLM"]
        assert holds_head(files, [path.name for path in files.iterdir()]) is expected


def test_prompts_of_python_become_rows(tmp_path: Path) -> None:
    def rows(prompts: Sequence[Any]) -> list[Any]:
        lines = save_prompts(prompts, tmp_path).read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert rows(["Hi", ("Hi", "Why?"), messages, {"turns": ["Hi"], "category": "x"}]) == [
        {"prompt": "Hi"},
        {"prompt": ["Hi", "Why?"]},
        {"prompt": messages},
        {"turns": ["Hi"], "category": "x"},
    ]
    assert rows(messages) == [{"messages": messages}]
    assert save_prompts(["Hi"], tmp_path) == save_prompts(("Hi",), tmp_path)
    for wrong, words in ((["Hi", 3], r"prompts\[1\] is int"), ([{"prompt": {1}}], "as JSON")):
        with pytest.raises(UserError, match=words):
            save_prompts(wrong, tmp_path)
