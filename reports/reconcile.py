"""One run as other tools would print it: the same facts under each tool's own definition.

The acceptance tables hold what decides every definition, so no tool has to be run. Sources, read in
each project: vLLM `v1/spec_decode/metrics.py`; SGLang `spec_accept_length` (its pull request 3152:
completion tokens / verifying passes); Spec-Bench `evaluation/speed.py` ("#Mean accepted tokens");
EAGLE, arXiv 2401.15077, section 4 (average acceptance length, n-alpha); AdaSPEC, arXiv 2510.19779,
whose tables print an acceptance rate that neither its text nor its code defines; transformers
`generation/utils.py`, `_assisted_decoding`, which prints nothing and whose passes can be counted.

Where engines ran, what they counted themselves stands beside what scoring predicts of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from draftmark.analysis.stored_counts import tables_of
from draftmark.reports._shared.acceptance import failed, title
from draftmark.reports._shared.engine_counts import engine_section
from draftmark.reports._shared.markdown import escape, interval, table
from draftmark.reports._shared.speed_rows import terms_of
from draftmark.results import Result, Results
from draftmark.speculation.blocks import REFERENCE, BlockCounts, Convention, block_counts
from draftmark.types import AcceptanceTable

# A serving engine's prefill emits the first token, and its last block counts whole.
SERVING = Convention(prefill_emits_first=True, counts_beyond_end=True)
# A research loop counts the same blocks, and only the tokens that are there.
LOOP = Convention(prefill_emits_first=True)


@dataclass(frozen=True)
class Printed:
    """A number as a tool prints it."""

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
        "1 + accepted / drafts, pooled; a draft is a block with drafted tokens, after the token "
        "that prefill emits",
        SERVING,
        lambda counts, _: 1 + _ratio(counts.accepted_B.sum(), counts.drafts_B.sum()),
    ),
    Printed(
        "vLLM",
        "Avg Draft acceptance rate",
        "accepted / drafted, pooled; every draft counts all its tokens, the last one too",
        SERVING,
        lambda counts, _: _ratio(counts.accepted_B.sum(), counts.drafted_B.sum()),
    ),
    Printed(
        "SGLang",
        "accept_length",
        "completion tokens / verifying passes, pooled; the token of prefill is among the tokens",
        SERVING,
        lambda counts, _: _ratio((counts.tokens_B + 1).sum(), counts.passes_B.sum()),
    ),
    Printed(
        "Spec-Bench",
        "#Mean accepted tokens",
        "mean over all passes of the tokens that a pass gives, its own included",
        LOOP,
        lambda counts, _: _ratio(counts.tokens_B.sum(), counts.passes_B.sum()),
    ),
    Printed(
        "EAGLE",
        "average acceptance length",
        "mean over prompts of tokens / passes: not pooled",
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
        "tokens / passes of assisted generation, pooled; the first pass reads the prompt as well",
        REFERENCE,
        lambda counts, _: _ratio(counts.tokens_B.sum(), counts.passes_B.sum()),
    ),
    Printed(
        "AdaSPEC",
        "acceptance rate (alpha)",
        "not defined there; here the mean over tokens of sum min(p, q)",
        LOOP,
        lambda _, tables: _ratio(
            sum(float(item.overlap_S.sum()) for item in tables),
            sum(len(item.overlap_S) for item in tables),
        ),
    ),
)

# What an engine's own count means, by engine.
COUNTED = {
    "reference": "prefill emits nothing, so the first block starts at the first token; what is "
    "drafted beyond the end counts neither as drafted nor as accepted",
    "transformers": "the first pass reads prompt and first block, so passes are the reference "
    "engine's; the last token within the limit, what follows an end token of the draft, and by "
    "lookup end tokens are not drafted, so at its end a text may count one accepted token less",
    "vllm": "prefill emits the first token, so the first block starts at the second; passes that "
    "drafted nothing are among them",
}


def _mean_ratio(counts: BlockCounts) -> float:
    some_B = counts.passes_B > 0
    return float(np.mean(counts.tokens_B[some_B] / counts.passes_B[some_B]))


def reconcile(results: Results, directory: Path) -> dict[str, str]:
    """Return reconcile.md: for each cell and temperature, each tool's numbers."""
    gamma = results.recipe["evaluation"]["num_speculative_tokens"]
    sections = [f"# {escape(results.title)}, as other tools would print it"]
    sections.append(
        f"Blocks of {gamma} drafted tokens. All of these are of one run; where they differ, the "
        "definition does."
    )
    for result in results.results:
        if result.failure:
            sections.append(failed(result))
            continue
        for temperature in results.recipe["evaluation"]["temperatures"]:
            tables = tables_of(result, directory, temperature)
            heading = f"## {title(result)}, temperature {temperature:g}"
            body = table(["tool", "number", "value", "definition"], _rows(tables, gamma), "llrl")
            sections.append(f"{heading}\n\n{body}")
        sections += _counted(result)
        sections += engine_section(result, results, directory)
    return {"reconcile.md": "\n\n".join(sections) + "\n"}


def _counted(result: Result) -> Iterator[str]:
    """Yield what engines counted of greedy texts beside what scoring predicts of the same."""
    body = []
    for key, number in result.numbers.items():
        name, _, label = key.removesuffix("]").partition("[")
        predicted = result.numbers.get(f"predicted_passes[{label}]")
        if name == "counted_passes" and predicted:
            told = terms_of(label)
            means = COUNTED.get(told["engine"], "see the engine's own file")
            terms = [escape(told[term]) for term in ("engine", "gamma", "batch")]
            body.append([*terms, interval(number), interval(predicted), means])
    if body:
        header = ["engine", "gamma", "batch", "passes a prompt, counted", "predicted", "how"]
        made = table(header, body, "lrrrrl")
        yield f"## {title(result)}, as engines counted it at temperature 0\n\n{made}"


def _rows(tables: Sequence[AcceptanceTable], gamma: int) -> Iterator[list[str]]:
    counts = {how: block_counts(tables, gamma, how) for how in (SERVING, LOOP, REFERENCE)}
    for item in PRINTED:
        value = item.value(counts[item.convention], tables)
        yield [item.tool, item.name, f"{value:.3f}", item.definition]


REPORT = reconcile
