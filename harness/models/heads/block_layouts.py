"""The layouts of trained block heads: which head a `config.json` of other code describes.

- `speculators`: `speculators_model_type` is "peagle", "dflash" or "dspark", and the config of the
  layers is in `transformer_layer_config`.
- The layouts of the authors, whose config is that of the layers: `DFlashDraftModel`,
  `Qwen3DSparkModel`, `DominoDraftModel`, and an EAGLE-3 architecture with a `mask_token_id`, which
  is P-EAGLE's. A `DFlashDraftModel` whose `projector_type` is "domino" is a Domino as well.
- vLLM's `MedusaModel`.

Read are heads with the whole vocabulary, as wide as their target, with full attention in every
layer. `models.heads.block_imports` reads the weights. No torch at module level: plans import this
module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from draftmark.errors import UserError
from draftmark.models.heads.head_layouts import (
    BLOCK_ARCHITECTURES,
    EAGLE3_ARCHITECTURES,
    FIX,
    HeadFacts,
    LayerConfig,
    Layers,
    Size,
    check_keys,
    check_layer,
    read_head_facts,
)
from draftmark.store.reading import read_json
from draftmark.text import printable_text

BlockKind = Literal["medusa", "p_eagle", "dflash", "dspark", "domino"]
_SPECULATORS: Mapping[str, BlockKind] = {
    "peagle": "p_eagle",
    "dflash": "dflash",
    "dspark": "dspark",
}
_FAMILIES: Mapping[BlockKind, tuple[str, ...]] = {
    "p_eagle": ("llama", "qwen3"),
    "dflash": ("qwen3",),
    "dspark": ("qwen3",),
    "domino": ("qwen3",),
}
_OF_DOMINO = frozenset({"emb_dim", "gru_hidden_dim", "pure_draft_prefix_len", "shift_label"})
_FROM_ANCHOR: tuple[BlockKind, ...] = ("dspark", "domino")  # whose first slot is the anchor's
# What a head reads otherwise if its config has another value.
_ONLY: Mapping[str, Any] = {
    "fc_norm": False,
    "norm_output": False,
    "norm_before_fc": False,
    "norm_before_residual": False,
    "markov_head_type": "vanilla",
    "enable_confidence_head": True,
    "confidence_head_with_markov": True,
    "original_lm_head": True,
    "medusa_fc_bias": True,
}


class _DFlash(BaseModel):
    """The nested settings of DFlash's and Domino's authors."""

    model_config = ConfigDict(strict=True, extra="forbid")

    mask_token_id: int | None = None
    target_layer_ids: list[int] | None = None
    projector_type: Literal["dflash", "domino"] | None = None
    # _OF_DOMINO: rank, width of the GRU, uncorrected slots, whether a slot predicts the next token
    emb_dim: Size | None = None
    gru_hidden_dim: Size | None = None
    pure_draft_prefix_len: Annotated[int, Field(ge=0)] = 0
    shift_label: bool = False


class _BlockFlags(BaseModel):
    """What a block head's config adds to its layers'."""

    model_config = ConfigDict(strict=True, extra="allow")

    block_size: Size | None = None
    mask_token_id: int | None = None
    target_layer_ids: list[int] | None = None
    dflash_config: _DFlash | None = None
    aux_hidden_state_layer_ids: Layers = None
    eagle_aux_hidden_state_layer_ids: Layers = None
    draft_vocab_size: Size | None = None
    target_hidden_size: Size | None = None
    sample_from_anchor: bool | None = None
    markov_rank: Size | None = None
    fc_norm: bool = False
    norm_output: bool = False
    norm_before_fc: bool = False
    norm_before_residual: bool = False
    markov_head_type: str = "vanilla"
    enable_confidence_head: bool = True
    confidence_head_with_markov: bool = True
    # of speculators: of sliding attention alone, which is refused
    sliding_window_non_causal: bool = False
    # of DeepSpec, DFlash and Domino: of training, or said by another key
    emb_dim: int = 0
    num_anchors: int = 0
    num_target_layers: int = 0
    target_text_model_type: str = ""


class _Medusa(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    hidden_size: Size
    vocab_size: Size
    num_heads: Size
    num_hidden_layers: Size
    medusa_fc_bias: bool = False
    original_lm_head: bool = False


class _Named(BaseModel):
    """The keys that name the layout."""

    model_config = ConfigDict(strict=True, extra="allow")

    architectures: list[str] = []
    model_type: str | None = None
    speculators_model_type: str | None = None
    speculators_config: dict[str, Any] | None = None
    transformer_layer_config: dict[str, Any] | None = None
    mask_token_id: int | None = None
    dflash_config: dict[str, Any] | None = None


@dataclass(frozen=True)
class BlockFacts:
    """A trained block head, by its config; `layer` is the config of its layers.

    `layers` are the target's layers that it reads, numbered as in `models.hidden_states`; None for
    the last. `rank` is that of DSpark's Markov head or Domino's correction; `gru_size` and
    `uncorrected` are Domino's.
    """

    reference: str
    kind: BlockKind
    width: int  # of the target's states
    vocab_size: int
    block_size: int
    num_layers: int
    layer: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[int, ...] | None = None
    mask_token: int = 0
    rank: int = 0
    gru_size: int = 0
    uncorrected: int = 0

    vllm_layers: None = None  # vLLM reads the same layers

    def layers_of(self, num_layers: int) -> tuple[int, ...]:
        """Return the layers that the head reads; raises UserError if the target lacks one."""
        layers = self.layers or (num_layers,)
        if layers[-1] > num_layers:
            raise UserError(
                f"{self.reference} reads layers {', '.join(map(str, layers))} of its target, and "
                f"this target has layers 0 to {num_layers}: it is a head of another model."
            )
        return layers


TrainedHead = HeadFacts | BlockFacts


def read_trained_head(directory: Path, reference: str) -> TrainedHead:
    """Return the facts of a feature head or block head in a folder.

    Raises UserError, with the file and key, for whatever is not known.
    """
    path = directory / "config.json"
    named = read_json(path, _Named, FIX)
    kind = _kind(named)
    if kind is None:
        return read_head_facts(directory, reference)
    document: dict[str, Any] = read_json(path, fix=FIX)
    _check_values(path, document)
    if kind == "medusa":
        return _medusa(path, document, reference)
    return _layered(path, kind, named, document, reference)


def _kind(named: _Named) -> BlockKind | None:
    """Return the kind of a block head; None for anything else."""
    if named.speculators_model_type is not None:
        return _SPECULATORS.get(named.speculators_model_type)
    for name in named.architectures:
        if (named.dflash_config or {}).get("projector_type") == "domino":
            return "domino"
        if name in BLOCK_ARCHITECTURES:
            return cast(BlockKind, BLOCK_ARCHITECTURES[name])
        if name in EAGLE3_ARCHITECTURES and named.mask_token_id is not None:
            return "p_eagle"
    return None


def _check_values(path: Path, document: Mapping[str, Any]) -> None:
    for key, value in _ONLY.items():
        if document.get(key, value) != value:
            shown = printable_text(str(document[key]), 40)
            raise UserError(
                f"{path}: {key} = {shown!r} is not read in a block head, only {value!r}."
            )


def _medusa(path: Path, document: Mapping[str, Any], reference: str) -> BlockFacts:
    flags = read_json(path, _Medusa, FIX)
    check_keys(path, "", document.keys(), _Medusa)
    if not (flags.original_lm_head and flags.medusa_fc_bias):
        raise UserError(
            f"{path}: only Medusa heads that share the target's output head (original_lm_head) and "
            "whose blocks have a bias (medusa_fc_bias) are read."
        )
    width, vocabulary = flags.hidden_size, flags.vocab_size
    layers = flags.num_hidden_layers
    return BlockFacts(reference, "medusa", width, vocabulary, flags.num_heads, layers)


def _layered(
    path: Path, kind: BlockKind, named: _Named, document: Mapping[str, Any], reference: str
) -> BlockFacts:
    """Return the facts of a head with decoder layers of its own."""
    flags = read_json(path, _BlockFlags, FIX)
    layer: Mapping[str, Any] = document
    if named.speculators_model_type is not None:
        if named.transformer_layer_config is None:
            raise UserError(f"{path} has no transformer_layer_config; {FIX}.")
        layer = named.transformer_layer_config
        check_keys(path, "", document.keys() - {"transformer_layer_config"}, _BlockFlags)
        check_keys(path, "transformer_layer_config.", layer.keys(), LayerConfig)
    else:
        check_keys(path, "", document.keys(), _BlockFlags, LayerConfig)
    checked = check_layer(path, layer, _FAMILIES[kind])
    if flags.draft_vocab_size not in (None, checked.vocab_size):
        raise UserError(
            f"{path}: the head drafts only {flags.draft_vocab_size} of {checked.vocab_size} "
            "tokens; block heads are read with the whole vocabulary only."
        )
    if flags.target_hidden_size not in (None, checked.hidden_size):
        raise UserError(f"{path}: a block head narrower or wider than its target is not read.")
    return BlockFacts(
        reference,
        kind,
        checked.hidden_size,
        checked.vocab_size,
        _block_size(path, kind, flags, named),
        checked.num_hidden_layers,
        {name: value for name, value in layer.items() if name in LayerConfig.model_fields},
        _layers(path, flags),
        _mask_token(path, flags),
        *_correction(path, kind, flags),
    )


def _block_size(path: Path, kind: BlockKind, flags: _BlockFlags, named: _Named) -> int:
    """Return the number of tokens that a block drafts: DFlash's config counts the anchor too."""
    from_anchor = kind in _FROM_ANCHOR
    if kind != "p_eagle" and (
        flags.sample_from_anchor is not None and flags.sample_from_anchor != from_anchor
    ):
        raise UserError(
            f"{path}: a {kind} head with sample_from_anchor = {flags.sample_from_anchor} is not "
            "read."
        )
    size = flags.block_size
    if size is None and kind == "p_eagle":
        size = _proposed(named.speculators_config or {})
    if size is None or size - (kind == "dflash") < 1:
        raise UserError(f"{path} has no block_size of drafted tokens; {FIX}.")
    return size - (kind == "dflash")


