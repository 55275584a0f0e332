"""The experiment: run every stage, then turn each cell's records into a row of results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from draftmark.analysis import fairness
from draftmark.analysis.categories import (
    category_quantities,
    context_quantities,
    sum_conversations,
)
from draftmark.analysis.comparisons import Seeds, by_contender, compare_contenders, rank_contenders
from draftmark.analysis.quality import quality_quantities
from draftmark.analysis.quantities import Quantity, acceptance_quantities
from draftmark.analysis.summary import pool_seeds, summarise_cell
from draftmark.analysis.text_artefacts import text_quantities
from draftmark.config.sections import SpeedCondition
from draftmark.environment import manifest, project_state
from draftmark.pipeline.executor import Executor, Failure, execute_stages
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.outputs import read_records
from draftmark.pipeline.preflight import check_before_run
from draftmark.pipeline.provenance import (
    cell_facts,
    code_facts,
    data_facts,
    search_facts,
    vocabulary_facts,
)
from draftmark.progress import Progress
from draftmark.results import Cell, Contender, Pooled, Result, Results
from draftmark.store.cell_records import Records
from draftmark.store.speed_records import Measurement
from draftmark.store.store import Store
from draftmark.types import Ledger


@dataclass(frozen=True)
class Row:
    """A result with the quantities and speeds that comparisons and fairness checks read."""

    result: Result
    quantities: Mapping[str, Quantity] = field(default_factory=dict)  # none if the cell failed
    speeds: Mapping[SpeedCondition, Measurement] = field(default_factory=dict)


def run_experiment(
    plan: Plan, name: str, store: Store, progress: Progress, make: Executor = execute_stages
) -> Results:
    """Return the results of every cell; a failed cell is a row with its reason."""
    recipe, project = plan.recipe, project_state()
    checked = check_before_run(plan, store, progress)
    failures = make(plan.nodes, store, progress, threads=recipe.threads)
    rows = {cell: _row(plan, cell, store, failures) for cell in plan.cells}
    results = tuple(row.result for row in rows.values())
    contenders = by_contender(
        {cell: row.quantities for cell, row in rows.items() if not row.result.failure}
    )
    data = data_facts(plan.settings.values(), store)
    return Results(
        name=name,
        title=recipe.title,
        recipe=recipe.model_dump(mode="json"),
        results=results,
        pooled=tuple(
            _pooled(contender, seeds, results)
            for contender, seeds in contenders.items()
            if len(seeds) > 1
        ),
        comparisons=compare_contenders(contenders, recipe),
        standings=rank_contenders(contenders, recipe),
        data=data,
        manifest={
            **manifest(),
            "threads": _threads(results),
            "project": project,
            **code_facts(recipe),
        },
        findings=fairness.fairness_findings(
            recipe, results, {cell: row.speeds for cell, row in rows.items()}, data, checked
        ),
        block_comparisons=compare_contenders(contenders, recipe, "block"),
        block_standings=rank_contenders(contenders, recipe, "block"),
    )


def _threads(results: Sequence[Result]) -> int | None:
    """Return the CPU threads that made the results, whichever process and run made them."""
    entries = (entry for row in results for entry in row.provenance.get("entries", ()))
    return max(filter(None, (entry["manifest"].get("threads") for entry in entries)), default=None)


def _row(plan: Plan, cell: Cell, store: Store, failures: Mapping[str, Failure]) -> Row:
    outputs = plan.cells[cell]
    failed = {n: failures[o.node.key] for n, o in outputs.items() if o.node.key in failures}
    for name, failure in failed.items():
        if outputs[name].required:
            return Row(Result(cell, {}, None, {}, failure=f"{failure.label}: {failure.reason}"))
    succeeded = {name: output for name, output in outputs.items() if name not in failed}
    records = read_records(succeeded, store)
    # A failure is named once: at the output that failed, not at those that need it.
    direct = {n: failure for n, failure in failed.items() if failure.label == outputs[n].node.label}
    # Engines do not support every combination of settings. If one was measured, the others that
    # were refused are not failures.
    refused = {n: f.reason for n, f in direct.items() if f.refused and records.speeds}
    result = Result(
        cell,
        numbers={},
        ledger=Ledger(**records.draft["ledger"]),
        provenance=cell_facts(succeeded, store)
        | vocabulary_facts(records, plan.setting(cell).end_tokens)
        | search_facts(records),
        history=tuple(records.draft.get("history", ())),
        speed_failures={n: f.reason for n, f in direct.items() if n not in refused},
        speed_refusals=refused,
    )
    return _with_numbers(result, records, plan)


def _with_numbers(result: Result, records: Records, plan: Plan) -> Row:
    setting = plan.settings[result.cell.task, result.cell.pair]
    gamma = plan.recipe.evaluation.num_speculative_tokens
    try:
        by_prompt = {
            **acceptance_quantities(records, plan.recipe),
            **context_quantities(records, gamma),
            **text_quantities(records.texts),
            **quality_quantities(records, setting.task, plan.recipe),
        }
        quantities = {name: sum_conversations(item) for name, item in by_prompt.items()}
        quantities |= category_quantities(quantities, setting.rows["test"].categories, gamma)
        numbers = summarise_cell(quantities, records, plan.recipe)
    except Exception as error:  # the other cells keep their numbers
        reason = f"the numbers cannot be computed: {type(error).__name__}: {error}"
        return Row(replace(result, failure=reason))
    if faulty := [name for name, item in quantities.items() if not np.isfinite(item.counts).all()]:
        reason = f"numbers that are not finite were measured: {', '.join(faulty[:3])}"
        return Row(replace(result, failure=reason))
    return Row(replace(result, numbers=numbers), quantities, records.speeds)


def _pooled(contender: Contender, seeds: Seeds, results: Sequence[Result]) -> Pooled:
    of_seeds = [row.numbers for row in results if row.cell.contender == contender]
    speedups = [numbers["speedup"] for numbers in of_seeds if "speedup" in numbers]
    return Pooled(contender, tuple(seeds), pool_seeds(list(seeds.values()), speedups))
