"""Language models: loading, saving, hidden states and logits, and the check of tokenizers.

The vocabulary is the tokenizer's: a head's padding ids beyond its largest id are cut off before any
softmax, in target and draft alike, because no text contains them. Weights are safetensors only, and
code that comes with a model runs only if the recipe allows it.

Legend: B batch, T position, N supervised position, D hidden size, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from draftmark.errors import UserError
from draftmark.models.attention import group_heads
from draftmark.models.context_length import context_length
from draftmark.models.large_weights import head_product
from draftmark.models.loading import explain_loading
from draftmark.models.shared_vocabulary import SharedVocabulary, read_vocabulary
from draftmark.models.spread import is_spread, keep_head, load_placed, main_device
from draftmark.models.token_ids import vocabulary_size
from draftmark.types import Placement

transformers_logging.disable_progress_bar()  # a run shows its own progress

DEFAULT_PLACEMENT = Placement()
_PROBE_TOLERANCE = 1e-4  # relative to the largest logit, in float32


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model: a body (ids to hidden states) and a head (states to logits)."""

    model: Any  # transformers.PreTrainedModel
    vocab_size: int

    def hidden(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor | None = None) -> torch.Tensor:
        """Return the final hidden states [B, T, D], after the last norm; mask_BT is 1 on text."""
        body = self.model.base_model
        read = body(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
        return cast(torch.Tensor, read.last_hidden_state)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits [..., V] of hidden states [..., D], as the model's own forward does."""
        logits = head_product(self.model.get_output_embeddings(), hidden)
        logits = _as_configured(logits, self.model.config)
        padded = logits.shape[-1] > self.vocab_size
        return logits[..., : self.vocab_size] if padded else logits

    @property
    def device(self) -> torch.device:
        """The device of inputs and outputs."""
        return main_device(self.model)

    @property
    def hidden_size(self) -> int:
        """The width of a hidden state."""
        return int(self.model.config.hidden_size)

    @cached_property
    def max_positions(self) -> int:
        """The number of tokens that fit the context."""
        return context_length(self.model.config.to_dict())


@dataclass(frozen=True)
class SharedVocabularyModel(LanguageModel):
    """A draft with its own tokenizer, which reads the target's ids and answers in them.

    `share_vocabulary` makes one; V is the target's vocabulary.
    """

    vocabulary: SharedVocabulary

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits [..., V] of hidden states [..., D]; -inf for tokens not shared."""
        rows = self.model.get_output_embeddings().weight.shape[0]
        own = LanguageModel(self.model, rows).logits(hidden)
        return own[..., self._ids_V.clamp(min=0)].masked_fill(self._ids_V < 0, -torch.inf)

    @cached_property
    def _ids_V(self) -> torch.Tensor:
        return torch.tensor(self.vocabulary.to_draft, device=self.device)


def share_vocabulary(loaded: LanguageModel, vocabulary: SharedVocabulary) -> SharedVocabularyModel:
    """Return a model that reads and answers in the target's ids.

    Its body maps the ids itself, so that whoever calls the body passes the target's.
    """
    reading_V = torch.tensor(vocabulary.reading, device=loaded.device)

    def map_ids(body: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "input_ids": reading_V[kwargs["input_ids"]]}

    loaded.model.base_model.register_forward_pre_hook(map_ids, with_kwargs=True)
    return SharedVocabularyModel(loaded.model, len(vocabulary.to_draft), vocabulary)


def _as_configured(logits: torch.Tensor, config: Any) -> torch.Tensor:
    """Apply the scaling (Cohere, Granite) or soft cap (Gemma) of some families' logits."""
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if scaling := getattr(config, "logits_scaling", None):
        logits = logits / scaling
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits


def cut_or_widen(logits: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return logits [..., vocab_size]: a token without a row in the head has -inf."""
    return pad(logits, (0, vocab_size - logits.shape[-1]), value=-torch.inf)


def pad_rows(
    rows: Sequence[Sequence[int]], device: torch.device, side: str = "right"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (ids [B, T], mask [B, T]) of rows padded on one side; the mask is 1 on tokens."""
    ids = [torch.tensor(row, dtype=torch.long) for row in rows]
    ids_BT, mask_BT = (
        pad_sequence(each, batch_first=True, padding_side=side)
        for each in (ids, [torch.ones_like(row) for row in ids])
    )
    return ids_BT.to(device), mask_BT.to(device)


def _once_for_the_same_files(load: Callable[..., Any]) -> Callable[..., Any]:
    """Return `load` with its last results kept, each as long as its folder's files stay the same.

    A stage needs the tokenizer three times, and a large one takes longer to load than a small
    model.
    """

    @lru_cache(maxsize=4)
    def kept(directory: Path, files: tuple[Any, ...], options: tuple[Any, ...]) -> Any:
        return load(directory, **dict(options))

    @wraps(load)
    def load_once(directory: Path, **options: Any) -> Any:
        stats = [(path.name, path.stat()) for path in sorted(Path(directory).glob("*"))]
        files = tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
        return kept(directory, files, tuple(options.items()))

    return load_once


@_once_for_the_same_files
def load_tokenizer(directory: Path, *, trust_remote_code: bool = False) -> Any:
    """Return the tokenizer of a model folder, which callers share and must not change.

    Raises UserError if it needs forbidden code.
    """
    with explain_loading(directory, "The tokenizer of "):
        return AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=trust_remote_code
        )


def load_model(directory: Path, placement: Placement = DEFAULT_PLACEMENT) -> LanguageModel:
    """Return the model of a folder, in evaluation mode, with its shared vocabulary if it has one.

    Raises UserError if weights are missing or do not belong to it (see `loading`), if the head has
    no row for an ordinary token, if body and head together do not give the model's own logits (the
    family transforms its logits in an unknown way), or if the model needs its own code and
    `placement` forbids that.
    """
    trusted = placement.trust_remote_code
    model = load_placed(directory, placement)
    tokenizer = load_tokenizer(directory, trust_remote_code=trusted)
    size = vocabulary_size(tokenizer, model.get_output_embeddings().weight.shape[0])
    group_heads(model)
    loaded = LanguageModel(model, size)
    _check_head(loaded, directory)
    vocabulary = read_vocabulary(directory)
    return loaded if vocabulary is None else share_vocabulary(loaded, vocabulary)


def drop_body(loaded: LanguageModel) -> None:
    """Free the memory of all weights but the head's; only `logits` works from here on."""
    if is_spread(loaded.model):
        keep_head(loaded.model)
        return
    loaded.model.base_model.to("meta")
    for parameter in loaded.model.get_output_embeddings().parameters():
        # A copy: while one tensor of a weight file is in use, the whole file stays mapped.
        parameter.data = parameter.data.clone()


def cast_weights(loaded: LanguageModel, dtype: str) -> None:
    """Cast the weights of a whole model in place, as if loaded in that dtype.

    Buffers keep their dtype: rotary frequencies rounded to bfloat16 would turn distant positions by
    the wrong angle.
    """
    for parameter in loaded.model.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype))


