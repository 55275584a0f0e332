"""The records of a run, copied beside its results: reports need no store."""

from dataclasses import replace
from pathlib import Path

from draftmark.pipeline.experiment import Plan
from draftmark.results import Cell, Results
from draftmark.store.examples import examples_name, write_examples
from draftmark.store.files import copy_file, remove_odd_files
from draftmark.store.run_folder import RECORDS, path_inside
from draftmark.store.store import Store
from draftmark.training.token_selection_log import publish_selections


def save_records(plan: Plan, results: Results, store: Store, directory: Path) -> Results:
    """Copy the records of every cell that has numbers; return the results with their folders."""
    saved = []
    for number, result in enumerate(results.results):
        if not result.failure:
            name = f"{RECORDS}/{number:02d}"
            _save_cell(plan, result.cell, store, path_inside(directory, name))
            result = replace(result, records=name)
        saved.append(result)
    return replace(results, results=tuple(saved))


def _save_cell(plan: Plan, cell: Cell, store: Store, folder: Path) -> None:
    setting = plan.settings[cell.task, cell.pair]
    remove_odd_files(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for output in plan.cells[cell].values():
        if not store.has(output.node):
            continue  # an optional output that failed
        for file, copy in output.copies.items():
            copy_file(store.load(output.node).directory / file, folder / copy)
        examples = folder / examples_name(output.key) if output.field == "tables" else None
        if examples and not examples.exists():
            texts = store.load(output.node.inputs["features"].inputs["texts"]).directory
            tokenizer = setting.tokenizer(store.load(setting.target).directory)
            write_examples(texts, tokenizer, examples)
    publish_selections(store.load(plan.draft(cell)).directory, folder)
