"""The figures of a run: what is drawn of what, the data beside it, and the same bytes each time."""

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread
from places import ROOT
from stored_runs import HOSTILE, NUMBER, run_of

from draftmark.errors import UserError
from draftmark.reports._figures import speeds
from draftmark.reports._figures.bars import draw_speedups
from draftmark.reports._figures.choice import choose_curves, order_by_effect
from draftmark.reports._figures.drawing import Drawing
from draftmark.reports._figures.kept import token_type
from draftmark.reports._figures.labels import spread_apart
from draftmark.reports._figures.run import DrawnRun
from draftmark.reports._figures.style import Paper, scale_ratios
from draftmark.reports._figures.sweep import draw_sweeps
from draftmark.reports.figures import REPORT
from draftmark.results import Cell, Comparison, Contender, Number, Result, Results, Standing
from draftmark.store.records import SELECTION, write_rows
from draftmark.types import Ledger

EASY = tuple(np.linspace(0.5, 0.9, 4))
WORSE = tuple(np.array(EASY) - 0.1)
FOLDER = "figures"
Files = Mapping[str, str | bytes]


def full(result: Result) -> Result:
    """Return a cell with a number for every figure that needs no records."""
    method = result.cell.method
    compute = 0 if method == "untrained" else min(len(method), 9) - 1  # kd has 1, csd 2
    extra = {
        f"{name}[t=0,gamma={gamma}]": replace(NUMBER, value=value)
        for gamma in range(1, 5)
        for name, value in (
            ("block_efficiency", 1 + gamma / 4),
            ("accepted_per_pass", gamma / 4),
            ("draft_acceptance_rate", 0.25),
        )
    }
    extra |= {
        f"{which}_acceptance[t=0,gamma=4,position={place}]": replace(NUMBER, value=0.9 / place)
        for which in ("marginal", "conditional")
        for place in range(1, 5)
    }
    values = {"speedup": 1 + compute / 10, "quality_with_draft": 0.4, "quality_target_there": 0.5}
    extra |= {name: replace(NUMBER, value=value) for name, value in values.items()}
    extra |= {
        f"{name}_{whose}[t={t}]": replace(NUMBER, value=value - t / 10)
        for name, value in (("fidelity", 0.6), ("distinct_2", 0.5), ("self_bleu", 0.4))
        for whose in ("draft", "target")
        for t in (0.5, 1)
    }
    numbers = {**result.numbers, **extra}
    if not compute:
        return replace(result, numbers=numbers, ledger=Ledger())
    history = tuple(
        {"step": step, "validation_acceptance": value}
        for step, value in ((0, 0.2), (4, 0.5), (8, 0.4))
    )
    ledger = Ledger(steps=10, flops=5e11 * compute)  # 2 of the steps are those of a reference
    return replace(result, numbers=numbers, ledger=ledger, history=history)


def whole(directory: Path, methods: Mapping[str, Any], **more: Any) -> Results:
    """Return a run that every figure can be drawn of, but those that need records."""
    results = run_of(directory, methods, **more)
    results.recipe["evaluation"]["samples"] = {"count": 2, "temperatures": [0.5, 1]}
    rows = tuple(map(full, results.results))
    first = rows[0].cell.method
    compared = tuple(
        Comparison(
            row.cell.contender,
            first,
            "acceptance_rate[t=0,gamma=4]",
            Number(0.1, 0.05, 0.15, 4, "x"),
            *(0.01, 0.02, 0.1, 12),
        )
        for row in rows
        if row.cell.method != first and row.cell.seed == 0
    )
    return replace(results, results=rows, comparisons=compared)


def names(files: Files) -> set[str]:
    return {Path(name).stem for name in files if name.endswith(".pdf")}


def lines(files: Files, name: str) -> list[dict[str, str]]:
    text = files[f"{FOLDER}/{name}.csv"]
    assert isinstance(text, str)
    return list(csv.DictReader(io.StringIO(text)))


