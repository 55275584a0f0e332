"""Several runs as one result, as if one run had made all of their cells.

Every cell keeps the numbers of its run. Comparisons, groups, checks of fairness, and numbers over
seeds of several runs are computed anew from the records. The result depends on the set of runs
alone: neither on their order, nor on whether some of them were merged before.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from draftmark import registry
from draftmark.analysis.comparisons import (
    Seeds,
    by_contender,
    compare_contenders,
    rank_contenders,
)
from draftmark.analysis.fairness import fairness_findings
from draftmark.analysis.merging.agreement import require_agreement
from draftmark.analysis.merging.joint_data import joint_data, joint_manifest
from draftmark.analysis.merging.parts import MERGED, RUN, Part, open_parts
from draftmark.analysis.merging.recipe import joint_recipe
from draftmark.analysis.merging.speed import KeptSpeed, kept_speed, without_speed
from draftmark.analysis.quantities import GAMMAS
from draftmark.analysis.stored_records import stored_quantities
from draftmark.analysis.stored_speed import stored_measurements
from draftmark.analysis.summary import pool_seeds
from draftmark.config.recipe import Recipe
from draftmark.config.sections import SpeedCondition
from draftmark.config.validation import validate_section
from draftmark.results import Cell, Contender, Finding, Number, Pooled, Result, Results
from draftmark.store.files import copy_file
from draftmark.store.reading import adapter
from draftmark.store.run_folder import RECORDS, load_results, save_results
from draftmark.store.speed_records import Measurement
from draftmark.types import Task


@dataclass(frozen=True)
class Merged:
    """A merged result, and the folder of each cell's records."""

    results: Results
    records: Mapping[Cell, Path]
    speed: KeptSpeed

    def save(self, directory: Path) -> None:
        """Write the results, and copies of all records, into a folder."""
        for row in self.results.results:
            if row.records:
                self._copy(self.records[row.cell], directory / row.records)
        save_results(self.results, directory)

    def _copy(self, source: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        for file in sorted(source.iterdir()):
            if file.is_file() and self.speed.has_file(file.name):
                copy_file(file, folder / file.name)


def merge_runs(folders: Mapping[Path, Path], against: str | None = None) -> Merged:
    """Return the result of all cells in run folders; `against` is the method to compare with.

    `folders` maps each folder to what the user named: the folder, or a file that was unpacked
    there. Raises UserError if the runs differ in what they must share, by its name.
    """
    parts = open_parts(folders)
    if len({part.folder for part in parts}) == 1 and against is None:
        return _one_result(parts)
    require_agreement(parts)
    speed = kept_speed(parts)
    document = joint_recipe(parts, speed.section, against)
    recipe: Recipe = validate_section(Recipe, document, "the merged recipe")
    chosen = _chosen(parts, recipe)
    rows = tuple(_joint_row(*item, number, speed) for number, item in enumerate(chosen))
    data = joint_data(parts)
    in_order = tuple(data[place] for place in _places(recipe) if place in data)
    contenders = _contenders(chosen, recipe)
    results = Results(
        name=" + ".join(sorted({part.record.name for part in parts})),
        title=recipe.title,
        recipe=document,
        results=rows,
        pooled=tuple(_pooled(parts, chosen, recipe, speed)),
        comparisons=compare_contenders(contenders, recipe),
        standings=rank_contenders(contenders, recipe),
        data=in_order,
        manifest={**joint_manifest(parts), MERGED: _origin(parts, speed)},
        findings=_findings(parts, recipe, rows, in_order, speed),
        block_comparisons=compare_contenders(contenders, recipe, "block"),
        block_standings=rank_contenders(contenders, recipe, "block"),
    )
    places = {row.cell: part.folder / row.records for row, part in chosen if row.records}
    # As a reader has them: whole numbers that are computed here become floats, as all others are.
    return Merged(adapter(Results).validate_python(asdict(results)), places, speed)


def _one_result(parts: Sequence[Part]) -> Merged:
    """Return the result in one folder, as it is."""
    folder = parts[0].folder
    results, speed = load_results(folder), kept_speed(parts)
    places = {row.cell: folder / row.records for row in results.results if row.records}
    if MERGED not in results.manifest:
        digest = parts[0].record.digest
        rows = (replace(r, provenance={**r.provenance, RUN: digest}) for r in results.results)
        manifest = {**results.manifest, MERGED: _origin(parts, speed)}
        results = replace(results, results=tuple(rows), manifest=manifest)
    return Merged(results, places, replace(speed, left_out=""))


def _chosen(parts: Sequence[Part], recipe: Recipe) -> list[tuple[Result, Part]]:
    """Return every cell's row, in the recipe's order, from the first run in which it succeeded."""
    found: dict[Cell, tuple[Result, Part]] = {}
    for part in parts:
        for row in part.rows:
            if row.cell not in found or (found[row.cell][0].failure and not row.failure):
                found[row.cell] = row, part
    return [found[cell] for cell in recipe.cells() if cell in found]


def _joint_row(row: Result, part: Part, number: int, speed: KeptSpeed) -> Result:
    return replace(
        speed.row(row),
        provenance={**row.provenance, RUN: part.record.digest},
        records=f"{RECORDS}/{number:02d}" if row.records else "",
    )


def _places(recipe: Recipe) -> list[tuple[str, str]]:
    return [(task, pair.name) for task in recipe.tasks for pair in recipe.pairs]


def _contenders(
    chosen: Iterable[tuple[Result, Part]], recipe: Recipe, gammas: Iterable[int] = ()
) -> dict[Contender, Seeds]:
    """Return the quantities of each contender's seeds, from the records of its cells.

    They are of the recipe's block length, by which contenders are compared, and of `gammas`.
    """
    return by_contender(
        {
            row.cell: stored_quantities(row, part.folder, recipe, _task(row.cell.task), gammas)
            for row, part in chosen
            if not row.failure
        }
    )


def _task(name: str) -> Task:
    task: Task = registry.find_registered("tasks", name)
    return task


def _pooled(
    parts: Sequence[Part],
    chosen: Sequence[tuple[Result, Part]],
    recipe: Recipe,
    speed: KeptSpeed,
) -> Iterator[Pooled]:
    """Yield the numbers over the seeds of each contender that has several."""
    done = [item for item in chosen if not item[0].failure]
    for contender in dict.fromkeys(row.cell.contender for row, _ in done):
        own = [item for item in done if item[0].cell.contender == contender]
        seeds = tuple(row.cell.seed for row, _ in own)
        if len(seeds) < 2:
            continue
        known = next(filter(None, (part.pooled_of(contender, seeds) for part in parts)), None)
        if known:
            numbers = dict(without_speed(known.numbers) if speed.left_out else known.numbers)
        else:
            by_seed = _contenders(own, recipe, GAMMAS)[contender]
            numbers = _numbers_over(by_seed, [speed.row(row).numbers for row, _ in own])
        yield Pooled(contender, seeds, numbers)


def _numbers_over(seeds: Seeds, of_seeds: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """Return numbers over seeds of several runs.

    What their records do not show any more is there if all seeds have the same number.
    """
    speedups = [numbers["speedup"] for numbers in of_seeds if "speedup" in numbers]
    found = pool_seeds(list(seeds.values()), speedups)
    same = {
        key: number
        for key, number in without_speed(of_seeds[0]).items()
        if key not in found and all(numbers.get(key) == number for numbers in of_seeds)
    }
    in_order = dict.fromkeys(["speedup", *of_seeds[0], *found])
    both = {**same, **found}
    return {key: both[key] for key in in_order if key in both}


def _findings(
    parts: Sequence[Part],
    recipe: Recipe,
    rows: Sequence[Result],
    data: Sequence[Mapping[str, Any]],
    speed: KeptSpeed,
) -> tuple[Finding, ...]:
    """Return the findings of the checks on all cells together, and those of each run's start."""
    speeds: dict[Cell, Mapping[SpeedCondition, Measurement]] = {row.cell: {} for row in rows}
    for part in () if speed.left_out else parts:
        speeds |= stored_measurements(part.rows, part.folder, speed.section)
    earlier = {(it.subject, it.text): it for part in parts for it in part.record.earlier}
    if speed.left_out:
        for task, pair in dict.fromkeys((row.cell.task, row.cell.pair) for row in rows):
            note = Finding("note", f"{task}, {pair}", speed.left_out)
            earlier[note.subject, note.text] = note
    return fairness_findings(recipe, rows, speeds, data, tuple(earlier.values()))


def _origin(parts: Sequence[Part], speed: KeptSpeed) -> dict[str, Any]:
    return {"runs": [asdict(part.record) for part in parts], "left_out": speed.left_out}
