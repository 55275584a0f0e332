"""From a run to its submissions: one for each draft, on the tasks of a suite."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from draftmark.analysis.board.counts import RATED, Condition, Counts, PromptCounts, counts_of
from draftmark.analysis.board.submission import Header, Submission, folder_name, speed_engine
from draftmark.analysis.board.suite import Suite
from draftmark.analysis.stored_counts import has_published_counts, stored_cell
from draftmark.analysis.stored_runs import SUBMISSION
from draftmark.analysis.summary import quantity_number
from draftmark.errors import UserError, unknown_name_error
from draftmark.results import Cell, Contender, Number, Result, Results
from draftmark.store.reading import read_json
from draftmark.store.speed_records import ENGINE, EngineFacts
from draftmark.text import printable_text

_STAGES = ("draft", "grades", "scores")  # whose entries a submission keeps
_ENGINE_FILES = f"{Path(ENGINE).stem}*{Path(ENGINE).suffix}"  # of all speed conditions


def pack_run(
    results: Results,
    directory: Path,
    suite: Suite,
    *,
    date: str,
    methods: Sequence[str] | None = None,
    name: str | None = None,
) -> Iterator[Submission]:
    """Yield the submission of each pair and method of a run, on the tasks of the suite.

    `name` replaces the draft's name if there is one draft. Raises UserError if the run is of a
    server, if rows failed, or if the prompts are not those of the suite.
    """
    if results.server is not None:
        raise UserError(
            "The run was measured at a server, which writes its own texts: no row of a board pairs "
            "with them. Run a recipe with the suite's prompts."
        )
    drafts = list(dict.fromkeys((row.cell.pair, row.cell.method) for row in results.results))
    known = list(dict.fromkeys(method for _, method in drafts))
    if methods is not None:
        chosen = set(_named(methods, known))
        drafts = [item for item in drafts if item[1] in chosen]
    if name is not None and len(drafts) != 1:
        raise UserError(f"--name is for one draft, not {len(drafts)}: name its method too.")
    for pair, method in drafts:
        yield _pack(results, directory, suite, (pair, method), date, name)


def _named(words: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    """Yield the methods that a list names, which was split at commas: a label may have some."""
    place = 0
    while place < len(words):
        for end in range(len(words), place, -1):
            if (name := ", ".join(words[place:end])) in known:
                yield name
                place = end
                break
        else:
            raise unknown_name_error("method", words[place], known)


def _pack(
    results: Results,
    directory: Path,
    suite: Suite,
    draft: tuple[str, str],
    date: str,
    name: str | None,
) -> Submission:
    pair, method = draft
    data = [
        facts for facts in results.data if facts["pair"] == pair and facts["task"] in suite.tasks
    ]
    tasks = {facts["task"] for facts in data}
    rows = [row for row in results.results if _is_of(row.cell, draft, tasks)]
    _refuse_unfit(rows, data, suite)
    temperatures = results.recipe["evaluation"]["temperatures"]
    counts: dict[Condition, PromptCounts] = {}
    for place, row in enumerate(rows):
        counts |= _counts(row, place, directory, suite, temperatures)
    machine, engines = _machine(rows), _engines(rows, directory)
    header = Header(
        format=1,
        suite=suite.name,
        suite_digest=suite.digest,
        target=folder_name(data[0]["target"]),
        draft=folder_name(name or f"{pair}--{method}"),
        date=date,
        draftmark=str(results.manifest["versions"].get("draftmark") or ""),
        machine=machine,
        engines=engines if machine else {},
    )
    pooled = [item for item in results.pooled if _is_of(item.contender, draft, tasks)]
    packed = replace(
        _without_comparisons(results),
        results=tuple(_row(row, counts, header.engines) for row in rows),
        pooled=tuple(
            replace(it, numbers=_claims(it.numbers, counts, header.engines)) for it in pooled
        ),
        data=tuple(data),
        findings=tuple(
            it for it in results.findings if it.subject in {f"{task}, {pair}" for task in tasks}
        ),
        manifest={**results.manifest, SUBMISSION: header.model_dump()},
    )
    submission = Submission(header, packed, counts)
    is_rounded = any(has_published_counts(row, directory) for row in rows)
    return _claiming_its_counts(submission) if is_rounded else submission


def _claiming_its_counts(submission: Submission) -> Submission:
    """Return a submission whose rates are computed again: published counts are rounded."""
    results = submission.results
    rows = list(results.results)
    for task, places in submission.cells.items():
        for place, found in zip(places, submission.seeds[task].values(), strict=True):
            exact = {key: quantity_number(item) for key, item in found.items()}
            rows[place] = replace(rows[place], numbers=_again(rows[place].numbers, exact))
    pooled = [
        replace(it, numbers=_again(it.numbers, submission.numbers[it.contender.task]))
        for it in results.pooled
    ]
    return replace(submission, results=replace(results, results=tuple(rows), pooled=tuple(pooled)))


def _again(claims: Mapping[str, Number], exact: Mapping[str, Number]) -> dict[str, Number]:
    return {key: exact.get(key, number) for key, number in claims.items()}


def _is_of(item: Cell | Contender, draft: tuple[str, str], tasks: Collection[str]) -> bool:
    return (item.pair, item.method) == draft and item.task in tasks


def _without_comparisons(results: Results) -> Results:
    """Return results without what compares their drafts with each other."""
    return replace(results, comparisons=(), standings=(), block_comparisons=(), block_standings=())


def _refuse_unfit(rows: Sequence[Result], data: Sequence[Mapping[str, Any]], suite: Suite) -> None:
    """Raise UserError if rows failed or are of other prompts than the suite's."""
    if not rows:
        tasks = ", ".join(suite.tasks)
        raise UserError(f"The run has no task of {suite.name}, which are {tasks}.")
    for row in rows:
        if row.failure:
            raise UserError(
                f"{printable_text(row.cell.method)} on {row.cell.task} failed "
                f"({printable_text(row.failure)}); run it again, or pack other methods."
            )
        if not row.provenance.get("text_digests"):
            raise UserError(
                "The run has no hashes of its texts, because an older draftmark made it; run the "
                "recipe again: finished stages are not computed twice."
            )
    for facts in data:
        wanted = suite.tasks[facts["task"]]
        if facts["digest"]["test"] != wanted.digest:
            raise UserError(
                f"{facts['task']} was measured on other prompts than those of {suite.name}: set "
                f"data.test_rows so that there are {len(wanted.prompts)} prompts, from the hub or "
                "the original rows."
            )


