"""What to give a server so that it drafts as recommended: vLLM's and SGLang's own settings.

vLLM 0.32: `--speculative-config` (config/speculative.py), with a schedule of drafted tokens by
batch size (`num_speculative_tokens_per_batch_size`, v1/spec_decode/dynamic/utils.py: inclusive
ranges from 1; batches beyond the last are as the last). SGLang: srt/server_args.py.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from draftmark import registry
from draftmark.errors import UserError
from draftmark.results import Cell, Results

FOLDER = "drafts"  # the folder of exported drafts in commands
MODEL = "model"  # the folder of an exported language model in it
# A head's architecture -> vLLM's method, and SGLang's algorithm.
_HEADS = {"eagle": ("eagle", "EAGLE"), "eagle3": ("eagle3", "EAGLE3")}
# A block head by its method's name: vLLM's method, and whether a block must be drafted whole.
_BLOCK_HEADS = {
    "medusa": ("medusa", False),
    "p_eagle": ("eagle3", False),
    "dflash": ("dflash", True),
    "dspark": ("dspark", True),
}
_BLOCK_NOTES = {
    "medusa": "vLLM drafts greedily with Medusa heads",
    "p_eagle": "vLLM 0.32 loads P-EAGLE heads for Llama targets alone",
    "dflash": "vLLM's CPU build has no kernels for DFlash",
    "dspark": "vLLM's CPU build has no kernels for DSpark",
}
_NO_SGLANG = "no settings of SGLang for this draft are known here"
_WHOLE = (
    "the slots of a block see each other, so vLLM must draft all {block} that the head was trained "
    "with: expect the acceptance of blocks of {block}, not of {advised}"
)
_THRESHOLD = (
    "vLLM 0.32 cuts blocks by its load, not at a confidence_threshold; measure the head without it"
)
_DOMINO = "vLLM has no Domino; SpecForge reads the folder that draftmark export writes"
_MTP = "vLLM and SGLang run MTP heads only of models that come with one; this head runs in neither"
_TREE = "neither vLLM nor SGLang drafts a tree whose shape is fixed; take a chain"
_EAGLE_NOTE = (
    "SGLang reads an EAGLE-1 head whose config.json has architectures = "
    '["LlamaForCausalLMEagle"]: change that first'
)
_HEAD_NOTE = (
    "for a head that is not EAGLE-3's write its kind in place of eagle3: eagle, medusa, dflash or "
    "dspark; P-EAGLE's also needs parallel_drafting"
)
_GREEDY = (
    "vLLM drafts greedily with {kind}, and this draft was measured sampling; measure with "
    "evaluation.draft = {{ temperature = 0 }}"
)
_UNKNOWN = "no server's settings for this method are known here"
_ODD = "a name of this draft or its target has characters that no command here repeats"
_MARKUP = frozenset("<>&`|\\")
# Methods that copy from text: vLLM's name, knobs -> vLLM's names, and a note.
_COPYING: Sequence[tuple[str, Mapping[str, str], str]] = (
    (
        "ngram",
        {"max_ngram": "prompt_lookup_max", "min_ngram": "prompt_lookup_min"},
        "SGLang's NGRAM looks up otherwise than draftmark and vLLM: not measured here",
    ),
    (
        "suffix",
        {
            "max_depth": "suffix_decoding_max_tree_depth",
            "max_spec_factor": "suffix_decoding_max_spec_factor",
            "min_token_prob": "suffix_decoding_min_token_prob",
        },
        "vLLM needs the package arctic-inference for it",
    ),
)


@dataclass(frozen=True)
class Handover:
    """The settings that serve a draft; empty where a server cannot, with the reason in `notes`.

    `command` makes the draft's folder, "" if none is needed. `gammas` maps batch sizes to block
    lengths, 0 for no draft; no batch size was timed if it is empty.
    """

    name: str
    vllm: Mapping[str, Any] = field(default_factory=dict)
    sglang: Sequence[str] = ()
    command: str = ""
    notes: Sequence[str] = ()
    gammas: Mapping[int, int] = field(default_factory=dict)

    @property
    def vllm_flag(self) -> str:
        """The argument of `vllm serve`, in one line."""
        return f"--speculative-config {shlex.quote(json.dumps(self.vllm))}" if self.vllm else ""

    @property
    def sglang_flags(self) -> str:
        """The arguments of SGLang's server, in one line."""
        return " ".join(self.sglang)


