"""README and docs: every command they show runs, every link leads somewhere, pages are short."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import typer.main
import yaml
from model_server import serve
from places import ROOT, in_repository
from pydantic import BaseModel
from server_replies import vllm
from small_runs import small_recipe

from draftmark import baselines, registry, reports, tasks
from draftmark.cli.main import app, main
from draftmark.config import model_sections, sections
from draftmark.config.recipe import Recipe
from draftmark.models.files import own_models
from draftmark.registry import registered_names

FOLDERS = ("harness", "tasks", "baselines", "reports", "tests")
FILES = [path for pattern in ("*.md", "docs/*.md") for path in sorted(ROOT.glob(pattern))]
NAMES = [str(path.relative_to(ROOT)) for path in FILES] + [f"{name}/README.md" for name in FOLDERS]
PAGES = {page: in_repository(page).read_text(encoding="utf-8") for page in NAMES}
MOST_LINES = {
    "README.md": 150,
    "CONTRIBUTING.md": 30,
    **{page: 200 for page in PAGES if page.startswith("docs/")},
    **{f"{folder}/README.md": 30 for folder in FOLDERS},
}
REPOSITORY = "https://github.com/draftmark/draftmark/blob/main/"
RAW = "https://raw.githubusercontent.com/draftmark/draftmark/main/"
CLI: Any = typer.main.get_command(app)
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What takes minutes is planned instead: the plan checks the recipe and the options.
LONG = ("quickstart", "smollm2", "serve.toml", "drafts_2026", "drafts_2026_smollm2")
LONG += (
    "capacity",
    "capacity_rows",
    "capacity_losses",
    "drafts_2026_flops",
    "drafts_2026_smollm2_flops",
    "adaspec_smollm2",
)
# What needs the network, a cluster or a board is held against the command's options alone.
ELSEWHERE = ("fetch", "hub", "--cluster", "BOARD")


def _blocks(page: str, language: str) -> list[str]:
    return [code for name, code in FENCED.findall(PAGES[page]) if name == language]


def _shell_lines() -> Iterator[tuple[str, str]]:
    """Yield each page with each line of its shell blocks."""
    for page in PAGES:
        for block in _blocks(page, "bash"):
            yield from ((page, line) for line in block.splitlines() if line.strip())


COMMANDS = [
    (page, shlex.split(line, comments=True)) for page, line in _shell_lines() if line[0] != "#"
]
DRAFTMARK = [(page, words[1:]) for page, words in COMMANDS if words[0] == "draftmark"]


@pytest.mark.parametrize("page", MOST_LINES)
def test_no_page_is_longer_than_it_may_be(page: str) -> None:
    assert len(PAGES[page].splitlines()) <= MOST_LINES[page]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """Links of README.md are absolute: a package index shows that page as well."""
    links = re.findall(r"\]\(([^)\s]+)\)", PAGES[page].replace("\n", " "))
    if page == "README.md":
        assert [link for link in links if not link.startswith((REPOSITORY, RAW))] == []
    lost = []
    for link in links:
        place, _, heading = link.removeprefix(REPOSITORY).removeprefix(RAW).partition("#")
        if place.startswith(("http://", "https://")):
            continue
        start = "" if link.startswith((REPOSITORY, RAW)) else Path(page).parent
        target = in_repository(os.path.normpath(Path(start, place)) if place else page)
        if not target.exists() or (heading and heading not in _anchors(target)):
            lost.append(link)

    assert lost == []


def _anchors(page: Path) -> set[str]:
    """Return the anchors that a Markdown page has on GitHub."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_measured_results_begins_with_its_commits() -> None:
    pages = sorted(in_repository("reports/measured").rglob("*.md"))
    assert len(pages) > 10
    for page in pages:
        assert re.match(r"# .*\n\n\*Of commits? [0-9a-f]{7}\b", page.read_text("utf-8")), page


