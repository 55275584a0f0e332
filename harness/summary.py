"""Records -> published numbers: each a value with its interval, its n and its definition.

Pure functions of what the store holds, so a definition can be corrected without a model. Every
number is keyed by its name and, where they matter, temperature and block length:
"block_efficiency[t=0,gamma=4]".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import statistics
from harness.blocks import BlockCounts, block_counts
from harness.config import Recipe
from harness.published import Number
from harness.records import DECODES, DRAFT, GRADES, TABLES, read_decodes, read_rows, read_tables
from harness.tables import Floats
from harness.types import AcceptanceTable, Decode, Ledger, Task, TimedDecode

GAMMAS = range(1, 17)
DEFINITIONS = {
    "acceptance_rate": "accepted / tested drafted tokens; a token is tested if all drafted "
    "before it in its block were accepted",
    "draft_acceptance_rate": "accepted / drafted tokens",
    "block_efficiency": "tokens emitted per pass of the target, prefill aside",
    "marginal_acceptance": "blocks that accept this position / blocks, as vLLM counts it",
    "conditional_acceptance": "blocks that accept this position / blocks that test it",
    "expected_acceptance_rate": "mean over tokens of sum min(p, q); top-1 agreement at "
    "temperature 0",
    "speedup": "time of the target alone / time with the draft, per token, prefill included; "
    "geometric mean over blocks, n = blocks",
    "counted_passes": "target passes that the engine made",
    "predicted_passes": "target passes that one scoring pass predicts for the same prompts",
    "identical": "share of prompts whose tokens are those of the target alone",
    "quality_target": "the target alone",
    "quality_with_draft": "the target with the draft, on the prompts that the engine decoded",
    "quality_target_there": "the target alone, on the prompts that the engine decoded",
    "quality_draft": "the draft alone",
}


def key(name: str, temperature: float, gamma: int | None = None) -> str:
    """Return the key of a number that depends on temperature and block length."""
    return f"{name}[t={temperature:g}{f',gamma={gamma}' if gamma else ''}]"


@dataclass(frozen=True)
class Records:
    """What the store holds of a cell."""

    ledger: Ledger
    tables: Mapping[float, Sequence[AcceptanceTable]]  # by temperature
    target_grades: Sequence[Mapping[str, Any]]
    draft_grades: Sequence[Mapping[str, Any]]
    decodes: Sequence[TimedDecode]
    decode_grades: Sequence[Mapping[str, Any]]

    def prompts(self, temperature: float) -> list[str]:
        """Return the ids of the prompts that were scored, in order."""
        return [table.example_id for table in self.tables[temperature]]

    @classmethod
    def load(
        cls,
        *,
        draft: Path,
        target_grades: Path,
        scores: Mapping[float, Path],
        draft_grades: Path | None,
        decodes: Path | None,
        decode_grades: Path | None,
    ) -> "Records":
        """Return the records in the folders of a cell's results."""
        facts = json.loads((draft / DRAFT).read_text("utf-8"))
        return cls(
            ledger=Ledger(**facts["ledger"]),
            tables={t: read_tables(path / TABLES) for t, path in scores.items()},
            target_grades=read_rows(target_grades / GRADES),
            draft_grades=read_rows(draft_grades / GRADES) if draft_grades else (),
            decodes=read_decodes(decodes / DECODES) if decodes else (),
            decode_grades=read_rows(decode_grades / GRADES) if decode_grades else (),
        )


def summarise(records: Records, recipe: Recipe, task: Task) -> dict[str, Number]:
    """Return every number of a cell."""
    numbers: dict[str, Number] = {}
    for temperature, tables in records.tables.items():
        numbers |= _acceptance(tables, temperature)
        numbers |= _by_position(tables, temperature, recipe.evaluation.num_speculative_tokens)
    numbers |= _quality(records, task.headline)
    if records.decodes and recipe.speed:
        numbers["speedup"] = _speedup(records.decodes)
        if recipe.speed.temperature == 0:
            numbers["identical"] = _identical(records.decodes)
        tables = records.tables.get(recipe.speed.temperature, ())
        if tables and recipe.speed.temperature == 0:
            numbers |= _passes(records.decodes, tables, recipe.speed.num_speculative_tokens)
    return numbers


