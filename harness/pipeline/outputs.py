"""The outputs of a cell: the stored results behind its row.

Only `outputs_of` lists them. The list decides what runs, what is read, what is copied beside a
run's results, and what a failure means.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from draftmark.analysis.stored_speed import condition_file
from draftmark.config.recipe import MethodEntry
from draftmark.config.sections import Samples, SpeedCondition
from draftmark.models.shared_vocabulary import read_vocabulary
from draftmark.pipeline.setting import Setting
from draftmark.pipeline.stages import drafts, grades, measurements, texts
from draftmark.results import Cell
from draftmark.store.acceptance_tables import read_tables
from draftmark.store.cell_records import Records
from draftmark.store.graph import Node
from draftmark.store.records import (
    DECODES,
    DRAFT,
    GRADES,
    LIKELIHOODS,
    TABLES,
    TEXTS,
    VERDICTS,
    read_rows,
    read_texts,
    samples_name,
    tables_name,
)
from draftmark.store.speed_records import ENGINE, PARTS, RUNS, Measurement, read_parts
from draftmark.store.store import Store
from draftmark.types import GREEDY, AcceptanceTable, Sampler, Text


@dataclass(frozen=True)
class Output:
    """A stored result of a cell.

    `read` returns the records in the result's folder; they become the field `field` of `Records`,
    or that field's `key`. `copies` maps the folder's files to names beside the run's results.
    """

    node: Node
    field: str
    read: Callable[[Path], Any]
    copies: Mapping[str, str]
    key: Any = None
    required: bool = True  # False: if this output fails, the row keeps its other numbers


_Named = tuple[str, Output]


def outputs_of(setting: Setting, cell: Cell) -> dict[str, Output]:
    """Return the outputs of a cell by name, in the order that enters the key of a plan.

    `setting` is the cell's, with its method's own draft.
    Rows use these names for failed and refused speed measurements.
    """
    entry = setting.recipe.method(cell.method)
    draft = drafts.draft_node(setting, entry, cell.seed)
    speed = {
        name: replace(output, required=False)
        for name, output in _speed_outputs(setting, entry, draft)
    }
    return dict(_quality_outputs(setting, entry, draft)) | speed


def _quality_outputs(setting: Setting, entry: MethodEntry, draft: Node) -> Iterator[_Named]:
    recipe, evaluation = setting.recipe, setting.recipe.evaluation
    writers: dict[str, Node | None] = {"target": None}  # None: the target of the setting
    same = setting.pair.draft.vocabulary == "same"
    if setting.method_of(entry).kind == "language_model" and same:
        writers["draft"] = draft  # other drafts cannot write, or end, a text without the target

    yield "draft", Output(draft, "draft", _draft, {})
    node = _grades(setting, None)
    yield "target grades", _rows(node, "target_grades", GRADES, "target-grades.parquet")
    for t in evaluation.temperatures:
        node = measurements.scores_node(setting, entry, draft, recipe.samplers(t))
        yield f"scores, t={t:g}", Output(node, "tables", _tables, {TABLES: tables_name(t)}, t)
        node = texts.responses_node(setting, "test", recipe.samplers(t).target)
        yield f"texts, t={t:g}", Output(node, "texts", _texts, {}, t)
    for writer, model in writers.items() if texts.has_gold_answers(setting, "test") else ():
        node, copy = grades.likelihoods_node(setting, model), f"{writer}-{LIKELIHOODS}"
        yield f"likelihoods, {writer}", _rows(node, "likelihoods", LIKELIHOODS, copy, writer)
    samples = evaluation.samples
    for writer, t in product(writers, samples.temperatures if samples else ()):
        node = _grades(setting, writers[writer], recipe.samplers(t).target, samples)
        copy = samples_name(writer, t)
        yield f"samples, {writer}, t={t:g}", _rows(node, "samples", GRADES, copy, (writer, t))
    if "draft" in writers:
        node = _grades(setting, draft)
        yield "draft grades", _rows(node, "draft_grades", GRADES, "draft-alone-grades.parquet")
    if "draft" in writers and evaluation.judge:
        node = grades.verdicts_node(setting, evaluation.judge, draft)
        yield "verdicts", _rows(node, "verdicts", VERDICTS, VERDICTS)


def _speed_outputs(setting: Setting, entry: MethodEntry, draft: Node) -> Iterator[_Named]:
    speed = setting.recipe.speed
    if speed is None:
        return
    decodes = {c: measurements.decodes_node(setting, c, entry, draft) for c in speed.conditions()}
    for number, (condition, node) in enumerate(decodes.items()):
        copies = {file: condition_file(number, file) for file in (DECODES, RUNS, ENGINE)}
        yield condition.label, Output(node, "speeds", Measurement.load, copies, condition)
    floors: dict[str, SpeedCondition] = {}  # one for all conditions that differ in the draft alone
    for condition in decodes if speed.noise_floor else ():
        floors.setdefault(condition.terms, condition)
    for terms, condition in floors.items():
        node = measurements.decodes_node(setting, condition, None, None)
        yield f"noise floor, {terms}", Output(node, "floors", Measurement.load, {}, condition)
    if speed.length == "natural":
        node = grades.grades_node(setting, next(iter(decodes.values())))
        yield "decode grades", _rows(node, "decode_grades", GRADES, "decode-grades.parquet")
    if speed.cost_model:
        node = measurements.pass_times_node(setting, entry, draft)
        yield "cost model", Output(node, "parts", read_parts, {PARTS: PARTS})


def _grades(
    setting: Setting, model: Node | None, sampler: Sampler = GREEDY, samples: Samples | None = None
) -> Node:
    """Return the node of the grades of a model's own responses; None stands for the target."""
    return grades.grades_node(
        setting, texts.responses_node(setting, "test", sampler, model, samples)
    )


def _draft(folder: Path) -> dict[str, Any]:
    """Return the facts of a draft, and its shared vocabulary if it has one."""
    facts: dict[str, Any] = json.loads((folder / DRAFT).read_bytes())
    shared = read_vocabulary(folder)
    return facts if shared is None else {**facts, "vocabulary": shared}


def _tables(folder: Path) -> list[AcceptanceTable]:
    return read_tables(folder / TABLES)


def _texts(folder: Path) -> list[Text]:
    return read_texts(folder / TEXTS)


def _rows(node: Node, field: str, file: str, copy: str, key: Any = None) -> Output:
    """Return an output whose records are the rows of one Parquet file."""
    return Output(node, field, lambda path: read_rows(path / file), {file: copy}, key)


def read_records(outputs: Mapping[str, Output], store: Store) -> Records:
    """Return the records of outputs that are all in a store."""
    fields: dict[str, Any] = {}
    for output in outputs.values():
        records = output.read(store.load(output.node).directory)
        if output.key is None:
            fields[output.field] = records
        else:
            fields.setdefault(output.field, {})[output.key] = records
    return Records(**fields)