def text(files: Files, name: str) -> str:
    found = files[f"{FOLDER}/{name}"]
    return found if isinstance(found, str) else found.decode("utf-8", "replace")


DRAWN = {
    "acceptance",
    "gamma-t0",
    "positions-t0",
    "compute-t0",
    "progress",
    "differences",
    "speedup",
    "quality-against-speed",
    "fidelity-against-diversity",
}
METHODS = {"untrained": [WORSE], "kd": [EASY], "csd": [EASY]}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("run")
    return REPORT(whole(folder, METHODS), folder)


def test_every_figure_is_there_in_every_format_with_its_data(drawn: Files) -> None:
    assert names(drawn) == DRAWN
    for name in DRAWN:
        pdf, svg, png = (drawn[f"{FOLDER}/{name}.{ending}"] for ending in ("pdf", "svg", "png"))
        for file, start in ((pdf, b"%PDF"), (svg, b"<?xml"), (png, b"\x89PNG")):
            assert isinstance(file, bytes)
            assert file.startswith(start)
        assert lines(drawn, name)


def test_figures_are_as_wide_as_a_column_or_a_page_and_8_points(drawn: Files) -> None:
    for name in DRAWN:
        box = re.search(r"/MediaBox \[ ?0 0 ([\d.]+) ", text(drawn, f"{name}.pdf"))
        assert box
        assert float(box[1]) / 72 in (pytest.approx(3.25), pytest.approx(6.75))


def test_no_picture_is_cut_at_its_border(drawn: Files) -> None:
    for name in DRAWN:
        png = drawn[f"{FOLDER}/{name}.png"]
        assert isinstance(png, bytes)
        pixels = imread(io.BytesIO(png))[..., :3]
        for border in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]):
            assert border.min() == 1.0, name


def test_captions_write_95_percent_without_a_space(drawn: Files) -> None:
    for page in ("index.md", "index.html"):
        assert "95% intervals" in text(drawn, page)
        assert "95 %" not in text(drawn, page)


def test_no_file_says_when_or_with_what_it_was_made(drawn: Files) -> None:
    for name in DRAWN:
        for ending in ("pdf", "svg", "png"):
            found = text(drawn, f"{name}.{ending}")
            for telling in ("CreationDate", "dc:date", "Matplotlib", "Software", "/Producer"):
                assert telling not in found.replace("<!-- ", "").split("<defs>")[0]


def test_the_data_are_the_published_numbers(drawn: Files) -> None:
    found = {line["method"]: line for line in lines(drawn, "acceptance")}
    assert float(found["kd"]["value"]) == pytest.approx(np.mean(EASY))
    assert (found["kd"]["low"], found["kd"]["high"], found["kd"]["n"]) == ("0.4", "0.6", "4")
    compute = {line["method"]: float(line["flops"]) for line in lines(drawn, "compute-t0")}
    assert compute == {"untrained": 0.0, "kd": 5e11, "csd": 1e12}
    difference, _ = lines(drawn, "differences")
    assert (difference["method"], difference["against"]) == ("kd", "untrained")


def test_progress_is_the_best_so_far_after_the_steps_of_the_reference(drawn: Files) -> None:
    found = [
        (line["method"], float(line["flops"]), float(line["validation_acceptance"]))
        for line in lines(drawn, "progress")
    ]
    kd = [("kd", 1e11, 0.2), ("kd", 3e11, 0.5), ("kd", 5e11, 0.5)]
    assert found == [*kd, ("csd", 2e11, 0.2), ("csd", 6e11, 0.5), ("csd", 1e12, 0.5)]


def test_a_forest_of_several_comparisons_names_both_methods_of_each(tmp_path: Path) -> None:
    run = whole(tmp_path, {"untrained": [WORSE], "kd": [EASY]})
    (compared,) = run.comparisons
    other = replace(run.results[0].cell.contender, method="csd")
    several = replace(
        run,
        results=tuple(replace(row, numbers={}) for row in run.results),
        comparisons=(compared, replace(compared, contender=other, against="kd")),
    )

    drawing = text(REPORT(several, tmp_path), "differences.svg")

    assert "KD \N{MINUS SIGN} Untrained" in drawing
    assert "CSD \N{MINUS SIGN} KD" in drawing


