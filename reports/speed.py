"""End-to-end speed of every engine, batch size and block length, beside the cost model's terms.

The report reads the numbers of the results, whose keys name the speed condition.
"""

# In short: Speed of every engine, batch size and block length.

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from draftmark.reports._shared.checks import verdict_alerts
from draftmark.reports._shared.content import (
    Entry,
    Section,
    TableNumber,
    escape_markdown,
    section_markdown,
    table_section,
)
from draftmark.reports._shared.engine_settings import engine_settings_section
from draftmark.reports._shared.handover import advised, handover_section
from draftmark.reports._shared.recommendation import NOTE, advice_section
from draftmark.reports._shared.rows import (
    by_task_and_pair,
    conditions_of,
    engine_in_words,
    failure_section,
    row_name,
    speed_reasons,
)
from draftmark.reports._shared.serving_verdict import serving_verdict
from draftmark.reports._shared.speed_rows import SpeedRow, speed_rows
from draftmark.reports._shared.verdict import verdicts
from draftmark.results import Number, Result, Results

_NOTE = """\
**Speedup**: wall time of the target alone / with the draft, per token. Each block of prompts runs
in the order A B B A; 95% interval over {blocks} blocks. {few}{length}

Cost model, from separately timed passes: **c** is the time of drafting a token and **w** the time
that a drafted token adds to the target's pass, in plain passes of the target. **Predicted** is
the speedup for the passes and drafted tokens that the engine counted, prefill included.
**Overhead** is predicted / measured: above 1, the engine takes more time than the model.
**Expected** is the model's speedup on all scored prompts; no engine need run the draft for it. The
intervals of c, w and these speedups are over repeats in one process; another may differ by more."""
_LENGTH = {
    "natural": "Texts end where the target ends them.",
    "fixed": "All texts have as many tokens as the length limit; end tokens are ignored.",
}
_FEW_BLOCKS = 5  # with fewer, no two blocks enclose the median surely enough
_FEW = "So few blocks tell little: their interval takes the noise for normal. "
_COLUMNS = ["method", "engine", "T", "batch", "block length"]


def speed(results: Results, directory: Path) -> dict[str, str]:
    """Return speed.md: for each task and pair the measurements, the noise, and why drafts lose."""
    title = f"# {escape_markdown(results.title)}: speed"
    settings = results.recipe["speed"]
    if not settings:
        return {"speed.md": f"{title}\n\nThe recipe has speed = false: nothing was timed.\n"}
    length = _LENGTH[settings.get("length", "natural")]
    blocks = settings["blocks"]
    few = _FEW if blocks < _FEW_BLOCKS else ""
    boards, found = list(by_task_and_pair(results.results)), verdicts(results, directory)
    bottom_line = " ".join(serving_verdict([(item.task, item.serving) for item in found]))
    sections = [
        title,
        escape_markdown(bottom_line),
        handover_section(results, advised(results, directory, found, results.results)),
        NOTE,
        _NOTE.format(blocks=blocks, few=few, length=length),
    ]
    for task, pair, rows in boards:
        sections.append(f"## {escape_markdown(task)}, {escape_markdown(pair)}")
        sections += [section_markdown(Section("", list(verdict_alerts(results, task, pair))))]
        sections += [advice_section(rows, results, directory), *_sections(rows)]
    sections.append(engine_settings_section(results.results, directory))
    return {"speed.md": "\n\n".join(section for section in sections if section) + "\n"}


def _sections(rows: Sequence[Result]) -> Iterator[str]:
    measured = [item for row in rows for item in speed_rows(row, str(row_name(row.cell, rows)))]
    yield from map(section_markdown, _speedups(measured))
    yield _slower(measured)
    for sections in (_times(measured), _floors(rows), _not_measured(rows)):
        yield from map(section_markdown, sections)
    yield from (failure_section(row) for row in rows if row.failure)


def _condition(item: SpeedRow) -> list[str]:
    terms = item.terms
    return [item.method, engine_in_words(terms), terms["t"], terms["batch"], terms["gamma"]]


def _speedups(measured: Sequence[SpeedRow]) -> Iterator[Section]:
    names = {
        "predicted": "predicted_speedup",
        "overhead": "overhead",
        "tokens a pass": "counted_block_efficiency",
        "drafted a pass": "counted_drafted",
        "c": "cost_ratio",
        "w": "verification_cost",
        "expected": "expected_speedup",
    }
    header = [*_COLUMNS, "speedup", *names]
    body = [
        [*_condition(item), _speedup(item), *(_number(item, name) for name in names.values())]
        for item in measured
    ]
    notes = list(_verification_costs(measured))
    yield from table_section("", notes, header, body, "ll" + "r" * (len(header) - 2))


