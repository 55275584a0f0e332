"""The site: complete from zero to many runs, closed to the network, and deaf to hostile text."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from large_run import TASKS, large_run
from places import PACKAGE
from stored_runs import HOSTILE, NUMBER, run_of
from typer.testing import CliRunner

from draftmark.analysis.cost_model import Costs, expected_speedups
from draftmark.cli import main
from draftmark.reports._site.charts import cell_charts
from draftmark.reports._site.pages import SiteRun
from draftmark.reports._site.texts import acceptance_marks, block_marks
from draftmark.reports.export import REPORT as export
from draftmark.reports.site import Site
from draftmark.results import Cell, Comparison, Finding, Pooled, Result, Results, Standing
from draftmark.speculation.blocks import block_counts
from draftmark.store.acceptance_tables import read_tables
from draftmark.store.examples import Example, read_examples
from draftmark.store.records import write_rows
from draftmark.types import Ledger

RATE = "block_efficiency[t=0,gamma=4]"
HISTORY = ({"step": 0.0, "validation_acceptance": 0.5}, {"step": 9.0, "validation_acceptance": 0.4})
URL_HOLDERS = ("href", "src")


class Page(HTMLParser):
    """What a browser would act on: tags, addresses, places, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._quiet = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._quiet = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._quiet = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._quiet else data

    @property
    def addresses(self) -> list[str]:
        return [t[name] for _, t in self.tags for name in URL_HOLDERS if name in t]


def site(*runs: tuple[Results, Path]) -> Mapping[str, str | bytes]:
    return Site(runs=runs, folder="")(runs[0][0], runs[0][1])


def pages(files: Mapping[str, str | bytes]) -> dict[str, Page]:
    return {name: Page(str(text)) for name, text in files.items() if name.endswith(".html")}


def run(tmp_path: Path, **changes: Any) -> Results:
    return replace(run_of(tmp_path, {"kd": [[0.5, 0.7]], "sft": [[0.4, 0.6]]}), **changes)


def test_every_link_leads_to_a_file_and_a_place_that_are_there(tmp_path: Path) -> None:
    files = site((run(tmp_path / "a"), tmp_path / "a"), (run(tmp_path / "b"), tmp_path / "b"))
    found = pages(files)
    for name, page in found.items():
        for address in page.addresses:
            file, _, place = address.partition("#")
            at = (Path("/") / Path(name).parent / file).resolve().relative_to("/") if file else name
            assert str(at) in files, (name, address)
            if place:
                ids = [t.get("id") for _, t in found[str(at)].tags]
                assert place in ids, (name, address)


