"""Draw the pictures of measured results again, from their published pages.

    python tools/draw_measured.py

The pages in reports/measured/smollm2_full/ and smollm2_speed/ are all that is kept of these runs.
They have rounded numbers: what needs more, such as block efficiency over block length, is not
drawn.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from draftmark.analysis.quantities import quantity_key
from draftmark.reports._figures.dots import draw_differences
from draftmark.reports._figures.drawing import Drawing, NotDrawn
from draftmark.reports._figures.run import DrawnRun
from draftmark.reports._figures.speeds import draw_speeds, speeds_of
from draftmark.reports._figures.style import Paper
from draftmark.results import Cell, Comparison, Contender, Number, Result, Results

MEASURED = Path(__file__).parent.parent / "reports/measured"
FOLDER, SPEED_FOLDER = MEASURED / "smollm2_full", MEASURED / "smollm2_speed"
TASKS = ("gsm8k", "mbpp", "alpaca", "xsum", "cnn_dm")
FRONT_TASKS = ("gsm8k", "mbpp")
FRONT = ("lk", "distillspec, reverse KL", "adaspec", "untrained", "eagle", "prompt_lookup")
PAIR, GAMMA, TEMPERATURES = "smollm2-4of30", 4, (0.0, 1.0)
_NUMBER = re.compile(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\](?: n=(\d+))?")


def read_results(task: str) -> Results:
    """Return the acceptance rates and their differences that the page of a task has."""
    page = (FOLDER / f"{task}.md").read_text("utf-8")
    lines = list(_table(page, "| method | acceptance rate"))
    (start,) = (line[1:5] for line in lines if line[0] == "untrained")
    rows = [_result(task, line, start) for line in lines]
    found = [_comparison(task, line) for line in _table(page, "| method | difference ")]
    recipe = {"evaluation": {"num_speculative_tokens": GAMMA, "temperatures": TEMPERATURES}}
    compared = tuple(item for item in found if item)
    return Results("smollm2_full", "", recipe, tuple(rows), (), compared, (), (), {})


def _table(page: str, header: str) -> Iterator[list[str]]:
    """Yield the entries of each row of the table that begins with a header."""
    lines = page[page.index(header) :].split("\n")[2:]
    for line in lines[: lines.index("")]:
        yield [html.unescape(entry.strip()) for entry in line.strip("|").split("|")]


def _number(text: str) -> Number:
    value, low, high, n = _NUMBER.fullmatch(text).groups()  # type: ignore[union-attr]
    return Number(float(value), float(low), float(high), int(n or 0), "as the page says")


def _result(task: str, line: Sequence[str], start: Sequence[str]) -> Result:
    """Return the rates of a method; one that has those of the start has learned nothing."""
    method, stayed = line[0], line[0] != "untrained" and line[1:5] == start
    rates = zip(TEMPERATURES, (line[1], line[3]), strict=True)
    numbers = {quantity_key("acceptance_rate", t, GAMMA): _number(text) for t, text in rates}
    first_is_best = [{"step": step, "validation_acceptance": -step} for step in (0.0, 1.0)]
    history = tuple(first_is_best) if stayed else ()
    return Result(Cell(task, PAIR, method, 0), numbers, None, {}, history=history)


def _comparison(task: str, line: Sequence[str]) -> Comparison | None:
    """Return a row of the table of differences of acceptance rates; None for other quantities."""
    method, what, value, p, *_ = line
    parts = re.fullmatch(r"acceptance_rate\\\[t=(\d),gamma=4\\\] - (.*)", what)
    if not parts:
        return None
    key = quantity_key("acceptance_rate", float(parts[1]), GAMMA)
    p_value = float(p.removeprefix("< "))
    contender = Contender(task, PAIR, method)
    return Comparison(contender, parts[2], key, _number(value), p_value, p_value, 0.0, None)


def read_speeds() -> Results:
    """Return the speedups that the page of speeds has, measured and predicted."""
    page, by_method = (SPEED_FOLDER / "speed.md").read_text("utf-8"), {}
    for method, engine, t, batch, gamma, *numbers in _table(page, "| method | engine | T |"):
        terms = f"gamma={gamma},engine={engine},t={t},batch={batch},length=natural"
        named = zip(("speedup", "predicted_speedup"), numbers, strict=False)
        found = {f"{name}[{terms}]": _number(text) for name, text in named if text != "-"}
        by_method.setdefault(method, {}).update(found)
    rows = tuple(
        Result(Cell("gsm8k", PAIR, method, 0), numbers, None, {})
        for method, numbers in by_method.items()
    )
    recipe = {"evaluation": {"num_speculative_tokens": 3, "temperatures": [0.0]}, "speed": True}
    return Results("smollm2_speed", "", recipe, rows, (), (), (), (), {})


def front_results() -> Results:
    """Return a few methods on a few tasks, all compared with kd."""
    every = [read_results(task) for task in FRONT_TASKS]
    wanted = {"results": "cell", "comparisons": "contender"}
    kept: dict[str, Any] = {
        field: tuple(
            item
            for results in every
            for item in getattr(results, field)
            if getattr(item, name).method in FRONT and getattr(item, "against", "kd") == "kd"
        )
        for field, name in wanted.items()
    }
    return replace(every[0], **kept)


def write(found: Drawing | NotDrawn, path: Path) -> None:
    """Write a picture, and print its caption."""
    assert isinstance(found, Drawing)
    picture = found.files(Paper())[f"{found.name}.png"]
    path.write_bytes(picture if isinstance(picture, bytes) else picture.encode())
    print(f"{path.name}: {found.whole_caption}")


if __name__ == "__main__":
    pages = {f"{task}-differences.png": read_results(task) for task in TASKS}
    for name, results in (pages | {"differences.png": front_results()}).items():
        write(draw_differences(DrawnRun(results, FOLDER)), FOLDER / name)
    run = DrawnRun(read_speeds(), SPEED_FOLDER)
    write(draw_speeds(run, speeds_of(run)), SPEED_FOLDER / "measured-against-predicted.png")
