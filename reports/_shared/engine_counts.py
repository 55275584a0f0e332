"""What an engine counted in a run, beside what acceptance tables predict of the same prompts."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from draftmark.analysis.stored_counts import tables_of
from draftmark.analysis.stored_speed import convention_in
from draftmark.reports._shared.markdown import escape, table
from draftmark.results import Result, Results
from draftmark.speculation.blocks import Convention, block_counts
from draftmark.speculation.engine_counts import engine_counts
from draftmark.store.records import DECODES, read_decodes
from draftmark.types import AcceptanceTable, Decode


def engine_section(result: Result, results: Results, directory: Path) -> Iterator[str]:
    """Yield a cell's engine counts beside the prediction, if it was timed at a scored temperature.

    At temperature 0 of prompts whose texts are as long as the scored ones: of others, the engine
    has decoded another text.
    """
    speed, folder = results.recipe.get("speed"), directory / result.records
    if not speed or not (folder / DECODES).is_file():
        return
    temperature, gamma = _first(speed["temperature"]), _first(speed["num_speculative_tokens"])
    if temperature not in results.recipe["evaluation"]["temperatures"]:
        return
    tables = {each.example_id: each for each in tables_of(result, directory, temperature)}
    timed = (each for each in read_decodes(folder / DECODES) if each.arm == "draft")
    decodes = {each.decode.example_id: each.decode for each in timed if each.repeat == 0}
    asked = [name for name in decodes if name in tables]
    same = [n for n in asked if temperature or _length(tables[n]) == len(decodes[n].token_ids)]
    if not same:
        return
    convention = convention_in(folder)
    rows = _rows([decodes[n] for n in same], [tables[n] for n in same], gamma, convention)
    yield "\n\n".join(
        [
            f"### Counted by the {escape(str(_first(speed['engine'])))} engine, temperature "
            f"{temperature:g}, blocks of {gamma}",
            f"{len(same)} of {len(asked)} prompts, those whose texts are as long as the scored "
            f"ones. {_in_words(convention)}",
            table(["count", "engine", "predicted"], rows),
        ]
    )


def _rows(
    decodes: Sequence[Decode],
    tables: Sequence[AcceptanceTable],
    gamma: int,
    convention: Convention,
) -> Iterator[list[str]]:
    """Yield the counts, pooled; predicted ones are expectations."""
    counted, predicted = engine_counts(decodes, convention), block_counts(tables, gamma, convention)
    pairs = {
        "passes of the target": (counted.passes_B, predicted.passes_B),
        "drafted tokens": (counted.drafted_B, predicted.drafted_B),
        "accepted tokens": (counted.within_B, predicted.accepted_B),
    }
    for name, (engine_B, predicted_B) in pairs.items():
        yield [name, f"{engine_B.sum():g}", f"{predicted_B.sum():.6g}"]
    yield ["accepted beyond the end of a text", f"{counted.beyond_B.sum():g}", "-"]
    per_pass = [side.sum() / passes.sum() for side, passes in _accepted_and_passes(pairs)]
    yield ["accepted per pass", *(f"{value:.3f}" for value in per_pass)]


def _accepted_and_passes(pairs: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    yield from zip(pairs["accepted tokens"], pairs["passes of the target"], strict=True)


def _in_words(convention: Convention) -> str:
    first = (
        "Prefill emits the first token" if convention.prefill_emits_first else "Prefill emits none"
    )
    if convention.counts_beyond_end:
        return f"{first}; the last block counts whole, so tokens past the end are accepted too."
    return f"{first}; what is drafted past the end of a text is not counted."


def _length(scored: AcceptanceTable) -> int:
    return len(scored.drafted_S)


def _first(told: Any) -> Any:
    """Return a setting of the headline's measurement, of a recipe that may have a list of them."""
    return told[0] if isinstance(told, Sequence) and not isinstance(told, str) else told
