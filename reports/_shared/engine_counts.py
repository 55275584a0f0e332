"""Counts recorded by engines, beside the counts that the acceptance tables predict."""

from collections.abc import Iterator
from pathlib import Path

from draftmark.analysis.stored_counts import stored_tables
from draftmark.analysis.stored_speed import stored_convention
from draftmark.reports._shared.content import escape_markdown, markdown_table, number_text
from draftmark.reports._shared.rows import (
    cell_title,
    conditions_of,
    first_speed_settings,
    temperatures_of,
)
from draftmark.results import Result, Results
from draftmark.speculation.blocks import BlockCounts, Convention, block_counts
from draftmark.speculation.engine_counts import EngineCounts, engine_counts
from draftmark.store.records import DECODES, read_decodes

# The counting convention of each engine in words; `speculation.blocks` has them for counting.
COUNTED = {
    "reference": "prefill emits no token, so the first block starts at the first token; a block "
    "drafts as many tokens as the length limit allows",
    "transformers": "the first pass reads prompt and first block, so passes equal the reference "
    "engine's; a model drafts neither the last token within the limit nor tokens after its own end "
    "token, a lookup no end token, so a text may have one accepted token less",
    "vllm": "prefill emits the first token, so the first block starts at the second; a block "
    "drafts gamma tokens whatever the length limit; passes that drafted nothing are counted",
}


def passes_section(result: Result) -> Iterator[str]:
    """Yield the table of counted and predicted passes at temperature 0, if engines ran."""
    body = []
    for key, number in result.numbers.items():
        name, _, label = key.removesuffix("]").partition("[")
        predicted = result.numbers.get(f"predicted_passes[{label}]")
        if name == "counted_passes" and predicted:
            terms = conditions_of(label)
            convention = COUNTED.get(terms["engine"], "see the engine's own file")
            where = [escape_markdown(terms[term]) for term in ("engine", "gamma", "batch")]
            body.append([*where, number_text(number), number_text(predicted), convention])
    if body:
        header = ["engine", "block length", "batch", "passes a prompt, counted", "predicted", "how"]
        heading = f"## {cell_title(result)}, as engines counted it at temperature 0"
        yield f"{heading}\n\n{markdown_table(header, body, 'lrrrrl')}"


def counts_section(result: Result, results: Results, directory: Path) -> Iterator[str]:
    """Yield the table of counts of a cell's first speed run, if its temperature was scored.

    At temperature 0 only prompts whose decoded and scored texts are equally long are compared:
    otherwise the engine decoded a different text.
    """
    folder = directory / result.records
    if not results.recipe.get("speed") or not (folder / DECODES).is_file():
        return
    speed = first_speed_settings(results.recipe["speed"])
    temperature, gamma = speed["temperature"], speed["num_speculative_tokens"]
    if temperature not in temperatures_of(results):
        return
    tables = {item.example_id: item for item in stored_tables(result, directory, temperature)}
    timed = (item for item in read_decodes(folder / DECODES) if item.arm == "draft")
    decodes = {item.decode.example_id: item.decode for item in timed if item.repeat == 0}
    scored = [name for name in decodes if name in tables]
    same = [
        name
        for name in scored
        if temperature or len(tables[name].drafted_S) == len(decodes[name].token_ids)
    ]
    if not same:
        return
    convention = stored_convention(folder)
    rule = speed.get("verification", "standard")
    predicted = block_counts([tables[name] for name in same], gamma, convention, rule)
    rows = _rows(engine_counts([decodes[name] for name in same], convention), predicted)
    engine = escape_markdown(str(speed["engine"]))
    heading = f"Counted by the {engine} engine, temperature {temperature:g}, blocks of {gamma}"
    heading += ", block verification" * (rule == "block")
    note = (
        f"{len(same)} of {len(scored)} prompts, whose decoded and scored texts are equally long. "
        f"{_in_words(convention)}"
    )
    yield f"### {heading}\n\n{note}\n\n" + markdown_table(["count", "engine", "predicted"], rows)


def _rows(counted: EngineCounts, predicted: BlockCounts) -> Iterator[list[str]]:
    """Yield rows of pooled counts; predicted counts are expectations."""
    engine = counted.passes_B.sum(), counted.drafted_B.sum(), counted.within_B.sum()
    expected = predicted.passes_B.sum(), predicted.drafted_B.sum(), predicted.accepted_B.sum()
    names = ("passes of the target", "drafted tokens", "accepted tokens")
    for name, count, expectation in zip(names, engine, expected, strict=True):
        yield [name, f"{count:g}", f"{expectation:.6g}"]
    yield ["accepted beyond the end of a text", f"{counted.beyond_B.sum():g}", "-"]
    per_pass = (accepted / passes for passes, _, accepted in (engine, expected))
    yield ["accepted per pass", *(f"{value:.3f}" for value in per_pass)]


def _in_words(convention: Convention) -> str:
    first = "the first token" if convention.prefill_emits_first else "no token"
    if convention.counts_beyond_end:
        limit = "whatever the length limit"
    else:
        but = "" if convention.drafts_last else " but one"
        limit = f"up to the last token{but} that the length limit allows"
    return (
        f"Prefill emits {first}. A block drafts gamma tokens, {limit}. Tokens beyond the end of a "
        "text count as drafted; what the engine accepts there is listed apart."
    )
