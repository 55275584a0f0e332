"""The leaderboard of a task and pair: the table of methods, then explaining sections."""

from collections.abc import Iterator, Sequence

from draftmark.analysis import validation_history
from draftmark.analysis.quantities import Terms, quantity_key
from draftmark.analysis.summary import GAIN
from draftmark.analysis.titles import key_title, terms_title
from draftmark.reports._shared.breakdown import breakdown_sections
from draftmark.reports._shared.checks import error_alerts, verdict_alerts
from draftmark.reports._shared.content import (
    Alert,
    Entry,
    Rows,
    Section,
    Table,
    TableNumber,
    table_section,
)
from draftmark.reports._shared.coverage import seeds_note, weight_notes
from draftmark.reports._shared.literature import literature_sections
from draftmark.reports._shared.quality import quality_sections
from draftmark.reports._shared.rows import (
    LEDGER_COUNTS,
    ONE_SEED,
    first_speed_settings,
    gamma_of,
    group_by,
    headline_columns,
    number_entry,
    row_name,
    served_note,
    speed_reasons,
    speedup_gammas,
    table_lines,
    temperatures_of,
    trains_nothing,
    ways_of_drafting,
)
from draftmark.reports._shared.search import learning_rates_section
from draftmark.results import Result, Results

GAMMAS = (1, 2, 3, 4, 5, 8, 16)