def test_no_page_has_inline_scripts_or_styles_or_reaches_for_the_network(tmp_path: Path) -> None:
    for name, page in pages(site((run(tmp_path), tmp_path))).items():
        policies = [t for tag, t in page.tags if t.get("http-equiv") == "Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'" in policies[0]["content"], name
        for tag, told in page.tags:
            assert "style" not in told
            assert not [attribute for attribute in told if attribute.startswith("on")]
            if tag == "script":
                assert "src" in told or told["type"] == "application/json"
            assert tag != "style"
        assert not [address for address in page.addresses if "//" in address]


def test_templates_and_assets_come_with_the_package_not_from_the_working_directory(
    tmp_path: Path,
) -> None:
    script = (
        "from draftmark.reports._site.render import render_page, static_files\n"
        "assert 'assets/site.js' in static_files()\n"
        "assert 'No run was given' in render_page('runs.html', 0, runs=None, levels=[], payload={})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_what_is_loaded_comes_with_its_licence_and_version() -> None:
    vendor = PACKAGE / "reports" / "site" / "vendor"
    told = (vendor / "README.md").read_text("utf-8")
    for folder in (item for item in vendor.iterdir() if item.is_dir()):
        assert f"`{folder.name}`" in told
        assert [file for file in folder.iterdir() if file.name.lower().startswith("license")]
    assert "DataTables 3.1.5" in (vendor / "datatables/dataTables.min.js").read_text("utf-8")[:40]
    assert "Chart.js v4.6.1" in (vendor / "chartjs/chart.umd.min.js").read_text("utf-8")[:100]


def texts_of(files: Mapping[str, str | bytes], board: str) -> list[dict[str, Any]]:
    """Return the example texts of a board, as the pages' scripts read them."""
    script = str(files[f"texts/{board}.js"])
    texts: list[dict[str, Any]] = json.loads(script.partition(" = ")[2].rstrip(";\n"))
    return texts


def front(files: Mapping[str, str | bytes]) -> list[dict[str, Any]]:
    """Return the boards of the front page, as its script reads them."""
    page = str(files["index.html"])
    payload = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    boards: list[dict[str, Any]] = payload["boards"]
    return boards


def test_numbers_lead_to_their_definitions(tmp_path: Path) -> None:
    files = site((run(tmp_path), tmp_path))
    for name in ("tables/1-1-gsm8k-p.html", "cells/1-1-gsm8k-kd-s0.html"):
        leads = [a for a in pages(files)[name].addresses if a.endswith("#block-efficiency")]
        assert leads, name
    assert "accepted / tested" in pages(files)["definitions.html"].text


def test_the_matrix_has_every_number_with_its_condition_letters_and_distance(
    tmp_path: Path,
) -> None:
    results = run(tmp_path)
    sft, kd = (row.cell.contender for row in reversed(results.results))
    behind = replace(NUMBER, value=0.1, low=-0.05, high=0.25)
    standings = (Standing(kd, RATE, "a"), Standing(sft, RATE, "ab", behind))
    speed = "speedup[gamma=4,engine=vllm,t=0,batch=8]"
    first, second = results.results
    rows = (replace(first, numbers={**first.numbers, "speedup": NUMBER, speed: NUMBER}), second)
    (board,) = front(site((replace(results, standings=standings, results=rows), tmp_path)))
    assert [method["name"] for method in board["methods"]] == ["kd", "sft"]
    assert board["letters"] == {"0": ["a", "ab"]}
    assert board["behind"] == {"0": [None, [0.1, -0.05, 0.25, 4]]}
    assert board["paired"]
    series = {(s["measure"], s["t"], s["gamma"], s["how"]): s["numbers"] for s in board["series"]}
    assert series["block_efficiency", "0", "4", ""] == [[0.6, 0.4, 0.6, 4], [0.5, 0.4, 0.6, 4]]
    measured = series["speedup", "0", "4", "vllm engine, batch 8"]
    assert measured == [[0.5, 0.4, 0.6, 4], None]
    assert len(series) == 3


def test_old_results_without_distances_and_one_seed_are_said(tmp_path: Path) -> None:
    results = run(tmp_path)
    letters = tuple(Standing(row.cell.contender, RATE, "a") for row in results.results)
    files = site((replace(results, standings=letters), tmp_path))
    (board,) = front(files)
    assert board["tested"]
    assert not board["paired"]
    assert "One seed: the intervals do not cover" in Page(str(files["index.html"])).text


def test_the_pooled_speedup_stands_under_the_condition_of_its_seeds(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7], [0.5, 0.6]]})
    speed = "speedup[gamma=4,t=0]"
    rows = tuple(
        replace(row, numbers={**row.numbers, speed: NUMBER, "speedup": NUMBER})
        for row in results.results
    )
    together = {"speedup": replace(NUMBER, value=1.5), RATE: NUMBER}
    pooled = (Pooled(rows[0].cell.contender, (0, 1), together),)
    (board,) = front(site((replace(results, results=rows, pooled=pooled), tmp_path)))
    found = [s["numbers"][0][0] for s in board["series"] if s["measure"] == "speedup"]
    assert found == [1.5]
    assert board["methods"][0]["page"] == "tables/1-1-gsm8k-p.html#each-seed"


def seeds_run(tmp_path: Path) -> Results:
    """Return a run of two methods with two seeds; sft is better."""
    alphas = {"kd": [[0.4, 0.6], [0.5, 0.5]], "sft": [[0.7, 0.9], [0.6, 0.8]]}
    results = run_of(tmp_path, alphas)
    zero = replace(NUMBER, value=0.0, low=0.0, high=0.0)
    numbers = {"quality_with_draft": zero}
    rows = tuple(
        replace(row, numbers={**row.numbers, **numbers}, ledger=Ledger(steps=9, train_s=seconds))
        for seconds, row in enumerate(results.results, start=11)
    )
    pooled = tuple(
        Pooled(
            rows[place].cell.contender,
            (0, 1),
            {**rows[place].numbers, RATE: replace(NUMBER, value=value)},
        )
        for place, value in ((0, 1.25), (2, 2.25))
    )
    letters = tuple(Standing(item.contender, RATE, "a") for item in pooled)
    return replace(results, results=rows, pooled=pooled, standings=letters)


