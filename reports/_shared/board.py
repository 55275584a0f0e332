"""What a leaderboard says of a task and pair: a row for each method, and what explains them."""

from collections.abc import Iterator, Sequence
from typing import Literal

from draftmark.analysis import validation_history
from draftmark.reports._shared.checks import warnings
from draftmark.reports._shared.literature import literature
from draftmark.reports._shared.quality import quality_sections
from draftmark.reports._shared.rows import headline, lines, row_name, shown
from draftmark.reports._shared.sections import (
    Alert,
    Entry,
    Format,
    Section,
    Shown,
    Table,
    three,
    two,
)
from draftmark.results import Result, Results

GAMMAS = (1, 2, 3, 4, 5, 8, 16)


def board(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    """Yield the sections on the cells of a task and pair; the first is the table of methods."""
    yield _main_table(rows, results)
    yield from _differences(rows, results)
    yield from literature(rows, results)
    yield from quality_sections(rows, results)
    yield from _engine_checks(rows)
    yield _by_gamma(rows, results)
    yield from _by_position(rows, results)
    yield from _ledger(rows)
    yield from _failures(rows)


def _main_table(rows: Sequence[Result], results: Results) -> Section:
    evaluation = results.recipe["evaluation"]
    gamma = evaluation["num_speculative_tokens"]
    columns: dict[str, tuple[str, Format]] = {}
    for temperature in evaluation["temperatures"]:
        where = f"t={temperature:g},gamma={gamma}"
        columns[f"acceptance rate, T={temperature:g}"] = (f"acceptance_rate[{where}]", three)
        columns[f"block efficiency, T={temperature:g}"] = (f"block_efficiency[{where}]", two)
    columns |= {
        "speedup": ("speedup", two),
        "quality with draft": ("quality_with_draft", three),
        "quality of draft alone": ("quality_draft", three),
    }
    body = [
        [label, *(shown(numbers, name, form) for name, form in columns.values()), groups]
        for label, numbers, groups in lines(rows, results)
    ]
    note = (
        "95 % intervals over prompts; n = prompts (of the speedup: runs A B B A). "
        f"Blocks of {gamma} drafted tokens. "
        "Methods that share a group's letter could not be told apart by block efficiency (all "
        f"pairs, paired, Holm, 5 %). {_speed_note(results)} {_target_note(rows)}"
    )
    groups = "groups" + "".join(f", T={t:g}" for t in evaluation["temperatures"])
    made = Table(["method", *columns, groups], body)
    return Section("", [made, *warnings(results), *_unmoved(rows), " ".join(note.split())])


def _speed_note(results: Results) -> str:
    if not results.recipe["speed"]:
        return ""
    speed = headline(results.recipe["speed"])
    return (
        f"Speedup: {speed['engine']} engine, temperature {speed['temperature']:g}, blocks of "
        f"{speed['num_speculative_tokens']}, {speed['dtype']}, {speed['blocks']} runs of A B B A."
    )


def _target_note(rows: Sequence[Result]) -> str:
    for row in rows:
        if "quality_target" in row.numbers:
            return f"Quality of the target alone: {shown(row.numbers, 'quality_target', three)}."
    return ""


def _unmoved(rows: Sequence[Result]) -> Iterator[Alert]:
    """Yield which drafts training left as they were."""
    names = [
        str(row_name(row.cell, rows))
        for row in rows
        if validation_history.learned_nothing(row.history)
    ]
    if names:
        yield Alert(
            f"Learned nothing: {', '.join(names)} (the checkpoint that was best on validation is "
            "that of step 0)."
        )


def _differences(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    contenders = {row.cell.contender for row in rows}
    body: list[list[Entry]] = [
        [
            item.contender.method,
            f"{item.quantity} - {item.against}",
            Shown(item.quantity, item.difference, three),
            _p(item.adjusted_p),
            three(item.detectable),
            "-" if item.prompts_needed is None else f"{item.prompts_needed}",
        ]
        for item in results.comparisons
        if item.contender in contenders
    ]
    if not body:
        return
    note = (
        f"Paired on prompts. p after Holm over the {len(results.comparisons)} comparisons of this "
        "run; detectable: the smallest difference that 8 in 10 experiments of this size find; "
        f"prompts: how many would find the difference seen. {_seeds_note(rows)}"
    )
    header = ["method", "difference", "value", "p", "detectable", "prompts"]
    yield Section("Paired differences", [note, Table(header, body, "llrrrr")])


def _seeds_note(rows: Sequence[Result]) -> str:
    seeds = len({row.cell.seed for row in rows})
    if seeds == 1:
        return "One seed says nothing of how far another training of the same method would land."
    few = "; fewer than 3 say little of that" if seeds < 3 else ""
    return f"Over {seeds} seeds: intervals and p hold for another training as well{few}."


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _engine_checks(rows: Sequence[Result]) -> Iterator[Section]:
    names = {"identical": three, "counted_passes": two, "predicted_passes": two}
    body = [
        [
            row_name(row.cell, rows),
            *(shown(row.numbers, name, form) for name, form in names.items()),
        ]
        for row in rows
        if "identical" in row.numbers
    ]
    if not body:
        return
    header = ["method", "prompts identical to the target alone", "passes counted", "predicted"]
    yield Section("Checks of the engine", [Table(header, body)])


def _by_gamma(rows: Sequence[Result], results: Results) -> Section:
    parts = []
    for temperature in results.recipe["evaluation"]["temperatures"]:
        keys = {g: f"block_efficiency[t={temperature:g},gamma={g}]" for g in GAMMAS}
        body = [
            [row_name(row.cell, rows), *(_value(row, key) for key in keys.values())]
            for row in rows
            if not row.failure
        ]
        header = [f"T={temperature:g}, gamma =", *(str(gamma) for gamma in keys)]
        parts.append(Table(header, body))
    return Section("Block efficiency by block length", parts)


def _by_position(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    evaluation = results.recipe["evaluation"]
    gamma = evaluation["num_speculative_tokens"]
    body = [
        [row_name(row.cell, rows), f"{temperature:g}", kind, *values]
        for row in rows
        for temperature in evaluation["temperatures"]
        for kind in ("marginal", "conditional")
        if any(values := _positions(row, kind, temperature, gamma))
    ]
    header = ["method", "T", "acceptance", *(f"position {p}" for p in range(1, gamma + 1))]
    if not body:
        return
    yield Section("Acceptance by position", [Table(header, body, "lll" + "r" * gamma)])


def _positions(row: Result, kind: str, temperature: float, gamma: int) -> list[Entry]:
    where = f"[t={temperature:g},gamma={gamma},position="
    names = [f"{kind}_acceptance{where}{position}]" for position in range(1, gamma + 1)]
    return [_short(row, name, three, "interval") or "" for name in names]


def _value(row: Result, name: str) -> Entry:
    return _short(row, name, two, "value") or "-"


def _short(
    row: Result, name: str, form: Format, parts: Literal["interval", "value"]
) -> Shown | None:
    return Shown(name, row.numbers[name], form, parts) if name in row.numbers else None


def _ledger(rows: Sequence[Result]) -> Iterator[Section]:
    header = [
        "method",
        "steps",
        "rows",
        "supervised tokens",
        "of these the draft's own",
        "target forward tokens",
        "reference forward tokens",
        "FLOPs (estimate)",
        "seconds",
        "step of the checkpoint kept",
        "peak memory of the process so far, GB",
    ]
    body: list[list[Entry]] = [
        [
            row_name(row.cell, rows),
            f"{row.ledger.steps}",
            f"{row.ledger.rows}",
            f"{row.ledger.supervised_tokens}",
            f"{row.ledger.generated_tokens}",
            f"{row.ledger.target_forward_tokens}",
            f"{row.ledger.reference_forward_tokens}",
            f"{row.ledger.flops:.2e}",
            f"{row.ledger.train_s:.1f}",
            f"{validation_history.kept(row.history)['step']:.0f}" if row.history else "-",
            f"{row.ledger.peak_bytes / 1e9:.2f}",
        ]
        for row in rows
        if row.ledger
    ]
    if body:
        yield Section("What training cost", [Table(header, body)])


def _failures(rows: Sequence[Result]) -> Iterator[Section]:
    body: list[list[Entry]] = [
        [row_name(row.cell, rows), row.failure] for row in rows if row.failure
    ]
    body += [
        [f"{row_name(row.cell, rows)}, speed, {what}", reason]
        for row in rows
        for what, reason in row.speed_failures.items()
    ]
    if body:
        yield Section("Failed", [Table(["method", "reason"], body, "ll")])
    refused: list[list[Entry]] = [
        [f"{row_name(row.cell, rows)}, {what}", reason]
        for row in rows
        for what, reason in row.speed_refusals.items()
    ]
    if refused:
        yield Section("What engines do not do", [Table(["speed of", "reason"], refused, "ll")])