def _counts(
    row: Result, place: int, directory: Path, suite: Suite, temperatures: Sequence[float]
) -> Iterator[tuple[Condition, PromptCounts]]:
    """Yield the counts of a cell under each condition of the suite that it has."""
    names = tuple(suite.tasks[row.cell.task].prompts)
    for temperature in suite.temperatures:
        if temperature not in temperatures:
            continue
        cell = stored_cell(row, directory, temperature, decimals=None)
        if cell.prompts != names:
            raise UserError(f"The counts of {row.records} are not of the suite's prompts.")
        for rule in cell.verifications if temperature else ("standard",):
            for gamma in suite.gammas if rule in suite.verifications else ():
                sums = cell.blocks(gamma, verification=rule)
                yield Condition(place, temperature, gamma, rule), counts_of(sums)


def _row(row: Result, counts: Counts, engines: Collection[str]) -> Result:
    """Return a row with its claims, and with the entries of the draft and of its scores."""
    entries = [e for e in row.provenance.get("entries", ()) if e["stage"] in _STAGES]
    return replace(
        row,
        numbers=_claims(row.numbers, counts, engines),
        provenance={**row.provenance, "entries": entries},
        records="",
        history=(),
        speed_failures={},
        speed_refusals={},
    )


def _claims(
    numbers: Mapping[str, Number], counts: Counts, engines: Collection[str]
) -> dict[str, Number]:
    """Return the numbers that a submission claims: rates of its conditions, and speedups."""
    wanted = {at.key(rate) for at in counts for rate in RATED}
    return {
        key: number
        for key, number in numbers.items()
        if key in wanted or speed_engine(key) in engines
    }


def _machine(rows: Sequence[Result]) -> str:
    """Return the machine that all speeds were measured on; empty without one or with several."""
    found = {
        describe_machine(entry["manifest"]["hardware"])
        for row in rows
        for entry in row.provenance.get("entries", ())
        if entry["stage"] == "decodes" and entry["manifest"]
    }
    return found.pop() if len(found) == 1 else ""


def _engines(rows: Sequence[Result], directory: Path) -> dict[str, str]:
    """Return the version of each engine that measured speeds, unless it had several versions."""
    found: dict[str, set[str]] = {}
    for row in rows:
        reported = _reported_versions(directory / row.records)
        for entry in row.provenance.get("entries", ()):
            if entry["stage"] == "decodes" and entry["manifest"]:
                engine = entry["settings"]["engine"]
                versions = entry["manifest"]["versions"] | reported.get(engine, {})
                found.setdefault(engine, set()).add(describe_version(engine, versions))
    return {engine: versions.pop() for engine, versions in found.items() if len(versions) == 1}


def _reported_versions(records: Path) -> dict[str, dict[str, str]]:
    """Return the versions that engines with processes of their own reported, such as vLLM's."""
    facts = [read_json(path, EngineFacts) for path in sorted(records.glob(_ENGINE_FILES))]
    return {item.engine: item.draft.get("resolved", {}).get("versions", {}) for item in facts}


def describe_version(engine: str, versions: Mapping[str, str | None]) -> str:
    """Return the version of an engine, and of the torch that it computes with, in one line."""
    own = engine if versions.get(engine) else "draftmark"
    return ", ".join(f"{name} {versions[name]}" for name in (own, "torch") if versions.get(name))


def describe_machine(hardware: Mapping[str, Any]) -> str:
    """Return the processor, cores and accelerators of a machine in one line."""
    parts = [hardware.get("processor"), f"{hardware.get('cores', '?')} cores"]
    return ", ".join(filter(None, [*parts, *hardware.get("accelerators", ())]))
