"""End-to-end speed: every engine, batch and block length, what the cost model says, and why slower.

Read from the published numbers alone, whose keys say what they were measured on.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from draftmark.reports._shared.acceptance import failed
from draftmark.reports._shared.engine_settings import told
from draftmark.reports._shared.markdown import escape, interval, table, three, two
from draftmark.reports._shared.recommendation import NOTE, advice
from draftmark.reports._shared.rows import row_name
from draftmark.reports._shared.speed_rows import Measured, measured_of, terms_of
from draftmark.results import Number, Result, Results

_NOTE = """\
**Speedup**: time of the target alone / time with the draft, per token, by the clock around each run
of a block, in the order A B B A; 95 % t interval on logs over {blocks} blocks. {length}

Beside it what the parts of a block promise, each timed by itself: **c** is the time of drafting a
token and **w** what a drafted token adds to the target's pass, in plain passes; **predicted** is at
the passes and drafted tokens that the engine counted, prefill included. **Overhead** is predicted /
measured: what the engine takes with a draft beyond those parts (below 1, it is faster than they
are)."""
_LENGTH = {
    "natural": "Texts end as the target ends them.",
    "fixed": "All texts have the length limit's tokens, end tokens ignored.",
}
_FLOOR = "The target against itself. A speedup within such an interval is none."


def speed(results: Results, directory: Path) -> dict[str, str]:
    """Return speed.md: of each task and pair the measurements, the noise, and why drafts slow."""
    sections = [f"# {escape(results.title)}: speed"]
    asked = results.recipe["speed"]
    if not asked:
        return {"speed.md": f"{sections[0]}\n\nThe recipe has speed = false: nothing was timed.\n"}
    sections += [
        NOTE,
        _NOTE.format(blocks=asked["blocks"], length=_LENGTH[asked.get("length", "natural")]),
    ]
    for (task, pair), group in groupby(results.results, key=lambda r: (r.cell.task, r.cell.pair)):
        rows = list(group)
        sections.append(f"## {escape(task)}, {escape(pair)}")
        sections += [advice(rows, results, directory), *_sections(rows)]
    sections.append(told(results.results, directory))
    return {"speed.md": "\n\n".join(section for section in sections if section) + "\n"}


def _sections(rows: Sequence[Result]) -> Iterator[str]:
    measured = [
        item for row in rows for item in measured_of(row, escape(str(row_name(row.cell, rows))))
    ]
    if measured:
        yield _speedups(measured)
        yield _slower(measured)
        yield _times(measured)
    yield _floors(rows)
    yield _failures(rows)
    yield from (failed(row) for row in rows if row.failure)


def _where(item: Measured) -> list[str]:
    return [item.method, *(escape(item.terms[name]) for name in ("engine", "t", "batch", "gamma"))]


def _speedups(measured: Sequence[Measured]) -> str:
    names = {
        "predicted": "predicted_speedup",
        "overhead": "overhead",
        "tokens a pass": "counted_block_efficiency",
        "drafted a pass": "counted_drafted",
        "c": "cost_ratio",
        "w": "verification_cost",
    }
    header = ["method", "engine", "T", "batch", "gamma", "speedup", *names]
    body = [
        [*_where(item), _speedup(item), *(item.show(name) for name in names.values())]
        for item in measured
    ]
    return table(header, body, "ll" + "r" * (len(header) - 2))


def _speedup(item: Measured) -> str:
    if "speedup" in item.numbers:
        return interval(item.numbers["speedup"])
    share = 1 - item.numbers["same_length"].value
    return f"none: {share:.0%} of texts have other lengths with the draft"


def _slower(measured: Sequence[Measured]) -> str:
    lines = [f"- {item.label}: {_why(item)}" for item in measured if _is_slower(item)]
    if not lines:
        return ""
    note = (
        "A drafted token must save more than it costs. Where it costs half a plain pass or more "
        "its price is named as the reason, below that its acceptance; where it pays and the clock "
        "says otherwise, the engine."
    )
    return "\n\n".join(["### Where a draft makes things slower", note, "\n".join(lines)])


def _is_slower(item: Measured) -> bool:
    return "speedup" in item.numbers and item.numbers["speedup"].value < 1


def _why(item: Measured) -> str:
    speedup = item.numbers["speedup"]
    sure = "" if (speedup.high or 1) < 1 else " (the interval holds 1)"
    return f"{two(speedup.value)}{sure}, {item.why_slower}"


def _times(measured: Sequence[Measured]) -> str:
    columns = {
        "first token, ms": ("first_token_s", 1e3),
        "token, ms": ("token_s", 1e3),
        "peak memory, GB": ("peak_bytes", 1e-9),
        "energy of a token, J": ("energy_j", 1.0),
    }
    shown = [
        (f"{title}, {who}", f"{name}, {arm}", scale)
        for title, (name, scale) in columns.items()
        for arm, who in (("target", "alone"), ("draft", "with draft"))
        if any(f"{name}, {arm}" in item.numbers for item in measured)
    ]
    if not shown:
        return ""
    header = ["method", "engine", "T", "batch", "gamma", *(title for title, _, _ in shown)]
    body = [
        [*_where(item), *(_scaled(item.numbers.get(key), scale) for _, key, scale in shown)]
        for item in measured
    ]
    return "### Beside it\n\n" + table(header, body, "ll" + "r" * (len(header) - 2))


def _scaled(number: Number | None, scale: float) -> str:
    if number is None:
        return "-"
    if number.low is None or number.high is None:
        return three(number.value * scale)
    return f"{two(number.value * scale)} [{two(number.low * scale)}, {two(number.high * scale)}]"


def _floors(rows: Sequence[Result]) -> str:
    floors = {
        key.removesuffix("]").partition("[")[2]: number
        for row in rows
        for key, number in row.numbers.items()
        if key.startswith("noise_floor[")
    }
    body = [
        [*(escape(terms_of(label)[name]) for name in ("engine", "t", "batch")), *_width(number)]
        for label, number in floors.items()
    ]
    if not body:
        return ""
    header = ["engine", "T", "batch", "speedup of nothing", "width", "holds 1"]
    return f"### Noise\n\n{_FLOOR}\n\n" + table(header, body, "lrrrrl")


def _width(number: Number) -> list[str]:
    if number.low is None or number.high is None:
        return [interval(number), "-", "-"]
    holds = "yes" if number.low <= 1 <= number.high else "**no**"
    return [interval(number), f"{number.high - number.low:.1%}", holds]


def _failures(rows: Sequence[Result]) -> str:
    body = [
        [escape(str(row_name(row.cell, rows))), escape(what), escape(reason)]
        for row in rows
        for what, reason in {**row.speed_failures, **row.speed_refusals}.items()
    ]
    if not body:
        return ""
    return "### Not measured\n\n" + table(["method", "what", "reason"], body, "lll")


REPORT = speed