def test_speedup_is_predicted_from_what_was_drafted(drawn: Files) -> None:
    by_gamma = {
        int(line["gamma"]): float(line["value"])
        for line in lines(drawn, "gamma-t0")
        if (line["method"], line["quantity"]) == ("kd", "predicted_speedup")
    }
    # A quarter of what is drafted is accepted: all of gamma is drafted, at 0.1 passes a token.
    for gamma, value in by_gamma.items():
        assert value == pytest.approx((1 + gamma / 4) / (1 + 0.1 * gamma))


def test_what_a_run_has_no_data_for_is_not_drawn_and_the_index_says_why(tmp_path: Path) -> None:
    files = REPORT(run_of(tmp_path, {"kd": [EASY]}), tmp_path)
    assert not names(files)
    for page in ("index.md", "index.html"):
        shown = text(files, page)
        for line in (
            "acceptance is not drawn: one method on one task compares nothing",
            "gamma-t0 is not drawn: the block efficiency is the same at every block length",
            "positions-t0 is not drawn: no cell has acceptance by position",
            "speedup is not drawn: no speed was run",
            "measured-against-predicted is not drawn: no speed was run",
            "compute-t0 is not drawn: no draft was trained",
            "progress is not drawn: no training was validated by acceptance more than once",
            "kept-tokens is not drawn: no method recorded which tokens it kept",
            "differences is not drawn: a run of one method compares nothing",
            "quality-against-speed is not drawn: no speed was run",
            "fidelity-against-diversity is not drawn: the recipe asks for no samples",
            "One seed: the intervals do not cover",
        ):
            assert line in shown


def test_no_results_are_an_index_and_no_figure(tmp_path: Path) -> None:
    results = replace(run_of(tmp_path, {"kd": [EASY]}), results=())
    files = REPORT(results, tmp_path)
    assert set(files) == {f"{FOLDER}/index.md", f"{FOLDER}/index.html"}
    assert text(files, "index.md").count("is not drawn") == 11


def test_failed_and_missing_cells_are_said_and_the_rest_is_drawn(tmp_path: Path) -> None:
    results = whole(tmp_path, {"untrained": [WORSE], "kd": [EASY]}, tasks=("gsm8k", "xsum"))
    first, second, third, _ = results.results
    dead = replace(second, numbers={}, ledger=None, failure="it broke")
    files = REPORT(replace(results, results=(first, dead, third)), tmp_path)
    assert names(files) == DRAWN - {"compute-t0", "progress", "acceptance", "speedup"}
    assert "kd on gsm8k, p, seed 0 failed: it broke" in text(files, "index.html")
    assert {line["method"] for line in lines(files, "gamma-t0")} == {"untrained"}


def test_many_methods_are_cut_in_the_picture_and_not_in_the_data(tmp_path: Path) -> None:
    methods = {f"m{number}": [tuple(np.array(EASY) - number / 100)] for number in range(30)}
    results = run_of(tmp_path, methods, length=5)
    files = REPORT(replace(results, recipe={**results.recipe, "speed": None}), tmp_path)
    assert len(lines(files, "acceptance")) == 30
    assert "The picture has the first 24 of 30 methods." in text(files, "index.md")


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    strange = ["_x_{1}$\\frac", "=cmd|' /C calc'!A0", "日本語\u202e"]
    results = whole(tmp_path, {HOSTILE: [EASY], **{name: [WORSE] for name in strange}})
    hostile = replace(results, title=HOSTILE)
    files = REPORT(hostile, tmp_path)
    assert names(files) == DRAWN
    for name, content in files.items():
        shown = content if isinstance(content, str) else content.decode("utf-8", "replace")
        if name.endswith((".svg", ".html", ".md", ".csv")):
            for bad in ("\u202e", "\x1b", "\x00", "\n# d"):
                assert bad not in shown
        if name.endswith((".svg", ".html", ".md")):
            assert "<script" not in shown
        if name.endswith(".csv"):
            cells = [cell for row in csv.reader(io.StringIO(shown)) for cell in row]
            assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


