"""Speed records of a stored run: the time ratio of each block, and separately timed passes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from draftmark.analysis.served_speed import served_ratios
from draftmark.analysis.speeds import block_ratios, speed_key, unmeasured_numbers
from draftmark.analysis.stored_counts import read_record, stored_cell, stored_requests
from draftmark.config.sections import Speed, SpeedCondition
from draftmark.config.validation import validate_section
from draftmark.results import Cell, Result, Results
from draftmark.speculation.blocks import Convention
from draftmark.speculation.engine_counts import described_convention
from draftmark.store.reading import explained, read_json
from draftmark.store.records import DECODES, read_decodes
from draftmark.store.served_records import ServedRequest
from draftmark.store.speed_records import (
    ENGINE,
    PARTS,
    RUNS,
    EngineFacts,
    Measurement,
    TimedPass,
    read_parts,
    read_runs,
)


def condition_file(number: int, name: str) -> str:
    """Return the file name in a results folder for the recipe's speed condition `number`."""
    return name.replace(".", f"-{number}.") if number else name


def stored_convention(folder: Path) -> Convention:
    """Return the convention of a cell's first engine, by default the reference engine's."""
    file = folder / ENGINE
    recorded = read_json(file, EngineFacts).draft if file.is_file() else {}
    with explained(file):
        return described_convention(recorded)


def stored_engines(result: Result, directory: Path) -> list[EngineFacts]:
    """Return the facts of the engines that measured a cell, in the order of their files."""
    files = sorted((directory / result.records).glob("engine*.json")) if result.records else []
    return [read_json(file, EngineFacts) for file in files]


def stored_measurements(
    rows: Sequence[Result], directory: Path, speed: Mapping[str, Any] | None
) -> dict[Cell, dict[SpeedCondition, Measurement]]:
    """Return the speed measurements of every cell, {} for a cell without one.

    `speed` is the `speed` section of the stored recipe. Raises UserError if a record is damaged.
    """
    conditions = stored_conditions(speed, directory) if speed else ()
    return {row.cell: dict(_measurements(row, directory, conditions)) for row in rows}


def _measurements(
    row: Result, directory: Path, conditions: Sequence[SpeedCondition]
) -> Iterator[tuple[SpeedCondition, Measurement]]:
    for number, condition in enumerate(conditions if row.records else ()):
        decodes, runs, engine = (condition_file(number, name) for name in (DECODES, RUNS, ENGINE))
        files = [directory / row.records / name for name in (decodes, runs, engine)]
        if all(file.is_file() for file in files):
            timed = read_record(row, directory, decodes, read_decodes)
            clock = read_record(row, directory, runs, read_runs)
            yield condition, Measurement(timed, clock, read_json(files[-1]))


def stored_passes(result: Result, directory: Path) -> list[TimedPass]:
    """Return the timed passes of a cell; empty if passes were not timed or timing failed.

    Raises UserError if the file is damaged.
    """
    if not (directory / result.records / PARTS).is_file():
        return []
    return read_record(result, directory, PARTS, lambda path: read_parts(path.parent))


def with_unmeasured_numbers(results: Results, directory: Path) -> Results:
    """Return results with the numbers of speed that need no engine, computed from stored records.

    Results of earlier versions lack them where the engine refused a draft.
    """
    section = results.recipe.get("speed")
    if not section:
        return results
    speed = _speed(section, directory)
    rows = [_with_unmeasured(row, directory, speed) for row in results.results]
    return replace(results, results=tuple(rows))


def _with_unmeasured(row: Result, directory: Path, speed: Speed) -> Result:
    passes = [] if row.failure else stored_passes(row, directory)
    if not passes:
        return row
    temperatures = {condition.temperature for condition in speed.conditions()}
    counted = {t: stored_cell(row, directory, t) for t in temperatures}
    return replace(row, numbers={**row.numbers, **unmeasured_numbers(speed, passes, counted)})


def _speed(section: Mapping[str, Any], directory: Path) -> Speed:
    return validate_section(Speed, dict(section), f"the recipe in {directory}")


def stored_conditions(speed: Mapping[str, Any], directory: Path) -> tuple[SpeedCondition, ...]:
    """Return the speed conditions of a stored recipe's `speed` section, in order."""
    return _speed(speed, directory).conditions()


def stored_ratios(
    result: Result, directory: Path, speed: Mapping[str, Any]
) -> Iterator[tuple[SpeedCondition, list[float]]]:
    """Yield each speed condition that has a speedup, with the time ratio of each block.

    `speed` is the `speed` section of the stored recipe. Missing records are skipped; damaged ones
    raise UserError.
    """
    if served := stored_requests(result, directory):
        yield from _served_ratios(served, result, directory, speed)
        return
    for number, condition in enumerate(stored_conditions(speed, directory)):
        decodes, runs = (condition_file(number, name) for name in (DECODES, RUNS))
        here = all((directory / result.records / name).is_file() for name in (decodes, runs))
        if here and speed_key("speedup", condition.label) in result.numbers:
            timed = read_record(result, directory, decodes, read_decodes)
            clock = read_record(result, directory, runs, read_runs)
            yield condition, block_ratios(Measurement(timed, clock, {}))


def _served_ratios(
    requests: Sequence[ServedRequest], result: Result, directory: Path, speed: Mapping[str, Any]
) -> Iterator[tuple[SpeedCondition, list[float]]]:
    """Yield the conditions of a measured server that have a speedup, with their ratios."""
    for number, condition in enumerate(stored_conditions(speed, directory)):
        if speed_key("speedup", condition.label) in result.numbers:
            clock = read_record(result, directory, condition_file(number, RUNS), read_runs)
            mine = [item for item in requests if item.concurrency == condition.batch_size]
            yield condition, served_ratios(mine, clock)