def test_every_page_is_in_the_index() -> None:
    linked = set(re.findall(r"\(([\w-]+\.md)", PAGES["docs/README.md"]))

    assert linked == {Path(page).name for page in PAGES if page.startswith("docs/")} - {"README.md"}


def test_every_command_and_report_has_a_place_in_the_docs() -> None:
    shown = {words[0] for _, words in DRAFTMARK}

    assert set(CLI.commands) - shown == set()
    every = "\n".join(PAGES.values())
    assert [name for name in registered_names("reports") if f"`{name}`" not in every] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *MOST_LINES])
def test_commands_within_sentences_parse(page: str) -> None:
    quoted = re.findall(r"`draftmark ([a-z][^`]*)`", PAGES[page].replace("\n", " "))
    for words in (shlex.split(text) for text in quoted if " COMMAND" not in f" {text}"):
        if any(word[0] == "-" or word.isupper() or "." in word for word in words):
            _parse(words)
        else:
            assert words[0] in CLI.commands


def _parse(words: list[str]) -> None:
    """Parse a command as the command line does; raises click's UsageError on a wrong option."""
    command, rest = CLI.commands[words[0]], words[1:]
    if hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[0], rest)


def test_other_programs_that_are_shown_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for _, words in COMMANDS:
        program = Path(words[0]).name
        if program == "make":
            assert set(words[1:]) <= targets
        elif program == "pip":
            extras = re.findall(r"draftmark\[(\w+)\]", " ".join(words))
            assert set(extras) <= set(project["optional-dependencies"])
        elif program == "python" and words[1] == "-m":
            named = words[words.index("--pyargs") + 1] if "--pyargs" in words else words[2]
            assert find_spec(named), words
        else:
            known = ("draftmark", "source", "ray", "tensorboard", "sha256sum")
            assert program in known or program == "python", words


def test_every_key_of_a_recipe_is_on_its_page() -> None:
    models = [Recipe, *_models(sections), *_models(model_sections)]
    keys = {name for model in models for name in model.model_fields}

    assert {"test_rows", "fine_tune", "noise_floor"} <= keys
    assert [key for key in sorted(keys) if key not in PAGES["docs/recipe-keys.md"]] == []


def _models(module: ModuleType) -> list[type[BaseModel]]:
    found = [value for value in vars(module).values() if isinstance(value, type)]
    return [
        model
        for model in found
        if issubclass(model, BaseModel) and model.__module__ == module.__name__
    ]


def test_the_workflow_is_a_workflow() -> None:
    [workflow] = _blocks("docs/ci-gate.md", "yaml")
    steps = yaml.safe_load(workflow)["jobs"]["gate"]["steps"]

    assert [step for step in steps if "run" not in step and "uses" not in step] == []
    assert any("draftmark gate" in step.get("run", "") for step in steps)


def test_the_entry_points_are_groups_of_the_registry() -> None:
    [block] = [
        text for text in _blocks("docs/adding-a-method.md", "toml") if "entry-points" in text
    ]

    [group] = tomllib.loads(block)["project"]["entry-points"]
    assert group.removeprefix("draftmark.") in get_args(registry.Group)


@pytest.mark.slow
def test_the_notebook_and_the_page_on_python_run(tmp_path: Path) -> None:
    """In a plain interpreter: Jupyter would add 37 packages of 100 MB to the locks."""
    notebook = json.loads((ROOT / "docs" / "score.ipynb").read_text("utf-8"))
    assert notebook["nbformat"] == 4
    assert (ROOT / "docs" / "score.ipynb").stat().st_size < 100_000
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4
    blocks = ["import draftmark", *cells, *_blocks("docs/python.md", "python")]
    script = "\n".join([*blocks, "assert len(run.table()) == len(trained.table()) == 2"])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_command_of_draftmark_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the pages, in one folder, with small recipes for what takes long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRAFTMARK_CACHE", str(tmp_path / "cache"))
    _prepare(tmp_path, monkeypatch)
    failed = {}
    with serve(vllm()) as server, serve(vllm()) as other:
        places = {"DIR": "DIR", "FOLDER": "FOLDER", "NAME": "tiny"}
        places |= {f"http://{name}:PORT/v1": url for name, url in _urls(server.url, other.url)}
        places |= _runs(monkeypatch, capsys)
        for page, words in _each_once(DRAFTMARK):
            words = [places.get(word, word) for word in words]
            if code := _run(_shorten(words), monkeypatch):
                failed[page, " ".join(words)] = code, capsys.readouterr().err

    assert failed == {}


