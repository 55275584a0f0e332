"""Acceptance by category of prompts and by length of context, and units of conversations.

A conversation counts as one prompt: its turns share their texts, so their counts are summed before
any interval. A category's number pools its prompts, and the numerators and denominators of all
categories add up to the whole. The macro mean is the mean of the categories' numbers, each with the
same weight. The context at the start of a block is the prompt's tokens and the response's tokens
before the block; every block is in exactly one range of lengths.

Legend: B prompt, S start of a block.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from draftmark.analysis.cell_counts import conversation_sums
from draftmark.analysis.quantities import (
    BLOCK_TERM,
    DEFINITIONS,
    Quantity,
    Terms,
    rate_bounds,
    terms_of,
)
from draftmark.speculation.blocks import start_counts
from draftmark.store.acceptance_tables import Bools, Floats
from draftmark.store.cell_records import Records
from draftmark.types import AcceptanceTable, Text, conversation_of

NO_CATEGORY = "no category"
SHOWN = ("acceptance_rate", "block_efficiency")
BY_CATEGORY, MACRO, BY_CONTEXT = "_by_category", "_macro_mean", "_by_context"
NAMES = frozenset(f"{rate}{part}" for rate in SHOWN for part in (BY_CATEGORY, MACRO, BY_CONTEXT))
# Context lengths in tokens at which a new range begins.
CONTEXT_EDGES = (0, 256, 512, *(1024 * 2**power for power in range(8)))
_RATES = {"acceptance_rate": ("accepted", "tested"), "block_efficiency": ("tokens", "passes")}
_RESERVED = str.maketrans({",": ";", "[": "(", "]": ")"})  # marks of a quantity's key
Quantities = Mapping[str, Quantity]


def sum_conversations(item: Quantity) -> Quantity:
    """Return a quantity whose prompts are conversations; the counts of their turns are summed."""
    prompts = tuple(dict.fromkeys(map(conversation_of, item.prompts)))
    if len(prompts) == len(item.prompts):
        return item
    top_B, bottom_B = conversation_sums(item.prompts, *item.counts)
    return replace(item, counts=(top_B, bottom_B), prompts=prompts)


def category_quantities(
    found: Quantities, categories: Mapping[str, str], gamma: int
) -> dict[str, Quantity]:
    """Return the rates of each category in blocks of `gamma`, and their macro means.

    `categories` has the category of each prompt, "" for none. Nothing is returned if no prompt has
    one. A category in which nothing was tested has no number and no part in the macro mean.
    """
    result: dict[str, Quantity] = {}
    if not any(categories.values()):
        return result
    for key, item in found.items():
        name, _, terms = key.removesuffix("]").partition("[")
        if name in SHOWN and f"gamma={gamma}" in terms.split(","):
            parts = dict(_parts(item, categories))
            for category, part in parts.items():
                whole = f"{name}{BY_CATEGORY}[{terms}]"
                result[_with_term(whole, f"category={category}")] = part
            if len(parts) > 1:
                result[f"{name}{MACRO}[{terms}]"] = macro_mean(list(parts.values()), item)
    return result


def _with_term(key: str, term: str) -> str:
    """Return a key with a term more; that of block verification stays the last one."""
    terms = key.removesuffix("]")
    rule = BLOCK_TERM if terms.endswith(BLOCK_TERM) else ""
    return f"{terms.removesuffix(BLOCK_TERM)},{term}{rule}]"


def _parts(item: Quantity, categories: Mapping[str, str]) -> Iterator[tuple[str, Quantity]]:
    """Yield each category that has counts, in order, with the quantity of its prompts."""
    of_prompt = [categories.get(name, "") or NO_CATEGORY for name in item.prompts]
    for category in dict.fromkeys(of_prompt):
        here_B = np.array([name == category for name in of_prompt])
        part = _only(item, here_B, f"{item.definition}; prompts of one category")
        if part.counts[1].sum() > 0:
            yield category.translate(_RESERVED), part


def _only(item: Quantity, here_B: Bools, definition: str) -> Quantity:
    top_B, bottom_B = item.counts
    prompts = tuple(name for name, here in zip(item.prompts, here_B.tolist(), strict=True) if here)
    return replace(
        item, counts=(top_B[here_B], bottom_B[here_B]), prompts=prompts, definition=definition
    )


def macro_mean(parts: Sequence[Quantity], whole: Quantity) -> Quantity:
    """Return the mean of the ratios of several parts as one ratio over all of their prompts.

    With K parts of ratios R, whose mean is M, a prompt of a part whose denominators sum to W has
    the denominator b / W and the numerator (t - (R - M) b) / W. The sums are K and K M, and a
    prompt's deviation from the mean is (t - R b) / W: its deviation within its own part, as for
    strata. A part of one prompt does not know its spread: its deviation is from the mean.
    """
    ratios = [float(top_B.sum() / bottom_B.sum()) for top_B, bottom_B in (p.counts for p in parts)]
    spread = [ratio for ratio, part in zip(ratios, parts, strict=True) if len(part.prompts) > 1]
    middle = float(np.mean(spread)) if spread else 0.0
    tops, bottoms = [], []
    for ratio, part in zip(ratios, parts, strict=True):
        top_B, bottom_B = part.counts
        moved = ratio - middle if len(part.prompts) > 1 else 0.0
        tops.append((top_B - moved * bottom_B) / bottom_B.sum())
        bottoms.append(bottom_B / bottom_B.sum())
    return replace(
        whole,
        counts=(np.concatenate(tops), np.concatenate(bottoms)),
        prompts=tuple(name for part in parts for name in part.prompts),
        definition=f"mean over categories, each with the same weight: {whole.definition}",
    )


def context_quantities(records: Records, gamma: int) -> dict[str, Quantity]:
    """Return the rates of blocks of `gamma` by the length of context at their start.

    Nothing is returned for a temperature whose texts are all in one range of lengths.
    """
    result: dict[str, Quantity] = {}
    for temperature, tables in records.tables.items():
        texts = {text.example_id: text for text in records.texts.get(temperature, ())}
        if not all(table.example_id in texts for table in tables):
            continue
        context_BS = _contexts(tables, texts)
        ranges = [span for span in _ranges() if _within(context_BS, span).any()]
        for at, own in terms_of(temperature, tables) if len(ranges) > 1 else ():
            for span in ranges:
                result |= dict(_of_range(own, context_BS, span, gamma, at))
    return {name: item for name, item in result.items() if item.counts[1].sum() > 0}


def _contexts(tables: Sequence[AcceptanceTable], texts: Mapping[str, Text]) -> Floats:
    """Return the length of context [B, S] at each start; nan beyond the end of a text."""
    longest = max(len(table.drafted_S) for table in tables)
    context_BS = np.full((len(tables), longest), np.nan)
    for row, table in enumerate(tables):
        length, prompt = len(table.drafted_S), len(texts[table.example_id].prompt_ids)
        context_BS[row, :length] = prompt + np.arange(length)
    return context_BS


def _ranges() -> list[tuple[float, float]]:
    return list(zip(CONTEXT_EDGES, [*CONTEXT_EDGES[1:], float("inf")], strict=True))


def _within(context_BS: Floats, span: tuple[float, float]) -> Bools:
    return (context_BS >= span[0]) & (context_BS < span[1])


def range_name(span: tuple[float, float]) -> str:
    """Return a range of lengths in words: "512-1023", or "131072 or more"."""
    low, high = span
    return f"{low:.0f} or more" if high == float("inf") else f"{low:.0f}-{high - 1:.0f}"


def _of_range(
    tables: Sequence[AcceptanceTable],
    context_BS: Floats,
    span: tuple[float, float],
    gamma: int,
    at: Terms,
) -> Iterator[tuple[str, Quantity]]:
    """Yield the rates of the blocks that start in a range, over the prompts that reach it."""
    here_BS, counts = _within(context_BS, span), start_counts(tables, gamma, at.verification)
    here_B: Bools = np.asarray(here_BS.any(axis=1))
    where = range_name(span)
    prompts = tuple(
        table.example_id for table, here in zip(tables, here_B.tolist(), strict=True) if here
    )
    for name, fields in _RATES.items():
        top_B, bottom_B = (
            (getattr(counts, f"{field}_BS") * here_BS).sum(axis=1)[here_B] for field in fields
        )
        key = _with_term(at.key(f"{name}{BY_CONTEXT}", gamma), f"context={where}")
        definition = f"{DEFINITIONS[name]}; blocks that start in one range of lengths of context"
        yield key, Quantity((top_B, bottom_B), definition, prompts, rate_bounds(name, gamma))
