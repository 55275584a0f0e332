"""Draw the pictures of measured results again, from their published pages.

    python tools/draw_measured.py

The pages in reports/measured/smollm2_full/ are all that is kept of these runs. They have rounded
numbers: what needs more, such as expected speedups over block length, is not drawn.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from draftmark.analysis.quantities import quantity_key
from draftmark.reports._figures.dots import draw_differences
from draftmark.reports._figures.drawing import Drawing
from draftmark.reports._figures.run import DrawnRun
from draftmark.reports._figures.style import Paper
from draftmark.results import Cell, Comparison, Contender, Number, Result, Results

FOLDER = Path(__file__).parent.parent / "reports/measured/smollm2_full"
TASKS = ("gsm8k", "mbpp", "alpaca", "xsum", "cnn_dm")
FRONT_TASKS = ("gsm8k", "mbpp")
FRONT = ("lk", "distillspec, reverse KL", "adaspec", "untrained", "eagle", "prompt_lookup")
PAIR, GAMMA, TEMPERATURES = "smollm2-4of30", 4, (0.0, 1.0)
_NUMBER = re.compile(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\] n=(\d+)")


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
    return Number(float(value), float(low), float(high), int(n), "accepted / tested")


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


def draw(results: Results, name: str) -> None:
    """Write a picture of differences, and print its caption."""
    found = draw_differences(DrawnRun(results, FOLDER))
    assert isinstance(found, Drawing)
    picture = found.files(Paper())[f"{found.name}.png"]
    (FOLDER / name).write_bytes(picture if isinstance(picture, bytes) else picture.encode())
    print(f"{name}: {found.whole_caption}")


if __name__ == "__main__":
    for task in TASKS:
        draw(read_results(task), f"{task}-differences.png")
    draw(front_results(), "differences.png")
