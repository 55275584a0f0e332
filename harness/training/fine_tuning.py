"""Fine-tunes a target on a task's gold answers, with the one training loop.

AdaSPEC fine-tunes all of its targets (Hu et al. 2025, arXiv 2510.19779). The checkpoint with the
lowest validation loss is kept; the original target is the first candidate.
"""

from dataclasses import asdict, replace

import torch
from transformers import GenerationConfig

from draftmark.config.model_sections import FineTuning, Pair
from draftmark.models import language_model
from draftmark.models.spread import target_placement
from draftmark.store.graph import Job
from draftmark.store.records import TARGET, TEXTS, read_texts
from draftmark.store.store import write_json
from draftmark.training.batches import Batch, FixedTexts, TrainingTexts
from draftmark.training.divergences import cross_entropy
from draftmark.training.loop import TrainingContext, train
from draftmark.training.process_group import ALONE, ProcessGroup
from draftmark.training.validation import loss_criterion
from draftmark.types import Text


def fine_tune(
    pair: Pair,
    recipe: FineTuning,
    end_tokens: frozenset[int],
    seed: int,
    job: Job,
    team: ProcessGroup = ALONE,
) -> None:
    """Write the fine-tuned target, in the format of the original, with its ledger and history."""
    base = job.inputs["target"]
    tokenizer = language_model.load_tokenizer(base, trust_remote_code=pair.trust_remote_code)
    placement = target_placement(pair).whole
    if recipe.sharded:  # no device has room for it
        placement = replace(placement, device="cpu")
    target = language_model.load_model(base, placement)
    texts = TrainingTexts({"dataset": FixedTexts(_texts(job, "train"))}, {"dataset": 1.0}, seed)
    context = TrainingContext(
        draft=target,
        target=None,
        settings=recipe,
        dtype=pair.dtype,
        seed=seed,
        scratch=job.scratch,
        texts=texts,
        criterion=loss_criterion(_texts(job, "validation")),
        team=team,
    )
    with context.tracked(job, "fine-tuning") as ready:
        made = train(ready, _label_loss)
    if not team.is_first:
        return
    # Keep the model's end tokens, but not the sampling defaults that came with it.
    target.model.generation_config = GenerationConfig(eos_token_id=sorted(end_tokens))
    language_model.save_model(target, tokenizer, job.out)
    facts: dict[str, object] = {"ledger": asdict(made.ledger), "history": list(made.history)}
    if recipe.lora:
        facts["trained_parameters"] = made.trained_parameters
    write_json(job.out / TARGET, facts)


def _texts(job: Job, split: str) -> list[Text]:
    return read_texts(job.inputs[split] / TEXTS)


def _label_loss(
    logits_NV: torch.Tensor, no_target_logits: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """Return the cross-entropy of the gold answer's tokens [N]."""
    return cross_entropy(logits_NV, batch.labels_N)