def is_plain(name: str) -> bool:
    """True if a name, quoted for a shell, does nothing in a terminal, in Markdown and in HTML."""
    return name.isprintable() and not _MARKUP & set(name) and len(name) < 1000


def export_folder(cell: Cell) -> str:
    """Return the name of the folder that `draftmark export` gives a draft."""
    return f"{cell.task}-{cell.pair}-{cell.method}-{cell.seed}"


def handover(
    results: Results, cell: Cell, name: str, gammas: Mapping[int, int], *, run: str, sampled: bool
) -> Handover | None:
    """Return how to serve the draft of a cell, called `name`; None if its method is not known.

    `gammas` maps batch sizes to block lengths. `run` is the run's folder. `sampled`: the draft
    draws its tokens, which vLLM does not do by default.
    """
    entry = _entry(results, cell.method)
    method = _method(entry["name"]) if entry else None
    if entry is None or method is None:
        return None
    if copying := _copying(method, entry):
        settings, note = copying
        config = {"method": settings.pop("method"), **_lengths(gammas), **settings}
        return Handover(name, config, notes=[note], gammas=gammas)
    if reason := _refusal(entry, method, sampled):
        return Handover(name, notes=[reason], gammas=gammas)
    gammas, notes = _in_blocks(entry, method, gammas)
    init = _init(results, cell, entry)
    served = _served_as(entry["name"], method, init)
    if served is None:
        return Handover(name, notes=[_UNKNOWN], gammas=gammas)
    vllm, algorithm, model = served
    shares = vllm == "draft_model" and init.get("vocabulary") == "shared"
    if shares and sampled:
        return Handover(name, notes=[_GREEDY.format(kind="a shared vocabulary")], gammas=gammas)
    folder = f"{FOLDER}/{export_folder(cell)}/{MODEL if vllm == 'draft_model' else vllm}"
    if not is_plain(model or folder):
        return Handover(name, notes=[_ODD], gammas=gammas)
    sglang = _sglang_flags(algorithm, model or folder, max(gammas.values()))
    options = _draft_options(results, sampled=sampled, shares=shares)
    if getattr(method, "parallel_drafting", False):
        options["parallel_drafting"] = True
    return Handover(
        name,
        {"method": vllm, "model": model or folder, **_lengths(gammas), **options},
        sglang=[] if shares or notes else sglang,
        command="" if model else f"draftmark export {shlex.quote(run)} --out {FOLDER}",
        notes=[*_notes(vllm, model), *notes],
        gammas=gammas,
    )


def _refusal(entry: Mapping[str, Any], method: Any, sampled: bool) -> str:
    """Return why no server drafts as it was measured; empty if one does."""
    if entry.get("tree", getattr(method, "tree", None)):
        return _TREE
    if getattr(method, "architecture", "") == "mtp":
        return _MTP
    if entry["name"] == "domino":
        return _DOMINO
    if entry.get("confidence_threshold"):
        return _THRESHOLD
    if entry["name"] == "medusa" and sampled:
        return _GREEDY.format(kind="Medusa heads")
    return ""


def _in_blocks(
    entry: Mapping[str, Any], method: Any, gammas: Mapping[int, int]
) -> tuple[Mapping[int, int], list[str]]:
    """Return the block lengths that vLLM must be given for a draft of one pass, and notes on it.

    Other drafts keep theirs, without notes.
    """
    _, whole = _BLOCK_HEADS.get(entry["name"], ("", False))
    block = entry.get("block_size", getattr(method, "block_size", None))
    if block is None:
        return gammas, []
    notes = [_NO_SGLANG, *filter(None, [_BLOCK_NOTES.get(entry["name"])])]
    if whole and (others := sorted({gamma for gamma in gammas.values() if gamma} - {block})):
        notes.append(_WHOLE.format(block=block, advised=", ".join(map(str, others))))
    served = {batch: _block_length(gamma, block, whole) for batch, gamma in gammas.items()}
    return served, notes


def _block_length(gamma: int, block: int, whole: bool) -> int:
    return block if whole and gamma else min(gamma, block)


def _draft_options(results: Results, *, sampled: bool, shares: bool) -> dict[str, Any]:
    """Return vLLM's options of a draft: how it samples, and another tokenizer than its target's."""
    options: dict[str, Any] = {"draft_sample_method": "probabilistic"} if sampled else {}
    if sampled and results.verification == "block":
        options["rejection_sample_method"] = "block"
    return options | ({"use_heterogeneous_vocab": True} if shares else {})


