"""`draftmark export`: writes a run's drafts into folders that servers load.

A feature head is written in the layouts of vLLM, a language model as transformers saves it.
"""

from collections.abc import Iterator
from pathlib import Path

from draftmark.analysis.handover import MODEL, export_folder
from draftmark.errors import UserError
from draftmark.models.shared_vocabulary import VOCABULARY
from draftmark.pipeline.executor import ensure_entry
from draftmark.pipeline.experiment import Plan
from draftmark.pipeline.export_heads import export_heads
from draftmark.progress import Progress
from draftmark.results import Cell
from draftmark.store.entries import ENTRY, SEAL
from draftmark.store.files import copy_file, remove_odd_files
from draftmark.store.records import DRAFT, SELECTION
from draftmark.store.store import Store
from draftmark.types import Kind


def export_drafts(plan: Plan, store: Store, out: Path, progress: Progress) -> Iterator[Path]:
    """Yield the written folders of every draft that is in the store.

    A damaged draft is made again. Raises UserError if the store has none of the run.
    """
    heads, models = (_in_store(plan, store, kind) for kind in _KINDS)
    if not heads and not models:
        raise UserError(
            f"No draft of this run is in {store.root}; name its store with --store, or run a "
            "recipe whose methods train drafts."
        )
    if heads:
        yield from export_heads(plan, store, out, progress)
    for cell in models:
        entry = ensure_entry(plan.draft(cell), store, progress, threads=plan.recipe.threads)
        yield _copy_model(entry.directory, out / export_folder(cell) / MODEL)


_OWN = (DRAFT, SELECTION, VOCABULARY, ENTRY, SEAL)  # draftmark's files beside a model's
_KINDS: tuple[Kind, ...] = ("feature_head", "language_model")


def _in_store(plan: Plan, store: Store, kind: Kind) -> list[Cell]:
    """Return the cells whose drafts are of a kind and in the store."""
    return [
        cell for cell in plan.cells if _kind(plan, cell) == kind and store.has(plan.draft(cell))
    ]


def _kind(plan: Plan, cell: Cell) -> Kind:
    entry = plan.recipe.method(cell.method)
    return plan.settings[cell.task, cell.pair].for_entry(entry).method_of(entry).kind


def _copy_model(directory: Path, folder: Path) -> Path:
    """Copy weights, config and tokenizer; what draftmark keeps beside them stays."""
    remove_odd_files(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(directory.iterdir()):
        if file.is_file() and file.name not in _OWN:
            copy_file(file, folder / file.name)
    return folder