SCRIPT = """
import hashlib, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_figures import METHODS, REPORT, whole
folder = Path(sys.argv[1])
results = whole(folder, METHODS)
for name, content in sorted(REPORT(results, folder).items()):
    content = content.encode() if isinstance(content, str) else content
    print(name, hashlib.sha256(content).hexdigest())
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path, drawn: Files) -> None:
    import hashlib

    paths = [str(ROOT / "tests" / name) for name in ("support", "reports")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *paths],
        capture_output=True,
        text=True,
        env={
            **{"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "HOME": str(tmp_path), "PATH": ""},
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        },
    )
    assert done.returncode == 0, done.stderr
    there = dict(line.split() for line in done.stdout.splitlines())
    here = {
        name: hashlib.sha256(item.encode() if isinstance(item, str) else item).hexdigest()
        for name, item in drawn.items()
    }
    assert there == here


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (" apples", "word"),
        ("日本", "word"),
        ("42", "number"),
        (" $", "operator"),
        ("=", "operator"),
        ("*", "operator"),
        (" -", "operator"),
        (">>", "operator"),
        (".\n", "punctuation"),
        ("\n\n", "whitespace"),
        ("", "other"),
        ("\ufffd", "other"),
    ],
)
def test_a_token_is_of_the_type_that_it_reads_as(token: str, kind: str) -> None:
    assert token_type(token) == kind
    assert token_type(token, special=True) == "end"


def selection(folder: Path, rows: int = 6) -> None:
    """Write a selection whose words are kept in every row, and of its numbers one in two."""
    texts = [" so", "1", "2"]
    write_rows(
        folder / SELECTION,
        [
            {
                "step": 0,
                "example_id": f"{row}",
                "gap": float(row) + place,
                "kept": place < 2,
                "token": text,
                "special": False,
            }
            for row in range(rows)
            for place, text in enumerate(texts)
        ],
    )


def test_kept_tokens_are_counted_by_gap_and_by_type(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"adaspec": [EASY]})
    selection(tmp_path / results.results[0].records)
    files = REPORT(results, tmp_path)
    assert "kept-tokens" in names(files)
    found = lines(files, "kept-tokens")
    gaps = [line for line in found if line["part"] == "gap"]
    assert sum(int(line["tokens"]) for line in gaps) == 18
    assert sum(int(line["kept"]) for line in gaps) == 12
    shares = {line["token_type"]: line for line in found if line["part"] == "type"}
    assert {kind: float(line["share"]) for kind, line in shares.items()} == {
        "word": 1.0,
        "number": 0.5,
    }
    assert shares["number"]["tokens"] == "12"


def test_a_selection_of_tokens_that_cannot_be_read_is_drawn_by_gap_alone(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"adaspec": [EASY]})
    folder = tmp_path / results.results[0].records
    selection(folder)
    table = pq.read_table(folder / SELECTION)
    place = table.schema.get_field_index("token")
    pq.write_table(
        table.set_column(place, "token", pa.nulls(table.num_rows, pa.string())), folder / SELECTION
    )
    files = REPORT(results, tmp_path)
    assert {line["part"] for line in lines(files, "kept-tokens")} == {"gap"}


def test_speed_is_held_against_the_cost_model_where_its_parts_were_timed(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})
    where = "gamma=4,engine=reference,t=0,batch=1,length=natural"
    values = {
        "speedup": 1.4,
        "predicted_speedup": 1.5,
        "cost_ratio": 0.2,
        "verification_cost": 0.05,
        "block_efficiency": 3.0,
    }
    own = {f"{name}[{where}]": replace(NUMBER, value=value) for name, value in values.items()}
    own |= {
        f"{name}[t=0,gamma=4]": replace(NUMBER, value=value)
        for name, value in (("accepted_per_pass", 2.0), ("draft_acceptance_rate", 0.5))
    }
    own["block_efficiency[t=0,gamma=1]"] = replace(NUMBER, value=1.5)
    (row,) = results.results
    timed = replace(row, numbers={**row.numbers, **own, "speedup": NUMBER})
    recipe = {**results.recipe, "speed": {"temperature": [0.0], "num_speculative_tokens": [4, 8]}}
    files = REPORT(replace(results, results=(timed,), recipe=recipe), tmp_path)
    (line,) = lines(files, "measured-against-predicted")
    assert (line["measured_on"], line["predicted_from"]) == (where, "parts timed by themselves")
    assert (float(line["measured_value"]), float(line["predicted_value"])) == (1.4, 1.5)
    assert float(line["cost_of_a_drafted_token"]) == pytest.approx(0.25)
    (speedup,) = (
        float(line["value"])
        for line in lines(files, "gamma-t0")
        if (line["quantity"], line["gamma"]) == ("predicted_speedup", "4")
    )
    # Four tokens are drafted in a pass: 2 accepted, of which 1 in 2 is.
    assert speedup == pytest.approx(np.mean(EASY) / (1 + 0.25 * 4))


def test_points_of_several_engines_are_told_apart(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [EASY]})
    (row,) = results.results
    own = {
        f"{name}[gamma=4,engine={engine},t=0,batch=1,length=natural]": NUMBER
        for name in ("speedup", "predicted_speedup", "cost_ratio", "verification_cost")
        for engine in ("vllm", "transformers")
    }
    timed = replace(row, numbers={**row.numbers, **own})
    recipe = {**results.recipe, "speed": {"temperature": [0.0], "num_speculative_tokens": [4]}}
    files = REPORT(replace(results, results=(timed,), recipe=recipe), tmp_path)
    assert len(list(lines(files, "measured-against-predicted"))) == 2
    drawing = text(files, "measured-against-predicted.svg")
    assert "<!-- vllm, batch 1 -->" in drawing
    assert "<!-- transformers, batch 1 -->" in drawing


def test_of_several_conditions_the_smallest_batch_with_the_longest_blocks_prices_a_token() -> None:
    cell = Cell("gsm8k", "p", "kd", 0)
    where = "gamma={},engine=reference,t=0,batch={},length=natural"
    found = [
        speeds.Speed(cell, NUMBER, None, cost, where.format(gamma, batch), "")
        for gamma, batch, cost in ((1, 1, 0.9), (5, 1, 0.3), (5, 8, 0.7))
    ]
    seed = replace(found[0], cell=replace(cell, seed=1), cost=0.5, where="")
    assert speeds.drafting_costs(found) == {cell.contender: pytest.approx(0.3)}
    assert speeds.drafting_costs([*found, seed]) == {cell.contender: pytest.approx(0.4)}


LOOKUP = "prompt_lookup"
MANY = {f"m{number}": [tuple(np.array(EASY) - number / 100)] for number in range(8)} | {
    "dld": [WORSE],
    LOOKUP: [WORSE],
}


def curves_of(row: Result) -> Result:
    """Return a cell with curves over gamma; the lookup is far above the drafts, dld unmoved."""
    method = row.cell.method
    level = 3.0 if method == LOOKUP else 1.0 - int(method[1:] if method != "dld" else "9") / 100
    curve = {
        f"block_efficiency[t=0,gamma={gamma}]": replace(NUMBER, value=level * (1 + gamma / 100))
        for gamma in range(1, 9)
    }
    ledger = Ledger() if method == LOOKUP else Ledger(steps=10, flops=5e11)
    history = ({"step": 0, "validation_loss": 1}, {"step": 9, "validation_loss": 0.5})
    stayed = ({"step": 0, "validation_loss": 1}, {"step": 9, "validation_loss": 2.0})
    return replace(
        row,
        numbers={**row.numbers, **curve},
        ledger=ledger,
        history=() if method == LOOKUP else stayed if method == "dld" else history,
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("many")
    run = run_of(folder, MANY, length=5)
    rows = tuple(map(curves_of, run.results))
    key = "block_efficiency[t=0,gamma=4]"
    letters = [(LOOKUP, "z"), *((f"m{n}", "abcdefgh"[n // 2]) for n in range(8)), ("dld", "h")]
    standings = tuple(
        Standing(Contender("gsm8k", "p", method), key, letter) for method, letter in letters
    )
    return REPORT(replace(run, results=rows, standings=standings), folder)


def test_curves_name_methods_that_can_be_told_apart_and_the_others_are_one_band(
    many: Files,
) -> None:
    drawing = text(many, "gamma-t0.svg")
    for shown in ("m0", "m2", "m4", "m6", "4 others"):
        assert f"<!-- {shown} -->" in drawing
    for grey in ("m1", "m3", "m5", "m7", "dld", "DLD"):
        assert f"<!-- {grey} -->" not in drawing
    assert "Grey: m1; m3; m5; m7." in text(many, "index.md")
    assert {line["method"] for line in lines(many, "gamma-t0")} == set(MANY)


def test_a_draft_that_did_not_learn_is_a_line_of_the_caption(many: Files) -> None:
    for page in ("index.md", "index.html"):
        shown = "Not drawn, because training did not improve them: DLD (GSM8K)."
        assert shown in text(many, page)
    assert "DLD" not in text(many, "acceptance.svg")
    assert "dld" in {line["method"] for line in lines(many, "acceptance")}


def test_a_run_in_which_nothing_learned_is_drawn(tmp_path: Path) -> None:
    results = whole(tmp_path, {"kd": [EASY], "csd": [WORSE]})
    history = ({"step": 0, "validation_loss": 1}, {"step": 9, "validation_loss": 2.0})
    rows = tuple(replace(row, history=history) for row in results.results)
    run = DrawnRun(replace(results, results=rows), tmp_path)
    assert not run.unmoved
    assert run.curves == ["kd", "csd"]


def test_a_lookup_that_flattens_the_axis_has_panels_of_its_own(many: Files) -> None:
    drawing = text(many, "gamma-t0.svg")
    assert "<!-- Prompt lookup decoding -->" in drawing  # the title of its row
    assert "Prompt lookup decoding has a row with a scale of its own." in text(many, "index.md")
    assert drawing.count("<!-- GSM8K -->") == 3  # the title of the drafts' row, and its curves


def test_dots_are_in_the_order_of_the_effect(many: Files) -> None:
    named = re.findall(r"<!-- (m\d) -->", text(many, "acceptance.svg"))
    assert named == [f"m{number}" for number in range(8)]


def test_a_style_sets_the_widths_and_the_font(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"untrained": [WORSE], "kd": [EASY]})
    files = replace(REPORT, style="acl")(results, tmp_path)
    pdf = text(files, "acceptance.pdf")
    box = re.search(r"/MediaBox \[ ?0 0 ([\d.]+) ", pdf)
    assert box
    assert float(box[1]) / 72 == pytest.approx(6.3)
    assert "STIXGeneral" in pdf
    with pytest.raises(UserError, match="Known: acl, icml, neurips"):
        replace(REPORT, style="nature")(results, tmp_path)


def test_figures_of_equal_values_are_not_drawn(tmp_path: Path) -> None:
    files = REPORT(run_of(tmp_path, {"untrained": [EASY], "kd": [EASY]}), tmp_path)
    assert "acceptance is not drawn: all values are equal." in text(files, "index.md")


@pytest.mark.parametrize(("highest", "scale"), [(9.0, "linear"), (11.0, "log")])
def test_ratios_that_spread_over_a_factor_of_10_have_a_logarithmic_axis(
    highest: float, scale: str
) -> None:
    axes = Figure().subplots()
    scale_ratios(axes, "y", [1.0, 3.0, highest])
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", scale)


def test_a_method_that_is_missing_from_hard_tasks_is_not_ranked_higher() -> None:
    hard, easy = {"a": 1.2, "b": 1.1}, {"a": 3.2, "b": 3.1, "c": 3.0}
    assert order_by_effect([hard, easy]) == ["a", "b", "c"]


def test_six_methods_are_spread_from_the_best_to_the_last() -> None:
    ranked = [f"m{number}" for number in range(11)]
    assert choose_curves(ranked, ()) == ["m0", "m2", "m4", "m6", "m8", "m10"]
    assert choose_curves(ranked[:6], ()) == ranked[:6]
    assert choose_curves(ranked, (), "m5") == ["m0", "m2", "m4", "m5", "m8", "m10"]
    assert choose_curves(ranked, (), "m9") == ["m0", "m2", "m4", "m6", "m9", "m10"]


def test_pictures_of_speed_name_the_fastest_and_every_bar_of_a_few() -> None:
    """The fastest draft need not be among the first by block efficiency, but must be named."""
    rows = []
    for n in range(9):
        numbers = {"block_efficiency[t=0,gamma=4]": replace(NUMBER, value=2 - n / 10)}
        speed = {"speedup": replace(NUMBER, value=1.5 if n == 5 else 0.9)} if n % 2 else {}
        rows.append(Result(Cell("gsm8k", "p", f"m{n}", 0), numbers | speed, None, {}))
    recipe = {"evaluation": {"num_speculative_tokens": 4, "temperatures": [0.0]}}
    run = DrawnRun(Results("r", "", recipe, tuple(rows), (), (), (), (), {}), Path())

    assert "m5" in run.curves
    assert len(run.curves) == 6
    drawn = draw_speedups(run)
    assert isinstance(drawn, Drawing)
    assert "In the data alone" not in drawn.whole_caption
    [legend] = drawn.figure(Paper()).legends
    assert [entry.get_text() for entry in legend.get_texts()] == ["m1", "m3", "m5", "m7"]


@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=9),
    st.floats(0.1, 5),
)
def test_labels_do_not_overlap_and_keep_their_order(wanted: list[float], apart: float) -> None:
    found = spread_apart(wanted, apart, -100, 100)
    order = np.argsort(wanted, kind="stable")
    placed = np.array(found)[order]
    assert np.all(np.diff(placed) >= apart - 1e-9)
    assert placed[0] >= -100 - 1e-9
    assert placed[-1] <= 100 + 1e-9
    if np.all(np.diff(np.array(wanted)[order]) >= apart):
        assert found == pytest.approx(wanted)


def test_labels_that_do_not_fit_extend_beyond_both_ends() -> None:
    assert spread_apart([5, 5, 5], 10, 0, 10) == pytest.approx([-5, 5, 15])


def test_a_sweep_is_drawn_over_its_knob(tmp_path: Path) -> None:
    names = [f"adaspec, keep {keep}" for keep in (0.2, 0.4, 0.8)]
    results = whole(tmp_path, {"kd": [EASY], **{name: [WORSE] for name in names}})
    recipe = {**results.recipe}
    recipe["methods"] = [{"name": "kd", "label": ""}] + [
        {"name": "adaspec", "label": name, "sweep": "keep", "keep": float(name.split()[-1])}
        for name in names
    ]
    (swept,) = draw_sweeps(DrawnRun(replace(results, recipe=recipe), tmp_path))

    assert isinstance(swept, Drawing)
    assert [row[2] for row in swept.rows] == [0.2, 0.4, 0.8]
    assert {row[1] for row in swept.rows} == {"keep"}
    assert b"keep of" in swept.files(Paper())["sweep-t0.svg"]
    assert list(draw_sweeps(DrawnRun(results, tmp_path))) == []
