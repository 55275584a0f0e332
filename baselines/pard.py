"""PARD: a language model that drafts a block in one pass (An et al. 2025, arXiv 2504.18583).

After the text come `block_size` - 1 mask tokens, and the draft's states there predict the tokens of
the block; slot 0 is the text's last token. The loss of every slot is by default -log q(token).
Training reads all starts at slot 0 and max(ratio^k, floor) of them at slot k, each start among
those of slot k - 1 (conditional drop-token): `ratio` 0.7, `floor` 0.2.

Published recipe: a small model of the target's family, text that the target wrote (`text =
"target"`), 8 slots. vLLM runs it as a draft model with `parallel_drafting`, and reads the mask
token from `pard_token` of the draft's config. The paper gives each slot a mask token of its own or
all the same one; one is enough there, and vLLM has one.

A slot's distribution does not depend on the tokens drafted before it in the block, so sampling at
temperature 1 draws tokens that may not fit each other: acceptance falls faster by slot than that of
a draft that reads its own tokens. It pays by its one pass.
"""

# In short: PARD: a model that drafts a block in one pass.
# Trains: a model.

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from draftmark.baselines._head import Share
from draftmark.baselines._token_losses import LossName, loss_by_name
from draftmark.errors import UserError
from draftmark.speculation.interfaces import Drafter
from draftmark.speculation.methods import LanguageModelMethod
from draftmark.types import MAX_GAMMA, Placement, TrainingRun

if TYPE_CHECKING:
    from draftmark.training.context import Draft, TrainingContext


@dataclass(frozen=True)
class Pard(LanguageModelMethod):
    """`block_size`: the number of tokens that a block drafts in training, and at most in drafting.

    `loss`: the token loss; "cross_entropy" is -log q(token). Slot k (from 0) has weight decay^k.
    `mask_token`: the id at masked slots; by default the first row of the draft's embedding beyond
    the tokenizer's, else the last row.
    """

    block_size: Annotated[int, Field(ge=1, le=MAX_GAMMA)] = 8
    loss: LossName = "cross_entropy"
    decay: Share = 1.0
    ratio: Share = 0.7
    floor: Share = 0.2
    mask_token: Annotated[int, Field(ge=0)] | None = None

    parallel_drafting: ClassVar[bool] = True

    @property
    def shares(self) -> tuple[float, ...]:
        """For each slot, the share of a response's starts whose block is read up to that slot."""
        return tuple(max(self.ratio**slot, self.floor) for slot in range(self.block_size))

    def training_runs(self, run: TrainingRun) -> tuple[TrainingRun, ...]:
        """Return the training run, which reads a token at several slots."""
        return (replace(run, depth=sum(self.shares)),)

    def train(self, context: "TrainingContext") -> "Draft":
        """Return the draft trained at every slot; its config has the mask token."""
        from draftmark.models.heads.block_head import masked_token
        from draftmark.training.block_training import mean_over_slots
        from draftmark.training.loop import train
        from draftmark.training.parallel_training import ParallelDraftInTraining

        model, size = context.draft.model, context.draft.vocab_size
        model.config.pard_token = masked_token(context.draft, self.mask_token, "draft")
        draft = ParallelDraftInTraining(
            model, size, model.config.pard_token, self.shares, context.seed
        )
        weights = [self.decay**slot for slot in range(self.block_size)]
        loss = mean_over_slots(loss_by_name(self.loss), weights, self.shares)
        return train(replace(context, draft=draft), loss)

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return the saved draft as a drafter; raises UserError if its config has no mask token."""
        from draftmark.models.language_model import load_model
        from draftmark.speculation.parallel_drafter import ParallelDraft, ParallelDrafter

        model = load_model(directory, placement)
        token = getattr(model.model.config, "pard_token", None)
        if token is None:
            raise UserError(
                f"{directory}: config.json has no pard_token, so the draft was not trained to "
                "draft in parallel; choose another method."
            )
        return ParallelDrafter(ParallelDraft(model.model, model.vocab_size, token, self.block_size))


METHOD = Pard
