"""`draftmark.score`, `run` and `load`: the run of a command, as Python and notebooks use it."""

import builtins
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import run_command, sentence_of
from rich.console import Console
from score_cases import QUESTIONS, TARGET, save_draft, save_head

import draftmark
from draftmark.analysis.quantities import quantity_key
from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel
from draftmark.progress import Progress
from draftmark.results import Contender

HOSTILE = "<img src=x>"
FAST: Any = {"max_new_tokens": 8, "quiet": True}


@pytest.fixture(scope="module")
def folder(target: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("api")
    save_draft(target, made / HOSTILE)
    save_head(target, made / "head")
    return made


@pytest.fixture(scope="module")
def scored(folder: Path) -> draftmark.RunResults:
    """Return a run of a model, a head and a lookup on questions with hostile names."""
    rows = [{"prompt": text, "category": f"{HOSTILE}{len(text) > 20}"} for text in QUESTIONS]
    drafts = [folder / HOSTILE, folder / "head", "lookup"]
    return draftmark.score(TARGET, drafts, rows, out=folder / "out", **FAST)


@pytest.fixture(scope="module")
def timed(folder: Path) -> draftmark.RunResults:
    """Return a run of a lookup whose speed was measured."""
    settings: Any = {"temperature": 0, "out": folder / "out", **FAST}
    return draftmark.score(TARGET, "lookup", QUESTIONS, engine="reference", **settings)


def test_importing_draftmark_loads_nothing_and_names_are_few() -> None:
    script = (
        "import sys, draftmark\n"
        "assert not [name for name in sys.modules if name.startswith('draftmark.')]\n"
        "public = [name for name in dir(draftmark) if not name.startswith('_')]\n"
        "print(*draftmark.__all__, set(draftmark.__all__) <= set(public))\n"
        "draftmark.load\n"
        "print('torch' in sys.modules, 'pandas' in sys.modules, draftmark.load.__doc__[:17])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "RunResults load run score True\nFalse False Return the result\n", done
    assert all(getattr(draftmark, name).__doc__ for name in draftmark.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = draftmark.nothing


def test_the_table_has_the_numbers_of_the_results(scored: draftmark.RunResults) -> None:
    table = scored.table()
    assert table.index.names == ["task", "pair", "method"]
    assert set(table.index.get_level_values("method")) == {HOSTILE, "head", "prompt_lookup"}
    efficiency = table["block efficiency, T=0"]
    assert list(efficiency) == sorted(efficiency, reverse=True)
    assert not [name for name in table.columns if "speedup" in name]  # none was measured
    for (task, pair, method), row in table.iterrows():  # type: ignore[misc]
        own = scored.results.numbers[Contender(task, pair, method)]
        for temperature in (0, 1):
            number = own[quantity_key("acceptance_rate", temperature, 4)]
            how = ", draft sampled" if temperature else ""
            name = f"acceptance rate, T={temperature}{how}"
            found = row[name], row[f"{name}, low"], row[f"{name}, high"]
            assert found == pytest.approx((number.value, number.low, number.high))
        assert row["prompts"] == own[quantity_key("block_efficiency", 0, 4)].n == len(QUESTIONS)
    assert not [name for name in table.columns if "quality" in name]  # nothing was graded


def test_an_engine_adds_speed_and_advice(timed: draftmark.RunResults) -> None:
    (own,) = timed.results.numbers.values()
    (row,) = timed.table().to_dict("records")
    assert row["speedup, blocks of 4"] == own["speedup"].value
    assert "measured by reference, batch 1, T=0" in timed.verdict
    assert "To measure speed" not in timed.verdict


def test_every_number_is_in_the_long_table(scored: draftmark.RunResults) -> None:
    every = scored.table(every=True)
    assert len(every) == sum(len(row.numbers) for row in scored.results.results)
    assert {"quantity", "value", "low", "high", "n", "definition"} <= set(every.columns)


def test_verdict_and_paste_are_those_of_the_run(scored: draftmark.RunResults) -> None:
    answer = (scored.directory / "answer.txt").read_text("utf-8")
    assert repr(scored) == f"{answer}{scored.directory}"
    first = scored.verdict.partition(". ")[0]
    assert first in " ".join(answer.split())  # the last sentences give way to a small terminal
    assert "To measure speed: --engine vllm" in scored.verdict
    assert "One seed" not in scored.verdict  # nothing was trained
    commands = [line for line in scored.paste.splitlines() if not line.startswith("#")]
    board = (scored.directory / "leaderboard.md").read_text("utf-8")
    assert [line for line in commands if line and line not in board] == []


def test_tables_by_category_are_of_one_rule(scored: draftmark.RunResults) -> None:
    board = (scored.directory / "leaderboard.md").read_text("utf-8")
    section = board.partition("### Block efficiency by category")[2].partition("###")[0]
    assert section.count("macro mean |") == 3  # at T=0, and at T=1 a draft sampled and greedy
    assert "verification" not in section


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_shows_the_same_and_escapes_it(scored: draftmark.RunResults) -> None:
    page = Tags(scored._repr_html_())
    assert page.tags <= {"h4", "table", "thead", "tbody", "tr", "th", "td", "p", "pre"}
    assert HOSTILE in page.text  # as text
    assert scored.verdict in page.text.replace("\n", " ")
    assert scored.paste in page.text
    value = scored.table()["block efficiency, T=0"].iloc[0]
    assert f"{value:.2f} [" in page.text


def test_figures_are_those_of_the_report(scored: draftmark.RunResults) -> None:
    from matplotlib.figure import Figure

    names = scored.plot_names
    assert {"acceptance", "gamma-t0", "positions-t0"} <= set(names)
    for figure in (scored.plot(), scored.plot(names[1])):
        assert isinstance(figure, Figure)
        assert figure.axes
        assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="Unknown figure 'nothing'"):
        scored.plot("nothing")


def test_a_stored_run_is_the_same(scored: draftmark.RunResults, tmp_path: Path) -> None:
    again = draftmark.load(str(scored.directory))
    pd.testing.assert_frame_equal(again.table(), scored.table())
    assert (again.verdict, again.paste, again.plot_names) == (
        scored.verdict,
        scored.paste,
        scored.plot_names,
    )
    with pytest.raises(UserError, match=r"has no results\.json"):
        draftmark.load(tmp_path)
    with pytest.raises(UserError, match="Unknown rule of verification 'blok'"):
        draftmark.load(scored.directory, verification="blok")  # type: ignore[arg-type]


def test_under_block_verification_numbers_are_those_of_that_rule(
    scored: draftmark.RunResults,
) -> None:
    under = draftmark.load(scored.directory, verification="block")
    numbers = under.results.numbers
    assert under.results.verification == "block"
    for contender, own in scored.results.numbers.items():
        key = quantity_key("block_efficiency", 1, 4)
        rule = quantity_key("block_efficiency", 1, 4, verification="block")
        assert numbers[contender][key] == own.get(rule, own[key])


def test_the_recipe_beside_the_results_is_the_same_run(
    scored: draftmark.RunResults, folder: Path
) -> None:
    out = folder / "out"
    again = draftmark.run(scored.directory / "score.toml", out=out, quiet=True)
    assert again.directory == scored.directory
    pd.testing.assert_frame_equal(again.table(), scored.table())


def test_the_command_is_the_same_run(
    scored: draftmark.RunResults, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = scored.results.recipe["rows"]["prompts"]["file"]
    drafts = [folder / HOSTILE, folder / "head", "lookup"]
    options = ["--max-new-tokens", 8, "--out", folder / "out"]
    done = run_command(capsys, "score", TARGET, *drafts, "--prompts", prompts, *options)
    assert done.code == 0, done
    assert f"Written: {scored.directory / 'score.toml'}\n" in done.out
    assert done.out.startswith((scored.directory / "leaderboard.md").read_text("utf-8"))


def test_all_formats_of_prompts_give_the_same_table(tmp_path: Path) -> None:
    store = tmp_path / "store"
    texts = tmp_path / "lines.txt"
    texts.write_text("\n".join(QUESTIONS), "utf-8")
    forms: list[Any] = [
        QUESTIONS,
        [[{"role": "user", "content": text}] for text in QUESTIONS],
        [{"turns": [text]} for text in QUESTIONS],
        [{"conversations": [{"from": "human", "value": text}]} for text in QUESTIONS],
        texts,
    ]
    tables = [
        draftmark.score(
            TARGET, "suffix", form, temperature=0, out=tmp_path / str(n), store=store, **FAST
        ).table()
        for n, form in enumerate(forms)
    ]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


def test_a_recipe_may_be_a_document(tmp_path: Path) -> None:
    document = {
        "title": "mine",
        "tasks": ["gsm8k"],
        "speed": False,
        "data": {"sources": ["samples"], "test_rows": 3},
        "pairs": [{"name": "tiny", "target": TARGET, "draft": {"pruned": [0]}}],
        "methods": [{"name": "suffix", "max_spec_factor": [1.0, 2.0]}],
        "evaluation": {"temperatures": [0.0], "max_new_tokens": 8},
    }
    done = draftmark.run(document, out=tmp_path, quiet=True)
    assert [*done.table().reset_index()["method"].sort_values()] == [
        "suffix, max_spec_factor 1.0",
        "suffix, max_spec_factor 2.0",
    ]
    with pytest.raises(UserError, match="Unknown key 'titel'"):
        draftmark.run({**document, "titel": "x"}, out=tmp_path)


def test_mistakes_on_the_command_line_are_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.txt").write_text("Hi\nHo\n", "utf-8")
    for arguments, words in (
        (["suffix"], "There are no prompts"),
        (["suffix", "--prompts", "q.txt", "--temperature", "0;1"], "write it like 0,1"),
        (["org/nothing", "--prompts", "q.txt"], "There is no folder 'org/nothing' here either"),
        (["./nothing", "--prompts", "q.txt"], "No model './nothing'"),
    ):
        assert words in sentence_of(run_command(capsys, "score", TARGET, *arguments))
    assert not Path("results").exists()


def test_a_draft_with_another_tokenizer_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = shutil.copytree(folder / HOSTILE, tmp_path / "other")
    file = draft / "tokenizer.json"
    file.write_text(file.read_text("utf-8").replace('"a":', '"ä":', 1), "utf-8")
    (tmp_path / "q.txt").write_text("Hi\nHo\n", "utf-8")
    words = ["--prompts", tmp_path / "q.txt", "--max-new-tokens", 4, "--out", tmp_path / "out"]
    done = run_command(capsys, "score", TARGET, draft, "--temperature", "0", *words)
    assert f"The tokenizer of {draft} cannot be loaded" in sentence_of(done)


class ZMQInteractiveShell:
    """What tells libraries that they run in a notebook: its class has the name of Jupyter's."""


def test_a_notebook_changes_neither_the_answer_nor_progress(
    timed: draftmark.RunResults, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """rich would show a table there in place of writing it, and bars that need widgets."""
    printed = repr(timed)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    assert Console().is_jupyter
    assert repr(timed) == printed
    assert printed.splitlines()[3].startswith("prompt_lookup ")
    Progress().say("One line.")
    assert capsys.readouterr().err == "One line.\n"
