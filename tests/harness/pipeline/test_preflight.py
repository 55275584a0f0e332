"""A run is refused before its first stage, or says what it found about models and rows."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from draftmark.errors import UserError
from draftmark.pipeline.experiment import Plan, plan_experiment
from draftmark.pipeline.export_heads import export_heads
from draftmark.pipeline.preflight import check_before_run
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.pipeline.verify import verify_run
from draftmark.progress import Progress
from draftmark.store.store import Store

RECIPE = """
title = "a small run"
tasks = ["gsm8k"]
threads = 1
speed = false
{prompting}

[data]
sources = ["directory", "samples"]
test_rows = 4

[[pairs]]
name = "p"
target = "{target}"
draft = {draft}
{pair}

[[methods]]
name = "untrained"
"""


class Heard(Progress):
    """Progress that keeps what it says."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def folder(tiny_directory: Path, tmp_path: Path) -> Path:
    """A copy of the tiny target."""
    shutil.copytree(tiny_directory, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def check(tmp_path: Path, heard: Heard) -> Callable[..., list[str]]:
    """Return a function that checks a recipe and returns what was said."""

    def check_recipe(
        target: Any = "tiny-target", draft: str = "{ pruned = [0] }", data: Any = None, **more: str
    ) -> list[str]:
        path = tmp_path / "small.toml"
        path.write_text(
            RECIPE.format(
                target=target,
                draft=draft,
                prompting=more.get("prompting", ""),
                pair=more.get("pair", ""),
            )
        )
        plan = plan_experiment(load_recipe(str(path)), heard, data=data)
        check_before_run(plan, Store(tmp_path / "store"), heard)
        return heard.lines

    return check_recipe


def _wrap(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = {f"module.{name}": value for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


def _edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_healthy_recipe_has_nothing_to_say(check: Callable[..., list[str]]) -> None:
    assert check() == [
        "gsm8k: passed over directory: DRAFTMARK_DATA is not set",
        "gsm8k: 4 test rows from samples",
    ]


@pytest.mark.parametrize("role", ["target", "draft"])
def test_a_model_that_does_not_load_whole_is_refused_before_the_first_stage(
    check: Callable[..., list[str]], folder: Path, tmp_path: Path, role: str
) -> None:
    _wrap(folder)
    draft = f'{{ model = "{folder}" }}' if role == "draft" else "{ pruned = [0] }"
    with pytest.raises(UserError, match=r"75 of 75 weights are missing .*'module\.'"):
        check(folder if role == "target" else "tiny-target", draft)
    assert not (tmp_path / "store").exists()


def test_a_run_refuses_what_the_check_refuses(folder: Path, tmp_path: Path, heard: Heard) -> None:
    _wrap(folder)
    path = tmp_path / "small.toml"
    path.write_text(RECIPE.format(target=folder, draft="{ pruned = [0] }", prompting="", pair=""))
    plan: Plan = plan_experiment(load_recipe(str(path)), heard)
    with pytest.raises(UserError, match="does not load whole"):
        run_experiment(plan, "small", Store(tmp_path / "store"), heard)


def test_a_pointer_is_refused_by_the_plan(check: Callable[..., list[str]], folder: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(UserError, match="git-lfs pointer"):
        check(folder)


def test_end_tokens_that_differ_are_said(check: Callable[..., list[str]], folder: Path) -> None:
    _edit(folder / "generation_config.json", eos_token_id=[0, 2])
    assert any("its end tokens differ" in line for line in check(folder))


def test_what_was_found_is_among_the_findings_of_every_run(
    folder: Path, tmp_path: Path, heard: Heard
) -> None:
    """The second run computes nothing, and reads what the first one kept."""
    _edit(folder / "generation_config.json", eos_token_id=[0, 2])
    path, store = tmp_path / "small.toml", Store(tmp_path / "store")
    path.write_text(RECIPE.format(target=folder, draft="{ pruned = [0] }", prompting="", pair=""))
    for _ in range(2):
        plan = plan_experiment(load_recipe(str(path)), heard)
        found = run_experiment(plan, "small", store, heard).findings
        (warning,) = (item for item in found if "its end tokens differ" in item.text)
        assert (warning.severity, warning.subject) == ("warning", "gsm8k, p")
        assert "Here texts end in 0, 2" in warning.text
    assert sum("its end tokens differ" in line for line in heard.lines) == 1
    assert not store.missing(plan.nodes)


def test_findings_of_other_rows_or_models_are_not_read(
    check: Callable[..., list[str]], folder: Path, tmp_path: Path
) -> None:
    check(folder)
    check()
    _edit(folder / "generation_config.json", eos_token_id=[0, 2])
    check(folder)
    assert len(list((tmp_path / "store/checks").glob("*.json"))) == 3


def test_a_token_without_a_row_is_said(check: Callable[..., list[str]], folder: Path) -> None:
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["added_tokens"].append({**stored["added_tokens"][0], "id": 1024, "content": "<image>"})
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    assert any("no row for '<image>'" in line for line in check(folder))


def test_a_shorter_context_of_the_draft_is_said(
    check: Callable[..., list[str]], folder: Path
) -> None:
    _edit(folder / "config.json", max_position_embeddings=256)
    lines = check(draft=f'{{ model = "{folder}" }}')
    assert any("has a context of 256 tokens, target tiny-target of 1024" in line for line in lines)


def test_rows_that_spell_out_special_tokens_are_said(
    check: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "data/gsm8k").mkdir(parents=True)
    rows = [{"question": f"{n} + 1?", "answer": f"#### {n + 1}"} for n in range(3)]
    rows.append({"question": "Is <|im_end|> a number?", "answer": "#### 0"})
    with gzip.open(tmp_path / "data/gsm8k/test.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    lines = check(data=tmp_path / "data")
    assert any(
        "1 rows spell out special tokens of the target (first gsm8k/test/3: '<|im_end|>')" in line
        for line in lines
    )


def test_an_argument_that_the_template_lacks_is_refused_before_the_first_stage(
    check: Callable[..., list[str]],
) -> None:
    with pytest.raises(UserError, match="'enable_thinking', which the target's chat template"):
        check(prompting="prompting = { chat_template_kwargs = { enable_thinking = false } }")


TEMPLATES: dict[str, tuple[str, str]] = {
    "raises": ("{{ raise_exception('No user may speak') }}", "No user may speak"),
    "is not a template": ("{% for turn in messages %}", "Unexpected end of template"),
    "reads what turns lack": ("{{ messages[0].parts[0].text }}", "has no attribute 'parts'"),
    "writes nothing": ("{% set said = messages %}", "it gives no tokens"),
}


@pytest.mark.parametrize("fault", TEMPLATES)
def test_a_chat_template_that_fails_is_refused_before_the_first_stage(
    check: Callable[..., list[str]], folder: Path, fault: str
) -> None:
    template, reason = TEMPLATES[fault]
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(UserError, match=rf"The chat template .*{reason}.*'plain'"):
        check(folder)
    check(folder, prompting='prompting = { format = "plain" }')


def test_chat_templates_without_a_default_are_refused_before_the_first_stage(
    check: Callable[..., list[str]], folder: Path
) -> None:
    (folder / "chat_template.jinja").unlink()
    named = [{"name": "rag", "template": "{{ messages[0].content }}"}]
    _edit(folder / "tokenizer_config.json", chat_template=named)
    with pytest.raises(UserError, match=r"does not write .*default.*format = 'plain'"):
        check(folder)


def test_a_tokenizer_without_a_vocabulary_is_refused(
    check: Callable[..., list[str]], folder: Path
) -> None:
    (folder / "tokenizer.json").unlink()
    _edit(folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizer")
    (folder / "vocab.txt").write_text("a file that this class does not read")
    with pytest.raises(UserError, match="no tokens but special ones"):
        check(folder)


def test_verify_and_export_refuse_what_a_run_refuses(
    folder: Path, tmp_path: Path, heard: Heard
) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('No') }}")
    path = tmp_path / "small.toml"
    path.write_text(RECIPE.format(target=folder, draft="{ pruned = [0] }", prompting="", pair=""))
    plan, store = plan_experiment(load_recipe(str(path)), heard), Store(tmp_path / "store")
    with pytest.raises(UserError, match="The chat template fails"):
        verify_run(plan, store, heard, 2)
    with pytest.raises(UserError, match="The chat template fails"):
        list(export_heads(plan, store, tmp_path / "out", heard))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_another_repository_is_refused_where_code_may_run(
    check: Callable[..., list[str]], folder: Path, file: str
) -> None:
    _edit(folder / file, auto_map={"AutoX": "org/code--modeling_x.X", "AutoY": ["a.B", None]})
    with pytest.raises(UserError, match=rf"{file} names code of another repository"):
        check(folder, pair="trust_remote_code = true")
    check(folder)
