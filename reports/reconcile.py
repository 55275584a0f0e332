"""One run in the numbers of other tools: the same counts under each tool's own definition.

Every definition is computed from the acceptance tables; no other tool runs. Sources: vLLM
`v1/spec_decode/metrics.py`; SGLang `spec_accept_length` (its pull request 3152: completion tokens /
verifying passes); Spec-Bench `evaluation/speed.py` ("#Mean accepted tokens"); EAGLE, arXiv
2401.15077, section 4 (average acceptance length, n-alpha); AdaSPEC, arXiv 2510.19779 (its text and
code leave its tables' acceptance rate undefined); transformers `generation/utils.py`,
`_assisted_decoding` (it prints nothing, but its passes can be counted).

For engines that ran, the report prints their own counts beside the predicted counts.
"""

# In short: One run in the numbers of other tools.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from draftmark.analysis.cell_counts import drafts_of
from draftmark.analysis.stored_counts import stored_tables
from draftmark.reports._shared.content import escape_markdown, markdown_table, number_text
from draftmark.reports._shared.engine_counts import counts_section, passes_section
from draftmark.reports._shared.rows import (
    cell_title,
    failure_section,
    gamma_of,
    served_note,
    temperatures_of,
    way_in_words,
)
from draftmark.results import Result, Results
from draftmark.speculation.blocks import (
    REFERENCE,
    VLLM,
    BlockCounts,
    Convention,
    block_counts,
)
from draftmark.types import AcceptanceTable, Verification

# A serving engine's prefill emits the first token, and every block counts in full.
SERVING = VLLM
# A research loop counts the same blocks; only its passes and tokens matter below.
LOOP = Convention(prefill_emits_first=True)


@dataclass(frozen=True)
class Printed:
    """A number that a tool prints."""

    tool: str
    name: str
    definition: str
    convention: Convention
    value: Callable[[BlockCounts, Sequence[AcceptanceTable]], float]


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom else float("nan")


PRINTED = (
    Printed(
        "vLLM",
        "Mean acceptance length",
        "1 + accepted / drafts, pooled; a draft is a block with drafted tokens; prefill emits the "
        "first token",
        SERVING,
        lambda counts, _: 1 + _ratio(counts.accepted_B.sum(), counts.drafts_B.sum()),
    ),
    Printed(
        "vLLM",
        "Avg Draft acceptance rate",
        "accepted / drafted, pooled; every draft counts all its tokens, also beyond the limit; "
        "tokens accepted beyond the end, which vLLM counts too, are left out",
        SERVING,
        lambda counts, _: _ratio(counts.accepted_B.sum(), counts.drafted_B.sum()),
    ),
    Printed(
        "SGLang",
        "accept_length",
        "completion tokens / verifying passes, pooled; the token from prefill is counted",
        SERVING,
        lambda counts, _: _ratio((counts.tokens_B + 1).sum(), counts.passes_B.sum()),
    ),
    Printed(
        "Spec-Bench",
        "#Mean accepted tokens",
        "mean tokens per pass, the token of the target itself included",
        LOOP,
        lambda counts, _: _ratio(counts.tokens_B.sum(), counts.passes_B.sum()),
    ),
    Printed(
        "EAGLE",
        "average acceptance length",
        "tokens / passes of each prompt, averaged over prompts (not pooled)",
        LOOP,
        lambda counts, _: _mean_ratio(counts),
    ),
    Printed(
        "EAGLE",
        "0-alpha",
        "accepted / tested at the first drafted position",
        LOOP,
        lambda counts, _: _ratio(counts.reached_BG[:, 0].sum(), counts.drafts_B.sum()),
    ),
    Printed(
        "transformers",
        "tokens per call of the target",
        "tokens / passes of assisted generation, pooled; the first pass also reads the prompt",
        REFERENCE,
        lambda counts, _: _ratio(counts.tokens_B.sum(), counts.passes_B.sum()),
    ),
    Printed(
        "AdaSPEC",
        "acceptance rate (alpha)",
        "not defined by the paper; here the mean over tokens of sum min(p, q)",
        LOOP,
        lambda _, tables: _ratio(
            sum(float(item.overlap_S.sum()) for item in tables),
            sum(len(item.overlap_S) for item in tables),
        ),
    ),
)


def _mean_ratio(counts: BlockCounts) -> float:
    counted_B = counts.passes_B > 0
    return float(np.mean(counts.tokens_B[counted_B] / counts.passes_B[counted_B]))


SERVED = (
    *("block_efficiency", "mean_acceptance_length", "acceptance_rate", "draft_acceptance_rate"),
    "accepted_per_pass",
)


def reconcile(results: Results, directory: Path) -> dict[str, str]:
    """Return reconcile.md: each tool's numbers for each cell and temperature."""
    gamma = gamma_of(results)
    sections = [
        f"# {escape_markdown(results.title)}, as other tools would print it",
        f"Blocks of {gamma} drafted tokens. All numbers describe the same run and differ only by "
        "definition.",
        *served_note(results),
    ]
    for result in results.results:
        if result.failure:
            sections.append(failure_section(result))
            continue
        if results.server is not None:
            sections.append(_served(result))
            continue
        for temperature in temperatures_of(results):
            ways = drafts_of(stored_tables(result, directory, temperature))
            for draft, tables in ways.items():
                how = way_in_words(draft, ways)
                heading = f"## {cell_title(result)}, temperature {temperature:g}{how}"
                rows = _rows(tables, gamma, results.verification)
                body = markdown_table(["tool", "number", "value", "definition"], rows, "llrl")
                sections.append(f"{heading}\n\n{body}")
        sections += passes_section(result)
        sections += counts_section(result, results, directory)
    return {"reconcile.md": "\n\n".join(sections) + "\n"}


def _served(result: Result) -> str:
    """Return the section of a measured server: its own counts, by their definitions."""
    body = [
        [escape_markdown(key), number_text(number), escape_markdown(number.definition)]
        for key, number in result.numbers.items()
        if key.partition("[")[0] in SERVED
    ]
    note = (
        "The server counted, so no other tool's number follows exactly: that needs acceptance by "
        "token, as scoring has it. vLLM logs mean_acceptance_length and draft_acceptance_rate; "
        "SGLang's spec_accept_length is tokens / passes, the first token among them."
    )
    table = markdown_table(["number", "value", "definition"], body, "lrl")
    return f"## {cell_title(result)}\n\n{note}\n\n{table}"


def _rows(
    tables: Sequence[AcceptanceTable], gamma: int, verification: Verification
) -> Iterator[list[str]]:
    counts = {
        how: block_counts(tables, gamma, how, verification) for how in (SERVING, LOOP, REFERENCE)
    }
    for item in PRINTED:
        value = item.value(counts[item.convention], tables)
        yield [item.tool, item.name, f"{value:.3f}", item.definition]


REPORT = reconcile
