"""A measured server as a run: its folder has the results and records that reports read.

Each draft is a contender with the label that the user gave. A folder takes several, measured one
after the other with the same prompts and settings; their comparisons are paired on prompts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from draftmark.analysis.categories import category_quantities
from draftmark.analysis.comparisons import by_contender, compare_contenders, rank_contenders
from draftmark.analysis.quantities import Quantity, quantity_key
from draftmark.analysis.served_counts import served_counts, served_quantities
from draftmark.analysis.served_speed import served_speed_numbers
from draftmark.analysis.stored_counts import read_record, stored_requests
from draftmark.analysis.stored_speed import condition_file
from draftmark.analysis.summary import quantity_number
from draftmark.analysis.text_artefacts import DEFINITIONS as ARTEFACTS
from draftmark.analysis.text_artefacts import artefacts
from draftmark.config.recipe import Recipe
from draftmark.config.sections import Speed
from draftmark.config.validation import validate_section
from draftmark.data.rows import Rows
from draftmark.engines.measure.endpoint import Endpoint
from draftmark.engines.measure.endpoint_lines import no_counts, timing_faults
from draftmark.engines.measure.endpoint_load import Load, Measurement
from draftmark.environment import manifest, project_state
from draftmark.errors import UserError
from draftmark.results import Cell, Finding, Number, Result, Results
from draftmark.speculation.blocks import VLLM
from draftmark.store.files import remove_odd_files, write_json
from draftmark.store.records import write_rows
from draftmark.store.run_folder import RECORDS, RESULTS, SUMS, load_results, save_results
from draftmark.store.served_records import REQUESTS, ServedRequest, write_requests
from draftmark.store.speed_records import ENGINE, RUNS, TimedRun, read_runs
from draftmark.types import Arm, Task, conversation_of

_NO_BLOCK = (
    "the server does not say how many tokens it drafts in a row, so the block length here is the "
    "least that fits its counts; name it with --num-speculative-tokens"
)
Runs = Sequence[tuple[Load, Mapping[Arm, Measurement]]]


@dataclass(frozen=True)
class ServedRun:
    """What is measured of a server: a task's prompts, under loads that differ in concurrency.

    `block` is the number of drafted tokens in a row, where the server does not say it.
    """

    endpoint: Endpoint
    task: Task
    rows: Rows
    label: str
    loads: Sequence[Load]
    block: int | None = None

    @property
    def pair(self) -> str:
        """The name of the model at the server."""
        return self.endpoint.model

    @property
    def engine(self) -> str:
        """The server's software in words."""
        return f"{self.endpoint.software} server".strip()

    @property
    def cell(self) -> Cell:
        """The cell of the results."""
        return Cell(self.task.name, self.pair, self.label, 0)


def check_folder(run: ServedRun, folder: Path) -> Results | None:
    """Return the results that a folder has; None if it has none.

    Raises UserError unless the run may join them: another label, and the same prompts and settings.
    """
    if not (folder / RESULTS).is_file():
        return None
    before = load_results(folder)
    if before.server is None:
        raise UserError(f"{folder} has the results of a recipe; name another folder with --out.")
    labels = {row.cell.method for row in before.results}
    if run.label in labels:
        raise UserError(
            f"{folder} has a draft called {run.label!r}; name this one with --label, or another "
            "folder with --out."
        )
    theirs, mine = dict(before.data[0]), _data(run)
    load = run.loads[0]
    pairs = [
        *((name, theirs.get(name), mine[name]) for name in ("task", "digest", "max_new_tokens")),
        ("model", before.results[0].cell.pair, run.pair),
        ("temperature", before.recipe["evaluation"]["temperatures"], [load.temperature]),
        ("number of blocks", before.recipe["speed"]["blocks"], load.blocks),
        (
            "concurrency",
            before.recipe["speed"]["batch_sizes"],
            [load.concurrency for load in run.loads],
        ),
    ]
    for name, there, here in pairs:
        if there != here:
            raise UserError(
                f"{folder} was measured with another {name} ({there}, not {here}); measure with "
                "the same, or name another folder with --out and use draftmark compare."
            )
    return before