def _each_once(commands: list[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands in order; one that several pages show, where it is shown first."""
    first = {tuple(words): page for page, words in reversed(commands)}
    yield from ((page, words) for page, words in commands if first.pop(tuple(words), "") == page)


def _urls(server: str, other: str) -> list[tuple[str, str]]:
    return [("HOST", server), ("OTHER", other)]


def _prepare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the recipes, rows, task, method and report that the pages tell their readers to save."""
    evaluation = "temperatures = [0.0]\nmax_new_tokens = 8\n"
    for name, methods in (("my", ["kd", "prompt_lookup"]), ("mine", ["kd", "eagle"])):
        recipe = small_recipe((8, 4, 12), methods, top="speed = false", evaluation=evaluation)
        (folder / f"{name}.toml").write_text(recipe, encoding="utf-8")
    [serve] = [text for text in _blocks("docs/speed-and-serving.md", "toml") if "[[pairs]]" in text]
    tiny = str(own_models()["tiny-target"])
    serve = serve.replace("/models/target", tiny).replace("/models/draft", tiny)
    (folder / "serve.toml").write_text(serve, encoding="utf-8")
    questions = '{"prompt": "Name a color."}\n{"prompt": "What is 2 + 3?", "category": "sums"}\n'
    (folder / "questions.jsonl").write_text(questions, encoding="utf-8")
    for task in ("gsm8k", "alpaca"):
        shutil.copytree(in_repository(f"tasks/samples/{task}"), folder / "DIR" / task)
    (folder / "DIR" / "sums").mkdir()
    rows = "".join(
        f'{{"question": "What is {a} + {b}?", "answer": "{a + b}"}}\n'
        for a in range(20)
        for b in range(20)
    )
    for split in ("train", "validation", "test"):
        (folder / "DIR" / "sums" / f"{split}.jsonl").write_text(rows, encoding="utf-8")
    for package, page, name in (
        (tasks, "docs/adding-a-task.md", "sums"),
        (baselines, "docs/adding-a-method.md", "top_k"),
        (reports, "docs/adding-a-report.md", "efficiency"),
    ):
        (folder / package.__name__).mkdir()
        code = _blocks(page, "python")[0]
        (folder / package.__name__ / f"{name}.py").write_text(code, encoding="utf-8")
        paths = [*package.__path__, str(folder / package.__name__)]
        monkeypatch.setattr(package, "__path__", paths)
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}", raising=False)
    registry._modules.cache_clear()
    monkeypatch.setattr(registry, "_modules", registry._modules.__wrapped__)


def _runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the folders that stand for RUN, RUN_A and RUN_B, of runs made here."""
    for name in ("mine", "my"):
        assert _run(["run", f"{name}.toml"], monkeypatch) == 0, capsys.readouterr().err
    [mine], [my] = (list(Path("results").glob(f"{name}-*")) for name in ("mine", "my"))
    return {"RUN": str(mine), "RUN_A": str(mine), "RUN_B": str(my)}


def _shorten(words: list[str]) -> list[str]:
    """Return the command that stands for one that takes long or needs another machine."""
    if any(word in ELSEWHERE for word in words):
        _parse(words)
        return ["list"]
    if words[0] == "run" and words[1] in LONG:
        return ["plan", *words[1:]]
    return words


def _run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["draftmark", *words])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