def tables_of(text: str) -> list[list[list[str]]]:
    """Return the text of each cell of each row of each table."""
    return [
        [
            [
                " ".join(Page(cell).text.split())
                for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row, re.S)
            ]
            for row in re.findall(r"<tr>.*?</tr>", table, re.S)
        ]
        for table in re.findall(r"<table.*?</table>", text, re.S)
    ]


def test_tables_are_ranked_and_their_seeds_folded_into_one_row(tmp_path: Path) -> None:
    files = site((seeds_run(tmp_path), tmp_path))
    methods, seeds, *others = tables_of(str(files["tables/1-1-gsm8k-p.html"]))
    assert [row[0] for row in methods] == ["method", "sft", "kd"]
    assert methods[0][1] == "groups, T=0"
    assert [row[1] for row in methods[1:]] == ["a", "a"]
    assert "2.25 [0.40, 0.60]" in methods[1]
    assert [row[0] for row in seeds[1:]] == [
        *("kd, 2 seeds", "kd, seed 0", "kd, seed 1"),
        *("sft, 2 seeds", "sft, seed 0", "sft, seed 1"),
    ]
    (by_gamma,) = (table for table in others if table[0][0].startswith("T=0") and len(table) == 3)
    assert by_gamma[1:] == [["sft", "2.25"], ["kd", "1.25"]]
    (costs,) = (table for table in others if "seconds" in table[0] and len(table) == 3)
    assert costs[1][0] == "sft"
    assert costs[1][costs[0].index("seconds")] == "13.0 to 14.0"
    assert costs[1][costs[0].index("steps")] == "9"


def test_columns_that_say_nothing_are_left_out_with_a_line(tmp_path: Path) -> None:
    text = str(site((seeds_run(tmp_path), tmp_path))["tables/1-1-gsm8k-p.html"])
    header = tables_of(text)[0][0]
    assert not [name for name in header if name.startswith(("quality", "speedup"))]
    assert "speedup, quality of draft alone (no numbers); quality with draft (0 throughout)" in text


@pytest.mark.parametrize("name", ["runs.html", "runs/1-mine.html", "cells/1-1-gsm8k-kd-s0.html"])
def test_no_table_of_any_page_has_a_column_that_says_nothing(tmp_path: Path, name: str) -> None:
    results = run(tmp_path)
    stage = {"stage": "draft", "label": "l", "key": "c" * 20, "settings": {}, "manifest": None}
    rows = tuple(replace(row, provenance={"entries": [stage]}) for row in results.results)
    text = str(site((replace(results, results=rows), tmp_path))[name])

    for table in tables_of(text):
        for heading, *column in zip(*(row for row in table if len(row) > 1), strict=True):
            assert not column or set(column) - {"\u2013", "", "0", "0.0"}, heading
    left_out = re.findall(r"Left out: ([^<]*)\.", text)
    expected = ["failed, errors, warnings (0 throughout)", "seconds (0 throughout)"]
    assert any(words in " ".join(left_out) for words in expected), left_out


def test_a_value_opens_its_numbers_and_a_heading_its_definition(tmp_path: Path) -> None:
    plain = pages(site((run(tmp_path / "a"), tmp_path / "a")))["tables/1-1-gsm8k-p.html"]
    values = [t["href"] for tag, t in plain.tags if tag == "a" and t.get("class") == "num"]
    assert "../cells/1-1-gsm8k-kd-s0.html" in values
    headings = [t["href"] for tag, t in plain.tags if tag == "a" and t.get("class") == "def"]
    assert "../definitions.html#block-efficiency" in headings
    folded = pages(site((seeds_run(tmp_path / "b"), tmp_path / "b")))["tables/1-1-gsm8k-p.html"]
    pooled = [t["href"] for tag, t in folded.tags if tag == "a" and t.get("class") == "num"]
    assert "#each-seed" in pooled
    assert "../cells/1-1-gsm8k-kd-s0.html" in pooled