def save_served(run: ServedRun, measured: Runs, folder: Path, before: Results | None) -> Results:
    """Write the run's records and results into a folder, beside those `before`; return all.

    Raises UserError if the drafts of the folder have another block length.
    """
    block = _block(run, measured)
    recipe = _recipe(run, block, before)
    if before and before.recipe["evaluation"]["num_speculative_tokens"] != block:
        raise UserError(
            f"{folder} has blocks of {before.recipe['evaluation']['num_speculative_tokens']} "
            f"drafted tokens, and this server drafts {block}; name another folder with --out and "
            "use draftmark compare."
        )
    number = len(before.results) if before else 0
    records = f"{RECORDS}/{number:02d}"
    _write_records(run, measured, folder / records)
    (folder / SUMS).unlink(missing_ok=True)  # they do not have these records yet
    done = [*(before.results if before else ())]
    done.append(Result(run.cell, {}, None, _provenance(run), records=records))
    results = _results(run, recipe, done, folder)
    findings = [*(before.findings if before else ()), *_findings(run, measured, results)]
    results = replace(results, findings=tuple(findings))
    save_results(results, folder)
    return results


def _block(run: ServedRun, measured: Runs) -> int:
    """Return the number of drafted tokens in a row: the server's, else the user's, else a guess."""
    every = [item for load, arms in measured for item in _requests(load, arms)]
    counts = served_counts(every)
    if counts is None:
        return run.block or 1
    return counts.block or run.block or counts.least_block or 1


def _requests(load: Load, arms: Mapping[Arm, Measurement]) -> list[ServedRequest]:
    return [item for arm, each in arms.items() for item in each.requests(arm, load.concurrency)]