def _notes(vllm: str, model: str) -> list[str]:
    if vllm == "eagle":
        return [_EAGLE_NOTE]
    return [_HEAD_NOTE] if model and vllm == "eagle3" else []


def _copying(method: Any, entry: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """Return vLLM's settings of a method that copies from text, and a note; None for others."""
    for vllm, names, note in _COPYING:
        knobs = {knob: entry.get(knob, getattr(method, knob, None)) for knob in names}
        if all(value is not None for value in knobs.values()):
            return {"method": vllm, **{names[knob]: knobs[knob] for knob in names}}, note
    return None


def _init(results: Results, cell: Cell, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the init of a cell's draft: the entry's own, else the pair's."""
    pairs: Sequence[Mapping[str, Any]] = results.recipe.get("pairs", ())
    of_pair = next((pair.get("draft") or {} for pair in pairs if pair["name"] == cell.pair), {})
    found: Mapping[str, Any] = entry.get("draft") or of_pair
    return found


def _entry(results: Results, title: str) -> Mapping[str, Any] | None:
    """Return the recipe's entry of a method."""
    entries: Sequence[Mapping[str, Any]] = results.recipe.get("methods", ())
    return next((it for it in entries if (it.get("label") or it["name"]) == title), None)


def _method(name: str) -> Any:
    """Return the class of a method; None if its plug-in is not installed."""
    try:
        return registry.find_registered("baselines", name)
    except UserError:
        return None


def _served_as(name: str, method: Any, init: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return vLLM's method, SGLang's algorithm, and the draft's name if nothing trained it here.

    `name` is the method's. None if the settings are not known.
    """
    model, head = init.get("model"), init.get("head")
    is_head = bool(head) and not any(init.get(name) for name in ("model", "pruned", "random"))
    given = "" if method.trains else str(model or (head if is_head else "") or "")
    given = given.partition("@")[0]  # servers name a commit otherwise
    if is_head and method.kind == "language_model":
        return "eagle3", "EAGLE3", given
    if method.kind == "language_model":
        return "draft_model", "STANDALONE", given
    if block := _BLOCK_HEADS.get(name):
        return block[0], "", given
    heads = _HEADS.get(getattr(method, "architecture", ""))
    return (*heads, given) if heads else None


def _lengths(gammas: Mapping[int, int]) -> dict[str, Any]:
    """Return vLLM's block length, and its schedule if batch sizes have several."""
    ranges = schedule(gammas)
    by_batch = {"num_speculative_tokens_per_batch_size": ranges} if len(ranges) > 1 else {}
    return {"num_speculative_tokens": max(gammas.values()), **by_batch}


def schedule(gammas: Mapping[int, int]) -> list[list[int]]:
    """Return [first batch, last batch, drafted tokens] of each range, from batch 1.

    A batch size that was not timed drafts as the next larger one that was.
    """
    ranges, first = [], 1
    for gamma, group in groupby(sorted(gammas.items()), key=lambda item: item[1]):
        last = [batch for batch, _ in group][-1]
        ranges.append([first, last, gamma])
        first = last + 1
    return ranges


def _sglang_flags(algorithm: str, folder: str, gamma: int) -> list[str]:
    """Return SGLang's flags for a chain of `gamma` drafted tokens; it counts the verified one."""
    return [
        f"--speculative-algorithm {algorithm}",
        f"--speculative-draft-model-path {shlex.quote(folder)}" if folder else "",
        f"--speculative-num-steps {gamma}",
        "--speculative-eagle-topk 1",
        f"--speculative-num-draft-tokens {gamma + 1}",
    ]


def served_handover(results: Results, name: str, gammas: Mapping[int, int]) -> Handover:
    """Return what to change at a measured server, whose draft only the server knows.

    vLLM's settings are to be merged into the server's own.
    """
    facts, gamma = results.server or {}, max(gammas.values())
    notes = ["the server's draft stays as it is"]
    if facts.get("software") == "SGLang" and "speculative_algorithm" in facts:
        path = str(facts.get("speculative_draft_model_path", ""))
        flags = _sglang_flags(str(facts["speculative_algorithm"]), path, gamma)
        return Handover(name, {}, list(filter(None, flags)), notes=notes, gammas=gammas)
    if facts.get("software") == "llama.cpp":
        return Handover(name, notes=[f"llama.cpp: --draft-max {gamma}", *notes], gammas=gammas)
    merge = "merge this into the server's own --speculative-config"
    return Handover(name, _lengths(gammas), notes=[merge], gammas=gammas)