def test_no_page_shows_a_key(tmp_path: Path) -> None:
    results = seeds_run(tmp_path)
    who = results.results[2].cell.contender
    compared = Comparison(who, "kd", RATE, NUMBER, 0.01, 0.02, 0.05, 9)
    files = site((replace(results, comparisons=(compared,)), tmp_path))
    for name, page in pages(files).items():
        assert not re.findall(r"\w+\[\w+=|\bgamma=", page.text), name
    table = pages(files)["tables/1-1-gsm8k-p.html"].text
    assert "block efficiency, T=0, blocks of 4, minus kd" in table


def test_two_methods_have_their_numbers_difference_and_prompts(tmp_path: Path) -> None:
    results = run(tmp_path)
    kd, sft = (row.cell.contender for row in results.results)
    behind = replace(NUMBER, value=0.1, low=0.05, high=0.15)
    compared = Comparison(sft, "kd", RATE, replace(NUMBER, value=-0.1), 0.01, 0.02, 0.05, 9)
    for row in results.results:
        text = [{"example_id": "gsm8k/test/0", "prompt": "Q", "pieces": list("abc")}]
        write_rows(tmp_path / row.records / "examples-t0.parquet", text)
    standings = (Standing(kd, RATE, "a"), Standing(sft, RATE, "b", behind))
    results = replace(results, standings=standings, comparisons=(compared,))
    files = site((results, tmp_path))
    page = str(files["sides/1-1-gsm8k-p.html"])
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert data["methods"] == ["kd", "sft"]
    assert data["pairs"] == [
        [RATE, 1, 0, [-0.1, 0.4, 0.6, 4]],
        [RATE, 0, 1, [0.1, 0.05, 0.15, 4]],
    ]
    ((place, marks),) = data["texts"]
    assert texts_of(files, "1-1-gsm8k-p")[place]["pieces"] == list("abc")
    assert set(marks) == {"0", "1"}


def test_the_data_of_a_run_are_small_and_say_the_same(tmp_path: Path) -> None:
    results = run(tmp_path)
    files = site((results, tmp_path))
    packed = files["data/1-mine/numbers.csv.gz"]
    assert isinstance(packed, bytes)
    assert gzip.decompress(packed).decode() == export(results, tmp_path)["numbers.csv"]
    assert files["data/1-mine/numbers.parquet"] == export(results, tmp_path)["numbers.parquet"]
    assert not [name for name in files if name.endswith(".json")]
    assert packed == site((results, tmp_path))["data/1-mine/numbers.csv.gz"]


def test_fifteen_methods_five_tasks_and_three_seeds_weigh_under_15_mb(tmp_path: Path) -> None:
    run = large_run(tmp_path, TASKS[:1])
    assert len(run.results) == 45
    sizes = {name: len(content) for name, content in site((run, tmp_path)).items()}
    once = sum(size for name, size in sizes.items() if name.startswith(("vendor/", "assets/")))
    assert once + len(TASKS) * (sum(sizes.values()) - once) < 15e6
    assert sizes["index.html"] * len(TASKS) < 200e3


def test_stages_that_cells_share_stand_once(tmp_path: Path) -> None:
    results = run(tmp_path)
    stage = {"stage": "draft", "label": "l", "settings": {}, "manifest": None}
    own = [{**stage, "key": key * 20} for key in "ab"]
    label = "reference engine, gamma=4,engine=reference,t=0,batch=1,length=natural"
    shared = {**stage, "key": "c" * 20, "settings": {"seed": 7}, "label": label}
    rows = tuple(
        replace(row, provenance={"entries": [shared, stage]})
        for row, stage in zip(results.results, own, strict=True)
    )
    found = pages(site((replace(results, results=rows), tmp_path)))
    texts = [found[name].text for name in ("cells/1-1-gsm8k-kd-s0.html", "runs/1-mine.html")]
    assert [(text.count('"seed": 7'), text.count("c" * 12)) for text in texts] == [(0, 1), (1, 2)]
    assert '"key": "aaaa' in texts[0]
    words = "reference engine, blocks of 4, reference engine, T=0, batch 1, natural length"
    assert all(words in text for text in texts)


