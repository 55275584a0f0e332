"""The layouts of trained feature heads: which head a `config.json` of other code describes.

Three layouts are read; `models.heads.head_imports` reads the weights.

- `speculators` (https://github.com/vllm-project/speculators): `speculators_model_type = "eagle3"`
  and the layer's config in `transformer_layer_config`. The layer is Llama's or Qwen3's.
- `eagle3`, as SpecForge and EAGLE's authors save heads: `LlamaForCausalLMEagle3` (vLLM's own names
  `Eagle3LlamaForCausalLM` and `Eagle3Qwen3ForCausalLM` too) and the layer's config itself.
- `eagle`, EAGLE-1's: a config of Llama with the weight `fc.weight` beside one layer.

Where the sources differ, the rule is the one by which vLLM 0.32 serves a head (`llama_eagle3.py`,
`transformers_utils/configs/speculators/algos.py`), with the exceptions named here:

- `eagle_aux_hidden_state_layer_ids` at the top: k is the state after k layers, before any norm, as
  `models.hidden_states` numbers them. vLLM sorts the ids, so `fc` reads the lowest layer first.
  Default: 2, L // 2 and L - 3 of L layers.
- The same key inside `eagle_config`: SpecForge trains on, and SGLang serves from, the output of
  layer k counted from 0, which is state k + 1 here. That is followed, because the weights know
  these states; vLLM reads state k.
- `norm_before_residual` is required in the layout of speculators, which takes a missing key for
  false while vLLM takes it for true; elsewhere a missing key is false for both.
- `norm_output`: the state after the last norm is fed back, in vLLM and SGLang alike. specforge 0.2
  means something else by the key (false: no norm before the output head); no server does.

No torch at module level, because plans import this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from draftmark.errors import UserError
from draftmark.store.reading import adapter, explained, read_json
from draftmark.text import printable_text

FIX = "fix the head's folder, or download the head again"
Architecture = Literal["eagle", "eagle3"]
FAMILIES = ("llama", "qwen3")  # of a head's layer
EAGLE3_ARCHITECTURES = {
    "LlamaForCausalLMEagle3": "llama",
    "Eagle3LlamaForCausalLM": "llama",
    "Eagle3Qwen3ForCausalLM": "qwen3",
}
BLOCK_ARCHITECTURES = {
    "MedusaModel": "medusa",
    "DFlashDraftModel": "dflash",
    "Qwen3DSparkModel": "dspark",
    "DominoDraftModel": "domino",
}
EAGLE_ARCHITECTURES = ("LlamaForCausalLM", "EagleLlamaForCausalLM")
_ROTARY = ("default", "linear", "llama3", "yarn")  # the same at every length of text
Size = Annotated[int, Field(ge=1, lt=2**40)]
_Layer = Annotated[int, Field(ge=0, lt=2**16)]
Layers = list[_Layer] | None
_NAMES_OF_ROTARY = ("rope_scaling", "rope_parameters")
# Keys that change nothing that a head computes here, nor do private ones (_name_or_path).
_WITHOUT_EFFECT = {
    *(
        "architectures",
        "attention_dropout",
        "auto_map",
        "bos_token_id",
        "chunk_size_feed_forward",
        "dtype",
    ),
    *("embed_requires_grad", "id2label", "is_encoder_decoder", "label2id", "problem_type"),
    *("eos_token_id", "initializer_range", "max_window_layers", "model_type", "output_attentions"),
    *("output_hidden_states", "pad_token_id", "pretraining_tp", "return_dict", "sliding_window"),
    *("speculators_config", "speculators_model_type", "speculators_version", "target_model_type"),
    *("cls_token_id", "decoder_start_token_id", "sep_token_id", "unk_token_id"),
    *("tie_word_embeddings", "torch_dtype", "transformers_version", "use_cache"),
}


class _Eagle(BaseModel):
    """The nested settings of SpecForge and ModelOpt."""

    model_config = ConfigDict(strict=True)

    eagle_aux_hidden_state_layer_ids: Layers = None
    use_aux_hidden_state: bool = True
    norm_before_fc: bool = False


class LayerConfig(BaseModel):
    """The config of a head's layer, as far as it is checked; transformers reads all of it."""

    model_config = ConfigDict(strict=True, extra="allow")

    model_type: str
    hidden_size: Size
    vocab_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    num_key_value_heads: Size | None = None
    intermediate_size: Size
    head_dim: Size | None = None
    hidden_act: str = "silu"
    max_position_embeddings: Size = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    layer_types: list[str] | None = None
    use_sliding_window: bool = False