def board_sections(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    """Yield the sections on the cells of a task and pair; the first is the table of methods."""
    yield _methods(rows, results)
    yield from _differences(rows, results)
    yield from breakdown_sections(rows, results)
    yield from literature_sections(rows, results)
    yield from quality_sections(rows, results)
    yield from _engine_checks(rows)
    yield _by_gamma(rows, results)
    if results.verification == "standard":
        yield from _under_block(rows, results)
    yield from _by_position(rows, results)
    yield from _training(rows)
    yield from learning_rates_section(rows)
    yield from _failures(rows)


def _methods(rows: Sequence[Result], results: Results) -> Section:
    gamma, temperatures = gamma_of(results), temperatures_of(results)
    columns = [
        column
        for column in headline_columns(temperatures, [results])
        if not column.quantity.startswith("quality") or _is_graded(rows, results)
    ]
    body = [
        [name, *(number_entry(numbers, c.key(gamma), c.decimals) for c in columns), groups]
        for name, numbers, groups in table_lines(rows, results)
    ]
    notes = (
        "Brackets: 95% intervals over prompts; n = prompts (for the speedup: A B B A runs).",
        *_coverage_notes(body, rows),
        f"Blocks of {gamma} drafted tokens.",
        "Methods that share a group's letter do not differ significantly in block efficiency "
        "(paired on prompts, 5% for all pairs together).",
        *served_note(results),
        *_block_note(rows, results),
        *_speed_note(rows, results),
        *_target_note(rows),
    )
    groups = "groups" + "".join(f", T={t:g}" for t in temperatures)
    methods = Table(["method", *(column.heading for column in columns), groups], body)
    alerts = (*error_alerts(results), *_on_texts(rows, results), *_unmoved(rows))
    return Section("", [methods, *alerts, " ".join(notes)])


def _is_graded(rows: Sequence[Result], results: Results) -> bool:
    """True unless the results say that answers of the task are not graded: it has no quality."""
    tasks = {row.cell.task for row in rows}
    return all(facts.get("graded", True) for facts in results.data if facts["task"] in tasks)


def _coverage_notes(body: Rows, rows: Sequence[Result]) -> Iterator[str]:
    """Yield notes on the numbers of a table whose intervals cover more or less than they say."""
    shown = [entry for line in body for entry in line if isinstance(entry, TableNumber)]
    yield from weight_notes([it.number for it in shown if not it.key.startswith("speedup")])
    if note := seeds_note(len({row.cell.seed for row in rows})):
        yield note


def _speed_note(rows: Sequence[Result], results: Results) -> Iterator[str]:
    if results.recipe["speed"]:
        speed = first_speed_settings(results.recipe["speed"])
        gammas = sorted(speedup_gammas(rows)) or [speed["num_speculative_tokens"]]
        dtype = f", {speed['dtype']}" if results.server is None and "dtype" in speed else ""
        yield (
            f"Speedup: {speed['engine']} engine, temperature {speed['temperature']:g}, blocks of "
            f"{' or '.join(map(str, gammas))}{dtype}, {speed['blocks']} A B B A runs; in "
            "the advice its interval holds for all drafts and block lengths together."
        )


def _target_note(rows: Sequence[Result]) -> Iterator[str]:
    for row in rows:
        if "quality_target" in row.numbers:
            yield f"Quality of the target alone: {number_entry(row.numbers, 'quality_target', 3)}."
            return


def _on_texts(rows: Sequence[Result], results: Results) -> Iterator[Alert]:
    for task, pair in dict.fromkeys((row.cell.task, row.cell.pair) for row in rows):
        yield from verdict_alerts(results, task, pair)


def _unmoved(rows: Sequence[Result]) -> Iterator[Alert]:
    """Yield an alert with the drafts that training did not improve, if any."""
    still = [row.cell for row in rows if validation_history.learned_nothing(row.history)]
    names = [
        _with_seeds(method, [cell.seed for cell in cells], rows)
        for method, cells in group_by(still, lambda cell: cell.method).items()
    ]
    if names:
        best = "step 0 has the best validation"
        yield Alert(f"Learned nothing: {'; '.join(names)} ({best}).")


def _with_seeds(method: str, seeds: Sequence[int], rows: Sequence[Result]) -> str:
    """Return a method's name, with its seeds unless they are all that it has."""
    if len(seeds) == sum(row.cell.method == method for row in rows):
        return method
    return f"{method}, seed{'s' * (len(seeds) > 1)} {' and '.join(map(str, seeds))}"


def _differences(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    contenders = {row.cell.contender for row in rows}
    body: list[list[Entry]] = [
        [
            item.contender.method,
            f"{key_title(item.quantity)}, minus {item.against}",
            TableNumber(item.quantity, item.difference, 3),
            "< 0.001" if item.adjusted_p < 0.001 else f"{item.adjusted_p:.3f}",
            "-" if item.detectable is None else f"{item.detectable:.3f}",
            "-" if item.prompts_needed is None else f"{item.prompts_needed}",
        ]
        for item in results.comparisons
        if item.contender in contenders
    ]
    note = (
        f"Paired on prompts. p: adjusted by Holm over the {len(results.comparisons)} comparisons "
        "of this run. Detectable: the difference that 8 in 10 experiments of this size detect; "
        "-: none, on so few prompts, or unknown, where all agree on a difference. "
        f"Prompts: the number needed to detect the observed difference. {_seeds_note(rows)}"
    ).rstrip()
    header = ["method", "difference", "value", "p", "detectable", "prompts"]
    yield from table_section("Paired differences", [note], header, body, "llrrrr")


def _seeds_note(rows: Sequence[Result]) -> str:
    seeds = len({row.cell.seed for row in rows})
    if trains_nothing(rows):
        return ""
    if seeds == 1:
        return ONE_SEED
    few = "; fewer than 3 seeds estimate it poorly" if seeds < 3 else ""
    return f"{seeds} seeds: intervals and p cover the variation between training runs{few}."


def _engine_checks(rows: Sequence[Result]) -> Iterator[Section]:
    columns = {"identical": 3, "counted_passes": 2, "predicted_passes": 2}
    body = [
        [row_name(row.cell, rows), *(number_entry(row.numbers, *item) for item in columns.items())]
        for row in rows
        if "identical" in row.numbers
    ]
    header = ["method", "prompts identical to the target alone", "passes counted", "predicted"]
    yield from table_section("Checks of the engine", [], header, body)


def _by_gamma(rows: Sequence[Result], results: Results) -> Section:
    parts = []
    for temperature, draft, how in _ways(results):
        keys = [
            quantity_key("block_efficiency", temperature, gamma, draft=draft) for gamma in GAMMAS
        ]
        body: list[list[Entry]] = [
            [row_name(row.cell, rows), *(_value(row, key) for key in keys)]
            for row in rows
            if not row.failure
        ]
        parts.append(Table([f"T={temperature:g}{how}, blocks of", *map(str, GAMMAS)], body))
    return Section("Block efficiency by block length", parts)


def _under_block(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    """Yield the table of block efficiency under block verification, if that differs anywhere."""
    gamma = gamma_of(results)
    body: list[list[Entry]] = [
        [
            row_name(row.cell, rows),
            f"{temperature:g}",
            *(_value(row, at.key("block_efficiency", length)) for length in GAMMAS),
            TableNumber(gain, row.numbers[gain], 3),
        ]
        for temperature in temperatures_of(results)
        for at in [Terms(temperature, None, "block")]
        for gain in [quantity_key(GAIN, temperature, gamma)]
        for row in rows
        if gain in row.numbers and not row.failure
    ]
    note = (
        "Block verification accepts the drafted tokens of a block jointly (vLLM: "
        "rejection_sample_method = block). It changes nothing at temperature 0, nor for drafts "
        "that are not sampled. Every report has its numbers with --verification block."
    )
    lengths = [f"blocks of {length}" for length in GAMMAS]
    header = ["method", "T", *lengths, f"added, blocks of {gamma}"]
    columns = "ll" + "r" * (len(GAMMAS) + 1)
    yield from table_section("Under block verification", [note], header, body, columns)


def _block_note(rows: Sequence[Result], results: Results) -> Iterator[str]:
    """Yield what block verification would add to the block efficiency of the table."""
    for temperature in temperatures_of(results) if results.verification == "standard" else ():
        key = quantity_key(GAIN, temperature, gamma_of(results))
        gains = [row.numbers[key].value for row in rows if key in row.numbers]
        if any(gains):
            least, most = (f"{value:+.2f}" for value in (min(gains), max(gains)))
            range_ = most if least == most else f"{least} to {most}"
            yield (
                "Blocks are verified token by token, as servers do by default; block verification "
                f"would change block efficiency at T={temperature:g} by {range_}."
            )


def _ways(results: Results) -> Iterator[tuple[float, str | None, str]]:
    """Yield each temperature with each way of drafting there, and its words."""
    for temperature in temperatures_of(results):
        for draft, how in ways_of_drafting([results], temperature).items():
            yield temperature, draft, how


def _value(row: Result, key: str) -> Entry:
    return TableNumber(key, row.numbers[key], 2, "value") if key in row.numbers else "-"


def _by_position(rows: Sequence[Result], results: Results) -> Iterator[Section]:
    gamma = gamma_of(results)
    body = [
        [row_name(row.cell, rows), f"{temperature:g}{how}", kind, *values]
        for row in rows
        for temperature, draft, how in _ways(results)
        for kind in ("marginal", "conditional")
        if any(values := _positions(row, kind, Terms(temperature, draft), gamma))
    ]
    header = ["method", "T", "acceptance", *(f"position {p}" for p in range(1, gamma + 1))]
    yield from table_section("Acceptance by position", [], header, body, "lll" + "r" * gamma)


def _positions(row: Result, kind: str, at: Terms, gamma: int) -> list[Entry]:
    keys = [at.key(f"{kind}_acceptance", gamma, position) for position in range(1, gamma + 1)]
    found = row.numbers
    return [TableNumber(key, found[key], 3, "interval") if key in found else "" for key in keys]


def _training(rows: Sequence[Result]) -> Iterator[Section]:
    header = [
        "method",
        *LEDGER_COUNTS.values(),
        "FLOPs (estimate)",
        "seconds",
        "step of the checkpoint kept",
        "peak memory of the process so far, GB",
    ]
    body: list[list[Entry]] = [
        [
            row_name(row.cell, rows),
            *(f"{getattr(row.ledger, name)}" for name in LEDGER_COUNTS),
            f"{row.ledger.flops:.2e}",
            f"{row.ledger.train_s:.1f}",
            f"{validation_history.kept_point(row.history)['step']:.0f}" if row.history else "-",
            f"{row.ledger.peak_bytes / 1e9:.2f}",
        ]
        for row in rows
        if row.ledger
    ]
    yield from table_section("What training cost", [], header, body)


def _failures(rows: Sequence[Result]) -> Iterator[Section]:
    cells: list[list[Entry]] = [[row_name(r.cell, rows), r.failure] for r in rows if r.failure]
    failures, refusals = (speed_reasons(rows, f"speed_{kind}") for kind in ("failures", "refusals"))
    failed = [[f"{name}, speed, {terms_title(what)}", reason] for name, what, reason in failures]
    yield from table_section("Failed", [], ["method", "reason"], [*cells, *failed], "ll")
    refused = [[f"{name}, {terms_title(what)}", reason] for name, what, reason in refusals]
    header = ["speed of", "reason"]
    yield from table_section("Not supported by the engine", [], header, refused, "ll")