def test_runs_have_their_date_computing_time_and_machine(tmp_path: Path) -> None:
    results = run(tmp_path)
    entry = {"stage": "s", "label": "l", "key": "k", "seconds": 90.0, "manifest": None}
    other = {**entry, "key": "other", "seconds": 630.0}
    rows = tuple(replace(row, provenance={"entries": [entry, other]}) for row in results.results)
    manifest = {**results.manifest, "git": {"commit": "0" * 40, "date": "2026-01-02T03:04:05"}}
    text = pages(site((replace(results, results=rows, manifest=manifest), tmp_path)))[
        "runs.html"
    ].text
    assert "2026-01-02" in text
    assert "12 min" in text  # a stage that both results are of counts once
    assert "x, 2 cores" in text


def at_commit(results: Results, hour: int, value: float) -> Results:
    """Return results of a commit in which the block efficiency of kd has a value."""
    git = {"commit": f"{hour:08x}" * 5, "date": f"2026-01-01T0{hour}:00:00+00:00"}
    first, *others = results.results
    numbers = {**first.numbers, RATE: replace(NUMBER, value=value, low=value - 0.1)}
    rows = (replace(first, numbers=numbers), *others)
    return replace(results, results=rows, manifest={**results.manifest, "git": git})


def test_the_list_of_runs_has_the_trend_and_names_new_levels(tmp_path: Path) -> None:
    results = run(tmp_path)
    hours = (3, 1, 2, 0, *range(4, 8))
    runs = [(at_commit(results, hour, 1.5 - 0.1 * (hour > 3)), tmp_path) for hour in hours]
    page = str(site(*runs)["runs.html"])
    (chart,) = json.loads(page.partition('id="data">')[2].partition("</script>")[0])["charts"]
    assert chart["title"] == "GSM8K, p, T=0"
    assert chart["names"] == [f"{hour:08x} 2026-01-01" for hour in range(8)]
    changed = chart["series"][0]
    assert changed["name"] == "kd"
    assert [point[:2] for point in changed["points"]] == [
        *([place, 1.5] for place in range(4)),
        *([place, 1.4] for place in range(4, 8)),
    ]
    words = "kd on GSM8K, p, T=0: 1.50 before, 1.40 from 00000004 2026-01-01."
    assert re.findall("<li>(.*?)</li>", page) == [words]
    assert "A second run of the same recipe makes a trend" in str(site(runs[0])["runs.html"])


def test_no_runs_no_results_and_nothing_but_failures_are_pages_that_say_so(tmp_path: Path) -> None:
    results = run(tmp_path)
    empty = replace(results, results=())
    assert "the run has no results" in str(site((empty, tmp_path))["index.html"])
    failed = tuple(
        replace(row, numbers={}, failure="no luck", records="") for row in results.results
    )
    files = site((replace(results, results=failed), tmp_path))
    index = str(files["index.html"])
    assert "All cells failed" in index
    assert 'id="matrix"' not in index
    cell = Page(str(files["cells/1-1-gsm8k-kd-s0.html"])).text
    assert "This cell failed: no luck" in cell
    assert "This cell has no training ledger" in cell


def test_a_missing_cell_a_failed_seed_and_missing_records_are_told(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7], [0.5, 0.6]], "sft": [[0.4, 0.6]]})
    first, second, third = results.results
    rows = (first, replace(second, numbers={}, failure="no luck"), replace(third, records="gone"))
    files = site((replace(results, results=rows), tmp_path))
    assert front(files)[0]["methods"][0]["seeds"] == "1 of 2 seeds"
    assert "1 of 3 cells failed." in str(files["index.html"])
    assert "has no example texts" in str(files["cells/1-3-gsm8k-sft-s0.html"])


def test_a_training_its_ledger_and_what_it_lacks_stand_on_the_cells_page(tmp_path: Path) -> None:
    results = run(tmp_path)
    first, second = results.results
    row = replace(first, history=HISTORY, ledger=Ledger(steps=9, supervised_tokens=12345))
    files = site((replace(results, results=(row, second)), tmp_path))
    text = Page(str(files["cells/1-1-gsm8k-kd-s0.html"])).text
    assert "Nothing learned" in text
    assert "12,345" in text
    assert "Learned nothing: kd" in str(files["tables/1-1-gsm8k-p.html"])


