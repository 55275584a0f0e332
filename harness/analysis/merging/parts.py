"""The runs that a merged result is made of, each with its rows, recipe, data and manifest.

A merged result keeps what belongs to each of its runs, so merging it with others is the same as
merging all of the runs at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from draftmark.analysis.board.packing import describe_machine
from draftmark.analysis.fairness import fairness_findings
from draftmark.analysis.stored_speed import stored_engines, stored_measurements
from draftmark.config.recipe import Recipe
from draftmark.config.validation import validate_section
from draftmark.errors import UserError
from draftmark.results import Cell, Contender, Finding, Pooled, Result, Results
from draftmark.store.graph import json_digest
from draftmark.store.reading import adapter, explained
from draftmark.store.run_folder import RESULTS, load_results

MERGED, RUN = "merged", "run"  # keys of a merged result: in its manifest, in a row's provenance
_ENGINES = ("torch", "transformers")  # packages that engines in this process run on
_TIMED = ("decodes", "parts")  # the stages that measure times


@dataclass(frozen=True)
class RunRecord:
    """What a merged result keeps of one of its runs."""

    digest: str  # of its results, by which a row names its run
    name: str
    title: str
    recipe: Mapping[str, Any]
    data: Sequence[Mapping[str, Any]]
    manifest: Mapping[str, Any]
    earlier: Sequence[Finding]  # those that no check of results can find again
    timed_on: Mapping[str, Sequence[str]]  # machines, and versions of engines; {} without times


@dataclass(frozen=True)
class Part:
    """A run and its rows, which may lie in the folder of a merged result."""

    record: RunRecord
    rows: Sequence[Result]
    pooled: Sequence[Pooled]  # of all rows in the folder
    folder: Path
    source: Path  # what the user named: the folder, or a file that was unpacked there

    @property
    def label(self) -> str:
        """The run in messages."""
        return f"{self.source} ({self.record.title})"

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, with keys that are newer than the run at their defaults."""
        recipe: Recipe = validate_section(
            Recipe, dict(self.record.recipe), f"the recipe in {self.folder}"
        )
        return recipe

    @property
    def cells(self) -> Mapping[Cell, Result]:
        """The rows by cell."""
        return {row.cell: row for row in self.rows}

    @property
    def done(self) -> list[Result]:
        """The rows that did not fail."""
        return [row for row in self.rows if not row.failure]

    def pooled_of(self, contender: Contender, seeds: Sequence[int]) -> Pooled | None:
        """Return the stored numbers of a contender over exactly these seeds, if there are any."""
        same = (it for it in self.pooled if (it.contender, list(it.seeds)) == (contender, [*seeds]))
        return next(same, None)


def open_parts(folders: Mapping[Path, Path]) -> list[Part]:
    """Return the runs in folders, those of merged results one by one, each run once.

    `folders` maps each folder to what the user named. The order of the runs does not depend on
    theirs. Raises UserError for damaged results, and
    for those of a server.
    """
    found: dict[str, list[Part]] = {}
    for folder, source in folders.items():
        for part in _parts(folder, source, load_results(folder)):
            found.setdefault(part.record.digest, []).append(part)
    # One run may lie in several folders, with fewer rows where another run had the same cells.
    fullest = [max(parts, key=lambda part: len(part.rows)) for parts in found.values()]
    return sorted(fullest, key=lambda part: (not part.record.timed_on, part.record.digest))


def _parts(folder: Path, source: Path, results: Results) -> Iterator[Part]:
    if results.server is not None:
        raise UserError(
            f"{source} was measured at a server, which writes its own texts: no other run pairs "
            "with it. Leave it out, or use draftmark compare."
        )
    merged = results.manifest.get(MERGED)
    if merged is None:
        yield Part(_record(folder, results), results.results, results.pooled, folder, source)
        return
    with explained(folder / RESULTS, "merge its runs again"):
        records = adapter(list[RunRecord]).validate_python(merged["runs"])
    for record in records:
        rows = [row for row in results.results if row.provenance.get(RUN) == record.digest]
        yield Part(record, rows, results.pooled, folder, source)


def _record(folder: Path, results: Results) -> RunRecord:
    return RunRecord(
        digest=json_digest(asdict(results)),
        name=results.name,
        title=results.title,
        recipe=results.recipe,
        data=results.data,
        manifest=results.manifest,
        earlier=_earlier(folder, results),
        timed_on=_timed_on(folder, results.results),
    )


def _earlier(folder: Path, results: Results) -> list[Finding]:
    """Return the findings of the checks before a run, which its results alone do not show."""
    recipe = validate_section(Recipe, dict(results.recipe), f"the recipe in {folder}")
    speeds = stored_measurements(results.results, folder, results.recipe.get("speed"))
    again = fairness_findings(recipe, results.results, speeds, results.data)
    known = {(item.subject, item.text) for item in again}
    return [item for item in results.findings if (item.subject, item.text) not in known]


def _timed_on(folder: Path, rows: Sequence[Result]) -> dict[str, list[str]]:
    """Return the machines and the versions of engines of all speed measurements of a run."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for entry in row.provenance.get("entries", ()):
            if entry["stage"] in _TIMED and entry["manifest"]:
                manifest = entry["manifest"]
                found.setdefault("machine", set()).add(_machine(manifest))
                for name in _ENGINES:
                    found.setdefault(name, set()).add(str(manifest["versions"].get(name)))
        for facts in stored_engines(row, folder):
            for name, version in facts.draft.get("versions", {}).items():
                found.setdefault(name, set()).add(str(version))
    return {name: sorted(values) for name, values in found.items()}


def _machine(manifest: Mapping[str, Any]) -> str:
    threads = f", {manifest['threads']} threads" if manifest.get("threads") else ""
    return describe_machine(manifest["hardware"]) + threads
