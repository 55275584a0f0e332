"""Block heads: drafts that answer all slots of a block in one pass, from the target's states.

Medusa, P-EAGLE, DFlash, DSpark and Domino are block heads; a file beside this one defines the
weights of each. A block starts after its anchor, the last token of the text. Slot k predicts the
token k + 1 places after the anchor. The target has read every token before the anchor, and its
states of them are the context. Embedding and output head are the target's, frozen.

A block always has all slots that the head was trained with, and a draft of fewer tokens takes the
first ones. Where the slots of a block see each other, as in DFlash, fewer slots would give other
distributions, and one acceptance table would not serve every block length.

Legend: T slot of the context, L layer, D hidden size, A anchor, K slot of a block, X width of a
joined state, V vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import AutoConfig, DynamicCache

from draftmark.errors import UserError
from draftmark.models.heads.saved_head import (
    SavedHead,
    check_family,
    load_weights,
    norm_name,
    saved_shape,
)
from draftmark.models.language_model import LanguageModel
from draftmark.models.shapes import Shape
from draftmark.models.spread import weights_of
from draftmark.types import Placement


@dataclass(frozen=True)
class BlockShape:
    """The facts of a block head that every architecture needs, besides the target's config."""

    layers: tuple[int, ...]  # of the target, numbered as in `models.hidden_states`
    vocab_size: int  # the tokenizer's
    block_size: int  # the number of tokens that a block drafts
    mask_token: int  # the token id at slots whose token is unknown
    biased_output: bool = False  # the target's output head has a bias


@dataclass
class BlockContext:
    """What a head keeps of the slots of a text: keys and values, and states of its own."""

    cache: DynamicCache
    slots: int = 0
    states: list[torch.Tensor] = field(default_factory=list)  # [T, D] each; of the last slots

    def append(self, states_TD: torch.Tensor) -> None:
        """Append the states of new slots."""
        self.states.append(states_TD)
        self.slots += len(states_TD)

    def at(self, slots_A: torch.Tensor) -> torch.Tensor:
        """Return the states [A, D] of some slots."""
        rows_TD = torch.cat(self.states)
        return rows_TD[slots_A - (self.slots - len(rows_TD))]