def _acceptance(tables: Sequence[AcceptanceTable], temperature: float) -> dict[str, Number]:
    overlaps = np.array([table.overlap_S.sum() for table in tables])
    lengths = np.array([len(table.overlap_S) for table in tables])
    name = "expected_acceptance_rate"
    numbers = {key(name, temperature): statistics.ratio(overlaps, lengths, DEFINITIONS[name])}
    for gamma in GAMMAS:
        counts = block_counts(tables, gamma)
        for rate, (top, bottom) in rates(counts).items():
            numbers[key(rate, temperature, gamma)] = statistics.ratio(
                top, bottom, DEFINITIONS[rate]
            )
    return numbers


def _by_position(
    tables: Sequence[AcceptanceTable], temperature: float, gamma: int
) -> dict[str, Number]:
    """Return marginal and conditional acceptance at each position where anything is tested."""
    counts = block_counts(tables, gamma)
    numbers = {}
    for position in range(1, gamma + 1):
        reached_B, tested_B = counts.reached_BG[:, position - 1], counts.tested_BG[:, position - 1]
        where = key("", temperature, gamma)[:-1] + f",position={position}]"
        for name, bottom_B in (
            ("marginal_acceptance", counts.passes_B),
            ("conditional_acceptance", tested_B),
        ):
            if bottom_B.sum() > 0:
                numbers[name + where] = statistics.ratio(reached_B, bottom_B, DEFINITIONS[name])
    return numbers


def rates(counts: BlockCounts) -> dict[str, tuple[Floats, Floats]]:
    """Return each rate as (numerators, denominators) of prompts, to be pooled and divided."""
    return {
        "acceptance_rate": (counts.accepted_B, counts.tested_B),
        "draft_acceptance_rate": (counts.accepted_B, counts.drafted_B),
        "block_efficiency": (counts.tokens_B, counts.passes_B),
    }


def _quality(records: Records, headline: str) -> dict[str, Number]:
    groups = {
        "quality_target": [row[headline] for row in records.target_grades],
        "quality_draft": [row[headline] for row in records.draft_grades],
        "quality_with_draft": _of_arm(records.decode_grades, "draft", headline),
        "quality_target_there": _of_arm(records.decode_grades, "target", headline),
    }
    return {
        name: _mean(values, f"{headline} of {DEFINITIONS[name]}")
        for name, values in groups.items()
        if values
    }


def _mean(values: Sequence[float], definition: str) -> Number:
    """Return the mean over prompts; of yes and no, as a share."""
    if set(values) <= {0.0, 1.0}:
        return statistics.share(values, definition)
    return statistics.mean(values, definition)


def _of_arm(rows: Sequence[Mapping[str, Any]], arm: str, headline: str) -> list[float]:
    return [row[headline] for row in rows if row["arm"] == arm]


def _speedup(timed: Sequence[TimedDecode]) -> Number:
    blocks = sorted({item.block for item in timed})
    ratios = [_s_per_token(timed, b, "target") / _s_per_token(timed, b, "draft") for b in blocks]
    value, low, high = statistics.log_ratio_interval(ratios)
    return Number(value, low, high, len(blocks), DEFINITIONS["speedup"])


def _s_per_token(timed: Sequence[TimedDecode], block: int, arm: str) -> float:
    """Return total time / total tokens of an arm in a block: one function counts for both arms."""
    mine = [item.decode for item in timed if item.block == block and item.arm == arm]
    seconds = sum(decode.prefill_s + decode.decode_s for decode in mine)
    return seconds / sum(len(decode.token_ids) for decode in mine)


def _first_run(timed: Sequence[TimedDecode], arm: str) -> dict[str, Decode]:
    return {
        item.decode.example_id: item.decode
        for item in timed
        if item.arm == arm and item.repeat == 0
    }


def _identical(timed: Sequence[TimedDecode]) -> Number:
    alone, together = _first_run(timed, "target"), _first_run(timed, "draft")
    same = [float(alone[name].token_ids == together[name].token_ids) for name in alone]
    return statistics.share(same, DEFINITIONS["identical"])


def _passes(
    timed: Sequence[TimedDecode], tables: Sequence[AcceptanceTable], gamma: int
) -> dict[str, Number]:
    """Return the passes that the engine counted and those predicted for the same prompts."""
    decoded = _first_run(timed, "draft")
    chosen = [table for table in tables if table.example_id in decoded]
    counted = [float(decoded[table.example_id].target_passes) for table in chosen]
    predicted = block_counts(chosen, gamma).passes_B
    return {
        "counted_passes": statistics.mean(counted, DEFINITIONS["counted_passes"]),
        "predicted_passes": statistics.mean(predicted, DEFINITIONS["predicted_passes"]),
    }