def _proposed(config: Mapping[str, Any]) -> int | None:
    """Return the number of tokens that speculators' own settings propose."""
    methods = config.get("proposal_methods")
    first = methods[0] if isinstance(methods, list) and methods else {}
    size = first.get("speculative_tokens") if isinstance(first, dict) else None
    return size if isinstance(size, int) else None


def _layers(path: Path, flags: _BlockFlags) -> tuple[int, ...]:
    """Return the target's layers; `target_layer_ids` count the layers' outputs from 0."""
    from_zero = (flags.dflash_config or flags).target_layer_ids
    top = flags.aux_hidden_state_layer_ids or flags.eagle_aux_hidden_state_layer_ids
    layers = tuple(top or [layer + 1 for layer in from_zero or ()])
    if not layers or min(layers) < 0 or list(layers) != sorted(set(layers)):
        raise UserError(f"{path} names no layers of the target, each once, lowest first; {FIX}.")
    return layers


def _mask_token(path: Path, flags: _BlockFlags) -> int:
    token = (flags.dflash_config or flags).mask_token_id
    token = flags.mask_token_id if token is None else token
    if token is None or token < 0:
        raise UserError(f"{path} has no mask_token_id; {FIX}.")
    return token


def _correction(path: Path, kind: BlockKind, flags: _BlockFlags) -> tuple[int, int, int]:
    """Return rank, gru_size and uncorrected of BlockFacts: what drafted tokens add to logits."""
    if kind == "dspark":
        return _positive(path, "markov_rank", flags.markov_rank), 0, 0
    nested = flags.dflash_config or _DFlash()
    if kind != "domino":
        if of_domino := sorted(nested.model_fields_set & _OF_DOMINO):
            raise UserError(f"{path}: dflash_config.{of_domino[0]} is read only in a Domino.")
        return 0, 0, 0
    if not nested.shift_label:
        raise UserError(f"{path}: only a Domino with shift_label = true is read.")
    return (
        _positive(path, "emb_dim", nested.emb_dim),
        _positive(path, "gru_hidden_dim", nested.gru_hidden_dim),
        nested.pure_draft_prefix_len,
    )


def _positive(path: Path, key: str, value: int | None) -> int:
    if value is None:
        raise UserError(f"{path} has no {key} of 1 or more; {FIX}.")
    return value