class BlockModule(SavedHead, ABC):
    """The weights of a block head between the target's embedding and output head."""

    shape: BlockShape
    sequential: ClassVar[bool] = False  # True if a slot depends on the tokens drafted before it
    joined_width: int = 0  # what `join` adds to the width of a state

    def __init__(self, config: Any, shape: BlockShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        rows, width = config.vocab_size, config.hidden_size
        self.embedding = torch.nn.Embedding(rows, width)
        self.output = torch.nn.Linear(width, rows, bias=shape.biased_output)
        if config.tie_word_embeddings:
            self.output.weight = self.embedding.weight
        for module in (self.embedding, self.output):
            module.requires_grad_(False)

    @abstractmethod
    def fuse(self, states_TLD: torch.Tensor) -> torch.Tensor:
        """Return the features [T, D] that slots read, from target states [T, L, D]."""

    @abstractmethod
    def extend(
        self, context: BlockContext, following_T: torch.Tensor, features_TD: torch.Tensor
    ) -> None:
        """Add slots to the context; slot i reads the feature of token i, and token i + 1."""

    @abstractmethod
    def blocks(
        self,
        context: BlockContext,
        ids_A: torch.Tensor,
        anchors_A: torch.Tensor,
        drawn_AK: torch.Tensor,
    ) -> torch.Tensor:
        """Return the states [A, K, D] of one block for each anchor, ready for the output head.

        The anchor in position `anchors_A` of the text is the token `ids_A`; its block reads the
        slots before that position. States where drawn_AK is False have no meaning, so they need not
        be computed; drawn slots are the first ones of their block.
        """

    def join(self, states_AKD: torch.Tensor, previous_AK: torch.Tensor) -> torch.Tensor:
        """Return states [A, K, X] that include what slot k takes from the tokens drafted before it.

        `previous_AK` are the anchor and those tokens: slot k may read entries 0 to k.
        """
        return states_AKD

    def bias(self, joined: torch.Tensor) -> torch.Tensor:
        """Return what the added part [..., X - D] of joined states adds to the logits, [..., V]."""
        raise NotImplementedError(f"{type(self).__name__} adds nothing to its states")

    def confidence_logits(self, joined: torch.Tensor) -> torch.Tensor:
        """Return the logits [...] of the confidence of joined states [..., X]."""
        raise NotImplementedError(f"{type(self).__name__} has no confidence head")

    def take(self, target: Any) -> None:
        """Initialise weights from the target's; the base class takes embedding and output head."""
        self.embedding.load_state_dict(weights_of(target.get_input_embeddings()))
        self.output.load_state_dict(weights_of(target.get_output_embeddings()))

    def get_input_embeddings(self) -> Any:
        """Return the embedding."""
        return self.embedding

    def get_output_embeddings(self) -> Any:
        """Return the output head."""
        return self.output


Build = Callable[[Any, BlockShape], BlockModule]  # from the target's config


@dataclass(frozen=True)
class BlockHead(LanguageModel):
    """A block head as training, scoring and engines use it."""

    model: BlockModule

    def hidden(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor | None = None) -> torch.Tensor:
        """Raise TypeError: a head needs the target's states."""
        raise TypeError("a block head reads the target's states, not tokens alone")

    @property
    def block_size(self) -> int:
        """The number of tokens that a block drafts."""
        return self.model.shape.block_size

    @property
    def width(self) -> int:
        """The width of a joined state."""
        return self.hidden_size + self.model.joined_width

    def fuse(self, states_TLD: torch.Tensor) -> torch.Tensor:
        """Return the features [T, D] that slots read, from target states [T, L, D]."""
        weight = self.model.get_input_embeddings().weight
        return self.model.fuse(states_TLD.to(weight.device, weight.dtype))

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [..., V] of joined states [..., X]."""
        logits = super().logits(hidden[..., : self.hidden_size])
        if self.model.joined_width:
            bias = self.model.bias(hidden[..., self.hidden_size :])
            logits = logits + bias[..., : self.vocab_size]
        return logits

    def confidence(self, joined: torch.Tensor) -> torch.Tensor:
        """Return the estimated probability [...] that the token of a joined state is accepted.

        It depends on the state and on the token before, never on the token that is drafted.
        """
        return self.model.confidence_logits(joined).float().sigmoid()


def make_block_head(
    target: LanguageModel, build: Build, shape: BlockShape, *, seed: int
) -> BlockHead:
    """Return an untrained float32 head for a target; raises UserError for unsupported families."""
    check_family(target, "Block heads")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(target.model.config, shape)
    with torch.no_grad():
        module.take(target.model)
    return BlockHead(module.to(target.device).eval(), target.vocab_size)


def block_shape(
    target: LanguageModel, layers: tuple[int, ...], block_size: int, mask_token: int | None
) -> BlockShape:
    """Return the shape of a head for a target.

    Raises UserError if the target's embedding lacks the mask token.
    """
    token = masked_token(target, mask_token, "target")
    biased = target.model.get_output_embeddings().bias is not None
    return BlockShape(layers, target.vocab_size, block_size, token, biased)


def masked_token(model: LanguageModel, given: int | None, owner: str) -> int:
    """Return the id at slots whose token is unknown; raises UserError if the embedding lacks it.

    By default it is the first row of the embedding beyond the tokenizer, which no text contains, or
    else the tokenizer's last token.
    """
    rows = int(model.model.get_input_embeddings().weight.shape[0])
    token = min(model.vocab_size, rows - 1) if given is None else given
    if token >= rows:
        raise UserError(f"mask_token = {token}: the {owner}'s embedding has rows 0 to {rows - 1}.")
    return token


def count_block_head(
    build: Build, target: Shape, config: Mapping[str, Any], layers: tuple[int, ...], block_size: int
) -> Shape:
    """Return the shape of a head, for planning; its weights are counted on torch's meta device.

    `config` is the target's, with `model_type`.
    """
    values = dict(config)
    made = AutoConfig.for_model(values.pop("model_type"), **values)
    made.tie_word_embeddings = target.tied
    with torch.device("meta"):
        module = build(made, BlockShape(layers, target.vocabulary, block_size, 0))
    return replace(target.cut(1), parameters=module.num_parameters(), trained_head=False)


def load_block_head(directory: Path, build: Build, placement: Placement) -> BlockHead:
    """Return the head saved in a folder, in evaluation mode; raises UserError if it is cut."""
    shape = BlockShape(**saved_shape(directory))
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    module = load_weights(build(config, shape), directory)
    module = module.to(placement.device, getattr(torch, placement.dtype)).eval()
    return BlockHead(module, shape.vocab_size)


def last_norm(target: Any) -> torch.nn.Module:
    """Return the norm before a target's output head."""
    norm: torch.nn.Module = getattr(target.base_model, norm_name(target.base_model))
    return norm