@torch.no_grad()
def _check_head(loaded: LanguageModel, directory: Path) -> None:
    probe_BT = torch.arange(1, 5, device=loaded.device).remainder(loaded.vocab_size)[None]
    whole = loaded.model(input_ids=probe_BT).logits[..., : loaded.vocab_size].nan_to_num(0, 0, 0)
    split = loaded.logits(loaded.hidden(probe_BT)).nan_to_num(0, 0, 0)  # refused where it is kept
    tolerance = _PROBE_TOLERANCE * float(whole.abs().max().float())
    if loaded.model.dtype == torch.float32 and not torch.allclose(whole, split, atol=tolerance):
        raise UserError(
            f"{directory}: {type(loaded.model).__name__} transforms its logits in an unknown way, "
            "so stored hidden states would give wrong logits; this family is not supported."
        )


def check_same_tokenizer(target: Any, draft: Any, names: tuple[str, str]) -> None:
    """Raise UserError, showing the first ids that differ, unless both vocabularies are equal."""
    first, second = target.get_vocab(), draft.get_vocab()
    if first == second:
        return
    by_id = [{index: token for token, index in vocab.items()} for vocab in (first, second)]
    ids = sorted(set(by_id[0]) | set(by_id[1]))
    differing = [index for index in ids if by_id[0].get(index) != by_id[1].get(index)]
    shown = "; ".join(
        f"{index}: {by_id[0].get(index)!r} and {by_id[1].get(index)!r}" for index in differing[:3]
    )
    raise UserError(
        f"The tokenizers of {names[0]!r} and {names[1]!r} differ in {len(differing)} ids "
        f"({shown}). A draft must share its target's tokenizer; choose another draft, or set "
        "vocabulary = 'shared' in draft = { model = ... } to draft on the tokens that both have."
    )


def save_model(loaded: LanguageModel, tokenizer: Any, directory: Path) -> None:
    """Write weights as safetensors with config and tokenizer, loadable by any engine."""
    loaded.model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    if isinstance(loaded, SharedVocabularyModel):
        loaded.vocabulary.save(directory)