def test_the_cost_model_is_that_of_the_tables_themselves(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.8, 0.3]]})
    (row,) = results.results
    tables = read_tables(tmp_path / row.records / "tables-t0.parquet")
    counts = {gamma: [block_counts(tables, gamma)] for gamma in (1, 4, 16)}
    numbers = {}
    for gamma, (found,) in counts.items():
        rates = {
            "block_efficiency": found.tokens_B.sum() / found.passes_B.sum(),
            "accepted_per_pass": found.accepted_B.sum() / found.passes_B.sum(),
            "draft_acceptance_rate": found.accepted_B.sum() / found.drafted_B.sum(),
        }
        for name, value in rates.items():
            numbers[f"{name}[t=0,gamma={gamma}]"] = replace(NUMBER, value=float(value))
    charts = list(cell_charts(SiteRun(1, results, tmp_path), replace(row, numbers=numbers)))
    (costs,) = (chart for chart in charts if chart["title"].startswith("Expected speedup"))
    ((*points,),) = (series["points"] for series in costs["series"])
    for cost in costs["costs"]:
        shown = {gamma: tokens / (1 + drafted * cost) for gamma, tokens, drafted in points}
        assert shown == pytest.approx(expected_speedups(counts, Costs(cost)), abs=1e-4)


def test_tokens_are_marked_by_what_became_of_them() -> None:
    def item(*accept: list[float]) -> Example:
        return Example("x", "Q", ["t"] * len(accept), list(accept))

    #  a block of two, accepted whole, with its bonus; one rejected at once; one not drafted
    certain = item([1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [], [1.0])
    assert block_marks(certain) == "AabRNA"
    assert acceptance_marks(item([0.0], [0.25], [1.0], [])) == "029n"


def test_examples_are_read_beside_their_tables(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[1.0, 0.0]]}, length=3)
    folder = tmp_path / results.results[0].records
    assert read_examples(folder, 0.0, 4) == []
    rows = [{"example_id": f"gsm8k/test/{n}", "prompt": "Q", "pieces": list("abc")} for n in (0, 1)]
    write_rows(folder / "examples-t0.parquet", rows)
    first, second = read_examples(folder, 0.0, 2)
    assert first.accept == [[1.0, 1.0], [1.0, 1.0], [1.0]]
    assert block_marks(second) == "RRR"
    files = site((results, tmp_path))
    cell = str(files["cells/1-1-gsm8k-kd-s0.html"])
    payload = json.loads(cell.partition('id="data">')[2].partition("</script>")[0])
    texts = texts_of(files, "1-1-gsm8k-p")
    assert [(texts[place]["id"], marks) for place, marks in payload["examples"]] == [
        ("gsm8k/test/0", "Aaa"),
        ("gsm8k/test/1", "RRR"),
    ]


def hostile(tmp_path: Path) -> Results:
    """Return a run whose every text is hostile, with examples that are."""
    results = run_of(tmp_path, {HOSTILE: [[0.5, 0.7]], "kd": [[0.4, 0.6]]}, tasks=("gsm8k",))
    first, second = results.results
    cell = Cell(HOSTILE, HOSTILE, HOSTILE, 0)
    numbers = {**first.numbers, f"{HOSTILE}[{HOSTILE}]": replace(NUMBER, definition=HOSTILE)}
    ledger = Ledger(steps=1)
    entry = {"stage": HOSTILE, "label": HOSTILE, "key": HOSTILE, "settings": {HOSTILE: HOSTILE}}
    provenance = {"entries": [{**entry, "manifest": None, "seconds": 1.0}]}
    row = replace(first, cell=cell, numbers=numbers, ledger=ledger, provenance=provenance)
    other = replace(second, cell=replace(cell, method="kd"), failure=HOSTILE)
    for n in (0, 1):
        text = {"prompt": HOSTILE, "pieces": [HOSTILE, "</script><script>alert(2)</script>"]}
        rows = [{"example_id": f"gsm8k/test/{n}", **text}]
        write_rows(tmp_path / first.records / "examples-t0.parquet", rows)
    who = row.cell.contender
    compared = Comparison(who, HOSTILE, RATE, NUMBER, 0.01, 0.02, 0.05, None)
    pair = {"name": HOSTILE, "target": HOSTILE, "draft": {"model": HOSTILE}}
    return replace(
        results,
        name=HOSTILE,
        title=HOSTILE,
        recipe={**results.recipe, "pairs": [pair], HOSTILE: HOSTILE},
        results=(row, other),
        pooled=(Pooled(who, (0, 1), numbers),),
        comparisons=(compared,),
        standings=(Standing(who, RATE, HOSTILE),),
        findings=(Finding("warning", HOSTILE, HOSTILE),),
    )


