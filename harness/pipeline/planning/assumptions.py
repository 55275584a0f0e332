"""What the numbers of a plan rest on, in words, and how fast this machine has trained."""

import json
from collections.abc import Iterator, Mapping

from draftmark.environment import machine as this_machine
from draftmark.pipeline.planning import estimates
from draftmark.pipeline.planning.hardware import Machine
from draftmark.pipeline.planning.stage_costs import Site
from draftmark.pipeline.setting import ROWS_PER_BATCH
from draftmark.store.entries import ENTRY
from draftmark.store.records import DRAFT, TARGET
from draftmark.store.store import Store
from draftmark.training.flops import CHUNK_LOGITS

_FACTS = {"draft": DRAFT, "target": TARGET}  # where a training's ledger is, by stage


def of(sites: Mapping[tuple[str, str], Site], machine: Machine, store: Store) -> Iterator[str]:
    """Yield the assumptions, one to a line."""
    gpu = machine.gpu
    tera = {dtype: f"{rate / 1e12:g}" for dtype, rate in gpu.flops.items()}
    yield "Estimates, from shapes and these assumptions; nothing was measured:"
    yield (
        "- FLOPs: 2 for each weight and token forward, 4 more in training (Kaplan et al. 2020), "
        "and attention between tokens over half of each text."
    )
    yield (
        f"- {gpu.name}: {tera['bfloat16']} TFLOP/s in bfloat16, {tera['float32']} in float32, "
        f"{gpu.bandwidth / 1e12:g} TB/s (data sheet); {machine.utilisation:g} of the FLOP/s are "
        "reached (--utilisation). Texts are written and read in float32; training computes in the "
        "pair's dtype."
    )
    yield (
        f"- Decoding waits for memory: each pass reads all weights, for {ROWS_PER_BATCH} texts at "
        "once, up to the length limit; of drafted tokens none is accepted. Both are upper "
        "bounds; the time to launch kernels, which small models wait for, is not in them."
    )
    yield (
        f"- Memory: {estimates.TRAINED_WEIGHT_BYTES} bytes for each trained weight (itself, "
        f"gradient, AdamW), {estimates.ACTIVATION_BYTES} for each token, "
        "dimension and layer of a batch in 16 bits (Korthikanti et al. 2022), "
        f"{CHUNK_LOGITS:,} logits at once. Disk: weights in float32, hidden states; not "
        "the checkpoints of an unfinished training."
    )
    yield "- Tokens of a row (prompt, gold answer): " + "; ".join(_tokens(sites)) + "."
    if any(_has_budget(site) for site in sites.values()):
        yield "- A method with a budget is planned by its `passes`, as if it had none."
    yield "- Models answer as long as gold answers are, up to the limit."
    yield from _processor(store)


def _has_budget(site: Site) -> bool:
    recipe = site.setting.recipe
    return any(recipe.training_of(entry).budget for entry in recipe.methods)


def _tokens(sites: Mapping[tuple[str, str], Site]) -> Iterator[str]:
    for (task, pair), site in sites.items():
        load = next(iter(site.loads.gold.values()))  # of rows to train on, if there are any
        how = "counted" if site.loads.counted else "assumed"
        several = f" for {pair}" if len({pair for _, pair in sites}) > 1 else ""
        means = f"{load.prompt / load.rows:.0f}, {load.response / load.rows:.0f}"
        yield f"{task}{several} {means} ({how})"


def _processor(store: Store) -> Iterator[str]:
    """Yield how fast trainings in the store were on this machine's processor, if there are any."""
    flops, seconds, count = 0.0, 0.0, 0
    here = this_machine()
    if here["accelerators"]:
        return
    for stage, name in _FACTS.items():
        for path in sorted((store.root / stage).glob(f"*/{name}")):
            try:
                entry = json.loads((path.parent / ENTRY).read_text("utf-8"))
                ledger = json.loads(path.read_text("utf-8"))["ledger"]
                if entry["manifest"]["hardware"]["processor"] == here["processor"]:
                    flops, seconds = flops + ledger["flops"], seconds + ledger["train_s"]
                    count += ledger["train_s"] > 0
            except (OSError, ValueError, KeyError, TypeError):
                continue  # damaged: a run will say so
    if seconds:
        yield (
            f"- This machine's processor: {count} trainings in the store ran at "
            f"{flops / seconds / 1e9:.1f} GFLOP/s."
        )