def _write_records(run: ServedRun, measured: Runs, folder: Path) -> None:
    remove_odd_files(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_requests(
        folder / REQUESTS, [item for load, arms in measured for item in _requests(load, arms)]
    )
    for number, (_, arms) in enumerate(measured):
        runs = [
            asdict(TimedRun(arm, *divmod(place, 2), block.wall_s))
            for arm, each in arms.items()
            for place, block in enumerate(each.blocks)
        ]
        write_rows(folder / condition_file(number, RUNS), runs)
    served = run.endpoint.served
    facts = {**(served.facts if served else {}), "convention": asdict(VLLM)}
    write_json(folder / ENGINE, {"engine": run.engine, "draft": facts})


def _provenance(run: ServedRun) -> dict[str, Any]:
    return {"url": run.endpoint.client.url, "entries": []}


def _recipe(run: ServedRun, block: int, before: Results | None) -> Recipe:
    """Return the recipe that describes the run, without speed; its method is not trained here."""
    labels = [row.cell.method for row in before.results] if before else []
    document = {
        "title": f"{run.pair} at its server",
        "tasks": [run.task.name],
        "pairs": [{"name": run.pair, "target": _target(run), "draft": {"model": "on the server"}}],
        "methods": [{"name": "served", "label": label} for label in [*labels, run.label]],
        "data": {"sources": ["samples"], "test_rows": len(run.rows.examples)},
        "evaluation": {
            "num_speculative_tokens": block,
            "temperatures": [run.loads[0].temperature],
            "max_new_tokens": run.loads[0].max_tokens,
        },
        "speed": False,
    }
    recipe: Recipe = validate_section(Recipe, document, "the measurement")
    return recipe


def _speed(run: ServedRun, block: int) -> Speed:
    """Return the speed section: the loads as batch sizes."""
    load = run.loads[0]
    prompts = max(len(run.rows.examples) // load.blocks, 1)
    return Speed(
        engine=run.engine,
        temperature=load.temperature,
        num_speculative_tokens=block,
        blocks=load.blocks,
        prompts_per_block=prompts,
        batch_sizes=tuple(load.concurrency for load in run.loads),
    )


def _target(run: ServedRun) -> str:
    served = run.endpoint.served
    return served.root if served and served.root else run.pair


def _data(run: ServedRun) -> dict[str, Any]:
    rows = run.rows
    return {
        "task": run.task.name,
        "task_version": run.task.version,
        "pair": run.pair,
        "target": _target(run),
        "target_digest": "not known",
        "draft": "on the server",
        "rows": {"test": len(rows.examples)},
        "source": {"test": rows.source},
        "digest": {"test": rows.digest},
        "categories": dict(Counter(one.category for one in rows.examples if one.category)),
        "overlaps": [],
        "max_new_tokens": run.loads[0].max_tokens,
        "end_tokens": [],
    }


def _results(run: ServedRun, recipe: Recipe, done: Sequence[Result], folder: Path) -> Results:
    """Return the results of all drafts of a folder, from their records."""
    block = recipe.evaluation.num_speculative_tokens
    speed = _speed(run, block)
    rows, quantities = [], {}
    for result in done:
        requests = stored_requests(result, folder)
        found = _quantities(requests, recipe, run.rows.categories)
        numbers = {name: quantity_number(item) for name, item in found.items()}
        numbers |= result.numbers or _speeds(requests, speed, result, folder)
        rows.append(replace(result, numbers=numbers))
        quantities[result.cell] = found
    contenders = by_contender(quantities)
    served = run.endpoint.served
    facts = {"software": run.endpoint.software, **(served.facts if served else {})}
    return Results(
        name=folder.name,
        title=recipe.title,
        recipe=recipe.model_dump(mode="json") | {"speed": speed.model_dump(mode="json")},
        results=tuple(rows),
        pooled=(),
        comparisons=compare_contenders(contenders, recipe),
        standings=rank_contenders(contenders, recipe),
        data=(_data(run),),
        manifest={**manifest(), "project": project_state(), "server": facts},
    )


def _quantities(
    requests: Sequence[ServedRequest], recipe: Recipe, categories: Mapping[str, str]
) -> dict[str, Quantity]:
    """Return the quantities of acceptance, also by category, and the share of cut replies."""
    temperature = recipe.evaluation.temperatures[0]
    counts = served_counts(requests)
    gamma = recipe.evaluation.num_speculative_tokens
    found = served_quantities(counts, temperature, gamma) if counts else {}
    found |= category_quantities(found, categories, gamma)
    cut: dict[str, float] = {}
    for item in requests:
        if item.total_s is not None and item.arm == "draft":
            cut[conversation_of(item.example_id)] = float(item.finish_reason == "length")
    name = "truncated_texts"
    flags = np.array(list(cut.values())), np.ones(len(cut))
    return found | {quantity_key(name, temperature): Quantity(flags, ARTEFACTS[name], tuple(cut))}


def _speeds(
    requests: Sequence[ServedRequest], speed: Speed, result: Result, folder: Path
) -> dict[str, Number]:
    """Return the speed numbers of each load, and the first one's speedup under its bare name."""
    numbers: dict[str, Number] = {}
    for number, condition in enumerate(speed.conditions()):
        runs = read_record(result, folder, condition_file(number, RUNS), read_runs)
        mine = [item for item in requests if item.concurrency == condition.batch_size]
        here = served_speed_numbers(condition, mine, runs)
        speedup = here.get(f"speedup[{condition.label}]")
        if speedup and not number:
            numbers["speedup"] = speedup
        numbers |= here
    return numbers


def _says_block(found: Measurement) -> bool:
    counts = served_counts(found.requests("draft", 1))
    return bool(counts and counts.block)


def _findings(run: ServedRun, measured: Runs, results: Results) -> list[Finding]:
    """Return what the measurement cannot say, as findings."""
    subject = f"{run.task.name}, {run.pair}"
    texts: dict[str, None] = {}
    for _, arms in measured:
        found = arms["draft"]
        texts |= dict.fromkeys(timing_faults(found))
        if served_counts(found.requests("draft", 1)) is None:
            texts[no_counts(found)] = None
        elif not (run.block or _says_block(found)):
            texts[_NO_BLOCK] = None
        others = found.counted.finished if found.counted else None
        if others and others != len(found.replies):
            texts["other clients used the server, and its counts at /metrics include them"] = None
    notes = [Finding("warning", subject, f"{run.label}: {text}") for text in texts]
    numbers = results.results[-1].numbers
    sentences = artefacts(numbers, results.recipe["evaluation"]["temperatures"])
    odd = [Finding("warning", subject, text, {"text_artefacts": True}) for text in sentences]
    return [*odd, *notes]