def test_hostile_text_does_nothing_on_any_page(tmp_path: Path) -> None:
    files = site((hostile(tmp_path / "a"), tmp_path / "a"), (run(tmp_path / "b"), tmp_path / "b"))
    plain = pages(site((run(tmp_path / "b"), tmp_path / "b")))
    known = {tag for page in plain.values() for tag, _ in page.tags} | {"li", "nav", "label"}
    for name, page in pages(files).items():
        text = str(files[name])
        assert re.fullmatch(r"[A-Za-z0-9._/-]{1,200}", name)
        assert "alert(1)</script>" not in text
        assert not [mark for mark in ("\u202e", "\x1b", "\x00") if mark in text], name
        assert len(re.findall(r"<script", text)) == text.count("</script>") <= 12
        tags = {tag for tag, _ in page.tags}
        assert tags <= known | {"select", "option", "form", "strong", "details", "summary"}, name


def test_the_command_takes_any_number_of_runs_and_the_report_one(tmp_path: Path) -> None:
    for name in "ab":
        run(tmp_path / "runs" / name)
    out = tmp_path / "out"
    done = CliRunner().invoke(main.app, ["site", str(tmp_path / "runs"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "Run" in (out / "index.html").read_text("utf-8")
    one = tmp_path / "runs" / "a"
    done = CliRunner().invoke(main.app, ["report", str(one), "site"])
    assert done.exit_code == 0, done.output
    assert (one / "site" / "index.html").is_file()


def test_a_cell_of_a_run_is_a_result_of_its_own(tmp_path: Path) -> None:
    results: tuple[Result, ...] = run(tmp_path).results
    assert len({SiteRun(1, run(tmp_path), tmp_path).cells[row.cell] for row in results}) == 2


def test_the_newest_runs_have_pages_and_older_ones_are_lines(tmp_path: Path) -> None:
    runs = []
    for day in (2, 3, 1):
        git = {"commit": f"{day:040d}", "date": f"2026-01-0{day}T12:00:00+00:00", "dirty": False}
        results = run(tmp_path / f"{day}")
        runs.append((replace(results, manifest={**results.manifest, "git": git}), tmp_path))

    files = Site(runs=tuple(runs), folder="", cells=4)(*runs[0])  # two cells each

    page = Page(str(files["runs.html"]))
    assert [name for name in page.addresses if name.startswith("runs/")] == [
        "runs/1-mine.html",
        "runs/2-mine.html",
    ]
    assert "00000000 2026-01-01" in page.text
    assert [name for name in files if name.startswith("runs/")] == [
        "runs/1-mine.html",
        "runs/2-mine.html",
    ]
    front = Page(str(files["index.html"])).text
    assert "1 older run is a line of the list of runs" in front
    assert "older" not in Page(str(Site(runs=tuple(runs), folder="")(*runs[0])["index.html"])).text


def test_a_run_with_drawn_figures_has_a_page_of_them(tmp_path: Path) -> None:
    results = run(tmp_path)
    assert "No figures were drawn" in str(site((results, tmp_path))["runs/1-mine.html"])
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/index.html").write_text("<script>alert(1)</script>", encoding="utf-8")
    files = site((results, tmp_path))
    page = pages(files)["figures/1-mine/index.html"]
    pictures = [t["src"] for tag, t in page.tags if tag == "img"]
    assert "acceptance.svg" in pictures
    assert {f"figures/1-mine/{name}" for name in pictures} <= files.keys()
    assert "Acceptance rate" in page.text
    assert "alert(1)" not in str(files["figures/1-mine/index.html"])
    for name in ("index.html", "runs/1-mine.html"):
        leads = [a for a in pages(files)[name].addresses if a.endswith("1-mine/index.html")]
        assert len(leads) == 1, name
