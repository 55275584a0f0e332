"""Generates a model's responses to prompts, in batches.

This loop replaces transformers' `generate`, so that a token depends only on the model, the sampler
and the prompt's random stream: not on generation defaults that came with the model, nor (up to
rounding) on the other prompts of the batch.

Legend: B batch, T position, V vocabulary.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.functional import pad

from draftmark.errors import UserError
from draftmark.models.finite import check_logits
from draftmark.models.growing_cache import growing_cache
from draftmark.models.language_model import LanguageModel, pad_rows
from draftmark.models.sampling import invert_cumulative, sampler_probs, uniform_numbers
from draftmark.models.stop_conditions import StopStrings, finish_reason
from draftmark.models.token_ids import check_ids
from draftmark.progress import Step
from draftmark.types import FinishReason, Prompt, Sampler, Text


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn; `seed` and `sample` determine the random stream of each prompt."""

    sampler: Sampler
    max_new_tokens: int
    end_tokens: frozenset[int]
    seed: int
    sample: int = 0  # the response's index among several to the same prompt
    stop: StopStrings | None = None

    def stream(self, prompt: Prompt) -> torch.Generator:
        """Return the random stream of a prompt."""
        index = (str(self.sample),) if self.sample else ()
        return random_stream(self.seed, prompt.example_id, *index)


@dataclass
class _Row:
    """An unfinished response."""

    prompt: Prompt
    generator: torch.Generator
    tokens: list[int] = field(default_factory=list)
    reason: FinishReason | None = None


def random_stream(seed: int, *names: str) -> torch.Generator:
    """Return a random stream that depends on the seed and the names alone."""
    text = "\0".join([str(seed), *names]).encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)


def check_fits(model: LanguageModel, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
    """Raise UserError for the first prompt whose longest response exceeds the context.

    The same for a prompt that holds a token without a row in the head.
    """
    for prompt in prompts:
        check_ids(prompt.example_id, prompt.token_ids, model.vocab_size)
        needed = len(prompt.token_ids) + max_new_tokens
        if needed > model.max_positions:
            raise UserError(
                f"{prompt.example_id}: {len(prompt.token_ids)} prompt tokens and {max_new_tokens} "
                f"new ones do not fit the model's context of {model.max_positions}; lower "
                "evaluation.max_new_tokens or leave the row out."
            )


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    rows_per_batch: int,
    step: Step | None = None,
) -> list[Text]:
    """Return each prompt with its response, in order; raises UserError as `check_fits` does."""
    check_fits(model, prompts, sampling.max_new_tokens)
    by_length = sorted(prompts, key=lambda prompt: (len(prompt.token_ids), prompt.example_id))
    texts = {}
    for start in range(0, len(by_length), rows_per_batch):
        for text in _generate_batch(model, by_length[start : start + rows_per_batch], sampling):
            texts[text.example_id] = text
            if step:
                step.advance()
    return [texts[prompt.example_id] for prompt in prompts]


def _generate_batch(
    model: LanguageModel, prompts: Sequence[Prompt], sampling: Sampling
) -> Iterator[Text]:
    rows = [_Row(prompt, sampling.stream(prompt)) for prompt in prompts]
    alive = list(rows)
    ids_BT, mask_BT = pad_rows([prompt.token_ids for prompt in prompts], model.device, "left")
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    mask_BC = pad(mask_BT.bool(), (0, sampling.max_new_tokens), value=True)
    cache, length = growing_cache(model.model.config, mask_BC.shape[1]), ids_BT.shape[1]
    while alive:
        hidden_BTD = model.model.base_model(
            input_ids=ids_BT,
            attention_mask=mask_BC[:, :length],
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        logits_BV = model.logits(hidden_BTD[:, -1])
        check_logits(logits_BV, ", ".join(row.prompt.example_id for row in alive[:3]))
        _extend(alive, logits_BV, sampling)
        kept = _unfinished(alive)
        if len(kept) < len(alive):
            alive = [alive[index] for index in kept]
            kept_B = torch.tensor(kept, dtype=torch.long, device=model.device)
            cache.batch_select_indices(kept_B)
            mask_BC, positions_BT = mask_BC[kept_B], positions_BT[kept_B]
        ids_BT = torch.tensor([[row.tokens[-1]] for row in alive], device=model.device)
        positions_BT, length = positions_BT[:, -1:] + 1, length + 1
    for row in rows:
        assert row.reason is not None
        yield Text(row.prompt.example_id, row.prompt.token_ids, tuple(row.tokens), row.reason)


def _extend(rows: Sequence[_Row], logits_BV: torch.Tensor, sampling: Sampling) -> None:
    """Append a token to every row and set the finish reason of finished ones."""
    if sampling.sampler.temperature == 0:
        tokens = logits_BV.argmax(-1).tolist()
    else:
        probs_BV = sampler_probs(logits_BV, sampling.sampler).cpu()
        uniform_B = torch.stack([uniform_numbers((), row.generator) for row in rows])
        tokens = invert_cumulative(probs_BV, uniform_B).tolist()
    for row, token in zip(rows, tokens, strict=True):
        row.tokens.append(token)
        row.reason = finish_reason(row.tokens, sampling)


def _unfinished(rows: Sequence[_Row]) -> list[int]:
    """Return the indices of unfinished rows; those at the end fill the places of finished ones."""
    going = [index for index, row in enumerate(rows) if row.reason is None]
    stay = {index for index in going if index < len(going)}
    moving = iter(going[len(stay) :])
    return [index if index in stay else next(moving) for index in range(len(going))]