# What an exported layer's config has of its model's.
LAYER_KEYS = {
    *LayerConfig.model_fields,
    *("bos_token_id", "eos_token_id", "pad_token_id", "dtype", "initializer_range"),
}


class _Flags(BaseModel):
    """What a head's config adds to the layer's."""

    model_config = ConfigDict(strict=True, extra="allow")

    draft_vocab_size: Size | None = None
    target_hidden_size: Size | None = None
    num_aux_hidden_states: Size | None = None
    eagle_aux_hidden_state_layer_ids: Layers = None
    eagle_config: _Eagle | None = None
    norm_before_residual: bool | None = None
    norm_before_fc: bool = False
    fc_norm: bool = False
    norm_output: bool = False
    bias: bool | None = None  # of EAGLE-1's fc, whose file decides


class _Config(BaseModel):
    """The keys that name the layout."""

    model_config = ConfigDict(strict=True, extra="allow")

    architectures: list[str] = []
    speculators_model_type: str | None = None
    transformer_layer_config: dict[str, Any] | None = None


@dataclass(frozen=True)
class HeadFacts:
    """A trained head, by its config; `layer` is the config of its layer.

    `layers` are the target's layers that it reads, None for the usual ones. `vllm_layers` are those
    that vLLM reads, where they differ.
    """

    reference: str
    kind: Architecture
    layer: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[int, ...] | None = None
    vllm_layers: tuple[int, ...] | None = None
    draft_vocab_size: int | None = None
    target_hidden_size: int | None = None
    fc_norm: bool = False
    norm_output: bool = False
    norm_before_fc: bool = False
    norm_before_residual: bool = False

    def layers_of(self, num_layers: int) -> tuple[int, ...]:
        """Return the layers that the head reads in a target of `num_layers` layers.

        Raises UserError if the target lacks one. EAGLE-3 reads states before the last norm, so the
        final state, which is after it, is not among them.
        """
        if self.kind == "eagle":
            return (num_layers,)
        layers = self.layers or (2, num_layers // 2, num_layers - 3)
        if not 0 <= layers[0] <= layers[-1] < num_layers or len(set(layers)) < len(layers):
            raise UserError(
                f"{self.reference} reads layers {', '.join(map(str, layers))} of its target, and "
                f"this target has layers 0 to {num_layers - 1}: it is a head of another model."
            )
        return layers


def is_head(config: Mapping[str, Any]) -> bool:
    """True if a config names a feature head; EAGLE-1's do not."""
    architectures = config.get("architectures")
    named = architectures if isinstance(architectures, list) else []
    marked = any(str(name) in (*EAGLE3_ARCHITECTURES, *BLOCK_ARCHITECTURES) for name in named)
    return bool(config.get("speculators_model_type")) or marked


def read_head_facts(directory: Path, reference: str) -> HeadFacts:
    """Return the facts of the head in a folder.

    Raises UserError, with the name of the file and key, for a malformed config, another layout,
    another architecture, and keys or values with a meaning that is unknown here.
    """
    path = directory / "config.json"
    document: dict[str, Any] = read_json(path, fix=FIX)
    config = read_json(path, _Config, FIX)
    flags = read_json(path, _Flags, FIX)
    if config.speculators_model_type is not None:
        kind, layer = _speculators(path, config, flags)
        check_keys(path, "", document.keys() - {"transformer_layer_config"}, _Flags)
        check_keys(path, "transformer_layer_config.", layer.keys(), LayerConfig)
    else:
        kind, layer = _plain(path, config, document), document
        check_keys(path, "", document.keys(), _Flags, LayerConfig)
    check_layer(path, layer, FAMILIES if kind == "eagle3" else FAMILIES[:1])
    layers, served = _layers(path, flags)
    return HeadFacts(
        reference,
        kind,
        {name: value for name, value in layer.items() if name in LayerConfig.model_fields},
        layers,
        served,
        flags.draft_vocab_size,
        flags.target_hidden_size,
        flags.fc_norm,
        flags.norm_output,
        flags.norm_before_fc or bool(flags.eagle_config and flags.eagle_config.norm_before_fc),
        bool(flags.norm_before_residual),
    )


def _speculators(
    path: Path, config: _Config, flags: _Flags
) -> tuple[Architecture, Mapping[str, Any]]:
    """Return the architecture and the layer's config of speculators' layout."""
    named = config.speculators_model_type
    if named != "eagle3":
        raise UserError(
            f"{path} describes a {printable_text(str(named), 40)!r} of speculators, and only "
            "'eagle3', 'peagle', 'dflash' and 'dspark' are read as a head; measure another kind on "
            "its server (draftmark measure-server)."
        )
    if config.transformer_layer_config is None:
        raise UserError(f"{path} has no transformer_layer_config; {FIX}.")
    if flags.norm_before_residual is None:
        raise UserError(
            f"{path} has no norm_before_residual, for which vLLM takes true and speculators false; "
            "add the value that the head was trained with."
        )
    return "eagle3", config.transformer_layer_config


def _plain(path: Path, config: _Config, document: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a layout whose config is its layer's."""
    named = config.architectures
    for name in named:
        if name in EAGLE3_ARCHITECTURES:
            family = EAGLE3_ARCHITECTURES[name]
            if document.get("model_type") != family:
                raise UserError(
                    f"{path}: {name} has layers of {family}, not model_type "
                    f"{printable_text(str(document.get('model_type')), 40)!r}; {FIX}."
                )
            return "eagle3"
    if len(named) == 1 and named[0] in EAGLE_ARCHITECTURES:
        return "eagle"
    known = ", ".join((*EAGLE3_ARCHITECTURES, *EAGLE_ARCHITECTURES))
    raise UserError(
        f"{path} names architectures {printable_text(str(named), 80)}, which are not read as a "
        f"head; known are {known}, and speculators_model_type = 'eagle3'. A language model is a "
        "draft = { model = ... }."
    )


def check_keys(path: Path, place: str, keys: Any, *kinds: type[BaseModel]) -> None:
    """Raise UserError for a key that no section has and that changes something, or may."""
    known = _WITHOUT_EFFECT.union(*(kind.model_fields for kind in kinds))
    if unknown := sorted(key for key in set(keys) - known if not key.startswith("_")):
        raise UserError(
            f"{path} has the key {printable_text(place + unknown[0], 80)!r}, whose meaning is "
            "unknown here; if it changes nothing that the head computes, delete it."
        )


def check_layer(path: Path, layer: Mapping[str, Any], allowed: Sequence[str]) -> LayerConfig:
    """Return a layer's config; raises UserError unless it is of a family, with full attention."""
    family = layer.get("model_type")
    if family not in allowed:
        raise UserError(
            f"{path}: the head's layer is of {printable_text(str(family), 40)!r}, and heads with "
            f"layers of {' or '.join(allowed)} are read."
        )
    with explained(path, FIX):
        checked: LayerConfig = adapter(LayerConfig).validate_python(dict(layer))
    if set(checked.layer_types or ()) - {"full_attention"} or checked.use_sliding_window:
        raise UserError(f"{path}: heads with sliding attention are not read.")
    for name in _NAMES_OF_ROTARY:
        scaling = getattr(checked, name) or {}
        rotary = scaling.get("rope_type", scaling.get("type", "default"))
        if rotary not in _ROTARY:
            raise UserError(
                f"{path}: {name} is of type {printable_text(str(rotary), 40)!r}; read are "
                f"{', '.join(_ROTARY)}."
            )
    return checked


def _layers(path: Path, flags: _Flags) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Return the layers that a head reads, and those that vLLM reads if they differ."""
    nested = flags.eagle_config.eagle_aux_hidden_state_layer_ids if flags.eagle_config else None
    if flags.eagle_config and not flags.eagle_config.use_aux_hidden_state:
        raise UserError(
            f"{path}: use_aux_hidden_state = false makes a head on the final state alone, which is "
            "not read."
        )
    top = flags.eagle_aux_hidden_state_layer_ids
    if top:
        layers, served = tuple(sorted(set(top))), None
    elif nested:
        served = tuple(sorted(set(nested)))
        layers = tuple(layer + 1 for layer in served)
    else:
        layers, served = None, None
    count, number = flags.num_aux_hidden_states, len(layers or "abc")
    if count is not None and count != number:
        raise UserError(f"{path}: num_aux_hidden_states = {count}, and the head reads {number}.")
    return layers, served