def _verification_costs(measured: Sequence[SpeedRow]) -> Iterator[str]:
    """Yield the spread of w over the drafts of one target, each of which timed it anew."""
    found: dict[tuple[str, str], set[float]] = {}
    for item in measured:
        if w := item.numbers.get("verification_cost"):
            found.setdefault((item.terms["batch"], item.terms["gamma"]), set()).add(w.value)
    for (batch, gamma), values in found.items():
        if len(values) > 1:
            yield (
                f"w is the target's alone, and was timed anew for each draft: {min(values):.3f} to "
                f"{max(values):.3f} at batch {batch} and blocks of {gamma}. Intervals hold the "
                "spread within one timing, not that between timings."
            )


def _number(item: SpeedRow, name: str) -> Entry:
    return TableNumber(name, item.numbers[name], 3, "interval") if name in item.numbers else "-"


def _speedup(item: SpeedRow) -> Entry:
    if "speedup" in item.numbers:
        return _number(item, "speedup")
    if "same_length" not in item.numbers:
        return "-"  # a server that was measured alone
    share = 1 - item.numbers["same_length"].value
    return f"none: {share:.0%} of texts differ in length with the draft"


def _slower(measured: Sequence[SpeedRow]) -> str:
    lines = []
    for item in measured:
        speedup = item.numbers.get("speedup")
        if speedup and speedup.value < 1:
            unsure = "" if (speedup.high or 1) < 1 else " (the interval contains 1)"
            method, engine, t, batch, gamma = map(escape_markdown, _condition(item))
            name = f"{method}, {engine}, T={t}, batch {batch}, blocks of {gamma}"
            lines.append(f"- {name}: {speedup.value:.2f}{unsure}, {item.why_slower}")
    if not lines:
        return ""
    note = (
        "A drafted token must save more time than it costs. If it costs more than it saves, the "
        "reason is its cost (if half a plain pass or more) or else the acceptance. If it saves "
        "more than it costs and decoding is still slower, the reason is the engine."
    )
    return "\n\n".join(["### Where a draft makes decoding slower", note, "\n".join(lines)])


def _times(measured: Sequence[SpeedRow]) -> Iterator[Section]:
    columns = {
        "first token, ms": ("first_token_s", 1e3),
        "token, ms": ("token_s", 1e3),
        "peak memory, GB": ("peak_bytes", 1e-9),
        "energy of a token, J": ("energy_j", 1.0),
    }
    shown = [
        (f"{title}, {arm_title}", f"{name}, {arm}", scale)
        for title, (name, scale) in columns.items()
        for arm, arm_title in (("target", "alone"), ("draft", "with draft"))
        if any(f"{name}, {arm}" in item.numbers for item in measured)
    ]
    header = [*_COLUMNS, *(title for title, _, _ in shown)]
    body = [
        [*_condition(item), *(_scaled(item.numbers.get(key), scale) for _, key, scale in shown)]
        for item in measured
        if shown
    ]
    align = "ll" + "r" * (len(header) - 2)
    yield from table_section("Times and resources", [], header, body, align)


def _scaled(number: Number | None, scale: float) -> Entry:
    if number is None:
        return "-"
    value = number.value * scale
    if number.low is None or number.high is None:
        return f"{value:.3f}"
    scaled = replace(number, value=value, low=number.low * scale, high=number.high * scale)
    return TableNumber("", scaled, 2, "interval")


def _floors(rows: Sequence[Result]) -> Iterator[Section]:
    floors = {
        key.removesuffix("]").partition("[")[2]: TableNumber(key, number, 3, "interval")
        for row in rows
        for key, number in row.numbers.items()
        if key.startswith("noise_floor[")
    }
    body: list[list[Entry]] = []
    for label, floor in floors.items():
        terms, low, high = conditions_of(label), floor.number.low, floor.number.high
        width = contains_1 = "-"
        if low is not None and high is not None:
            width, contains_1 = f"{high - low:.1%}", "yes" if low <= 1 <= high else "**no**"
        body.append([terms["engine"], terms["t"], terms["batch"], floor, width, contains_1])
    header = ["engine", "T", "batch", "target / target", "width", "contains 1"]
    note = "The target timed against itself. A speedup within such an interval is noise."
    yield from table_section("Noise", [note], header, body, "lrrrrl")


def _not_measured(rows: Sequence[Result]) -> Iterator[Section]:
    reasons = list(speed_reasons(rows, "speed_failures", "speed_refusals"))
    yield from table_section("Not measured", [], ["method", "condition", "reason"], reasons, "lll")


REPORT = speed
