"""transformers' `generate`: assisted generation with a draft model, and its own prompt lookup.

Every default of generation that decides what is drafted or accepted is pinned (`describe` tells
them), and what a model's files say of generation is not read. Counted are the tokens that go into
the target at each pass (a forward hook) and those that come out of it (a streamer).

Its convention: there is no prefill by itself, the first pass reads the prompt with the first block,
so passes are those of the reference engine. It drafts less where that changes no pass: never the
last token within the length limit, nothing after an end token that the draft wrote, and by lookup
no end token. So of each text one accepted token less may be counted, at its end.

Legend: B prompt, T position.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer
from transformers.utils import logging as transformers_logging

from harness.engines._text import Written
from harness.errors import UserError
from harness.models import LanguageModel, load_model
from harness.protocols import EngineSettings, LookupMethod, Method
from harness.responses.generation import check_fits, left_padded, stream
from harness.timing import synchronise
from harness.types import Decode, Kind, Prompt, Round

# The library's defaults stop drafting at tokens that the draft is unsure of, and lengthen and
# shorten blocks as it goes: numbers at a block length would be of no block length.
_DRAFTING = {"num_assistant_tokens_schedule": "constant", "assistant_confidence_threshold": 0.0}


@dataclass
class _Passes(BaseStreamer):  # type: ignore[misc]
    """What went into each pass of the target, what came out of it, and when."""

    read: list[torch.Tensor] = field(default_factory=list)
    given: list[torch.Tensor] = field(default_factory=list)  # the prompt first
    at_s: list[float] = field(default_factory=list)

    def hook(self, model: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Note the tokens that a pass reads; they are looked at when all is over."""
        self.read.append(kwargs["input_ids"])

    def put(self, value: torch.Tensor) -> None:
        """Note the tokens that a pass gave."""
        self.given.append(value)
        self.at_s.append(perf_counter())

    def end(self) -> None:
        """Nothing is held back."""


@dataclass(frozen=True)
class _Unpadded(LogitsProcessor):  # type: ignore[misc]
    """Rules out the ids beyond the tokenizer's, which pad a head."""

    vocab_size: int

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, self.vocab_size :] = -torch.inf
        return scores


@dataclass(frozen=True)
class _Ended(StoppingCriteria):  # type: ignore[misc]
    """Ends a text with the pass that completes it: `generate` knows of no stop strings here."""

    prompts: Sequence[Prompt]
    settings: EngineSettings

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        ended = [_ended(row[-self._new(input_ids) :], self.settings) for row in input_ids.tolist()]
        return torch.tensor(ended, device=input_ids.device)

    def _new(self, ids_BT: torch.Tensor) -> int:
        return ids_BT.shape[1] - max(len(prompt.token_ids) for prompt in self.prompts)


def _ended(tokens: Sequence[int], settings: EngineSettings) -> bool:
    """Say whether any of the tokens of the last pass ends a text."""
    stop, last = settings.stop, settings.num_speculative_tokens + 1
    ends = range(max(len(tokens) - last, 0), len(tokens))
    return stop is not None and any(stop.found(tokens[: end + 1]) for end in ends)


@dataclass(frozen=True)
class _Running:
    target: LanguageModel
    assistant: LanguageModel | None
    settings: EngineSettings
    config: GenerationConfig

    def describe(self) -> Mapping[str, Any]:
        """Return every setting of generation that is not the library's "not used"."""
        told = {"generation": self.config.to_diff_dict()}
        if self.assistant:
            told["assistant"] = self.assistant.model.generation_config.to_diff_dict()
        return told

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[Decode]:
        """Yield what was decoded for each prompt, in order, `batch_size` of them at a time."""
        check_fits(self.target, prompts, self.settings.max_new_tokens)
        for start in range(0, len(prompts), self.settings.batch_size):
            yield from self._decode(prompts[start : start + self.settings.batch_size])

    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[Decode]:
        ids_BT, mask_BT = left_padded([p.token_ids for p in prompts], self.target.device)
        passes, device = _Passes(), self.settings.placement.device
        hook = self.target.model.register_forward_pre_hook(passes.hook, with_kwargs=True)
        random = stream(self.settings.seed, "engine", *(prompt.example_id for prompt in prompts))
        started = _now(device)
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()  # it warns of how it calls itself
        try:
            # `generate` draws from the global generator and takes no other: it is put back.
            with torch.random.fork_rng(range(torch.cuda.device_count())):
                torch.manual_seed(random.initial_seed())
                self._generate(prompts, ids_BT, mask_BT, passes)
        finally:
            hook.remove()
            transformers_logging.set_verbosity(verbosity)
        passes.at_s[-1] = _now(device)
        for row, prompt in enumerate(prompts):
            yield self._read_off(prompt, row, passes, started)

    def _generate(
        self,
        prompts: Sequence[Prompt],
        ids_BT: torch.Tensor,
        mask_BT: torch.Tensor,
        passes: _Passes,
    ) -> None:
        padded = self.target.model.get_output_embeddings().weight.shape[0] > self.target.vocab_size
        self.target.model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            generation_config=self.config,
            assistant_model=self.assistant.model if self.assistant else None,
            logits_processor=[_Unpadded(self.target.vocab_size)] if padded else [],
            stopping_criteria=[_Ended(prompts, self.settings)] if self.settings.stop else [],
            streamer=passes,
        )

    def _read_off(self, prompt: Prompt, row: int, passes: _Passes, started: float) -> Decode:
        """Return what a row of a batch became, of what was noted."""
        text, ended = Written(prompt), passes.at_s[-1]
        for read, given, at_s in zip(passes.read, passes.given[1:], passes.at_s[1:], strict=True):
            if text.reason:
                break  # others of the batch go on
            before, ended = len(text.ids), at_s
            known = len(prompt.token_ids) if read is passes.read[0] else 1
            drafted = read[row].tolist()[known:] if len(read) == 1 else []
            emitted = given.reshape(-1).tolist() if len(read) == 1 else [int(given[row])]
            text.extend(emitted, self.settings)
            text.rounds.append(Round(len(drafted), _agreeing(drafted, text.ids[before:])))
        assert text.reason is not None
        return Decode(
            example_id=prompt.example_id,
            token_ids=tuple(text.tokens),
            num_prompt_tokens=len(prompt.token_ids),
            rounds=text.rounds_within(),
            prefill_s=passes.at_s[1] - started,
            decode_s=ended - passes.at_s[1],
            finish_reason=text.reason,
            first_token_s=passes.at_s[1] - started,
        )


def _agreeing(drafted: Sequence[int], emitted: Sequence[int]) -> int:
    """Return how many drafted tokens were emitted: what replaces a rejected one is never it."""
    count = 0
    for token, other in zip(drafted, emitted, strict=False):
        if token != other:
            break
        count += 1
    return count


def _now(device: str) -> float:
    synchronise(device)
    return perf_counter()


class TransformersEngine:
    """Opens `generate`; it runs draft models and prompt lookup, one prompt at a time."""

    def supports(self, kind: Kind) -> bool:
        """Not heads on features: `generate` gives a draft nothing but tokens."""
        return kind != "feature_head"

    def open(
        self, target: Path, method: Method | None, draft: Path | None, settings: EngineSettings
    ) -> _Running:
        """Load the target, and the draft of a method if one is given.

        Raises UserError for what `generate` cannot do with a draft.
        """
        model = load_model(target, settings.placement)
        model.model.generation_config = GenerationConfig()
        if method is None or draft is None:
            return _Running(model, None, settings, _config(settings))
        _check(method, settings)
        if isinstance(method, LookupMethod):
            lookup = {
                "prompt_lookup_num_tokens": settings.num_speculative_tokens,
                "max_matching_ngram_size": method.max_ngram,
            }
            return _Running(model, None, settings, _config(settings, **lookup))
        assistant = load_model(draft, settings.placement)
        told = {**_DRAFTING, "num_assistant_tokens": settings.num_speculative_tokens}
        assistant.model.generation_config = GenerationConfig(**told)
        return _Running(model, assistant, settings, _config(settings))


def _check(method: Method, settings: EngineSettings) -> None:
    """Raise UserError for what `generate` cannot do, or does otherwise than it is asked."""
    samplers = settings.samplers
    if settings.batch_size > 1:
        raise UserError(
            f"transformers' assisted generation takes one prompt at a time, not "
            f"{settings.batch_size}; set speed.batch_sizes = [1], or choose another speed.engine."
        )
    if isinstance(method, LookupMethod):
        if method.min_ngram > 1:
            raise UserError(
                f"transformers' prompt lookup goes down to single tokens, not to min_ngram = "
                f"{method.min_ngram}; set it to 1, or choose another speed.engine."
            )
        if samplers.target.temperature and samplers.target.top_p < 1:
            raise UserError(
                "transformers' prompt lookup throws drafts away by chance under top_p = "
                f"{samplers.target.top_p:g}; set it to 1, or choose another speed.engine."
            )
    elif method.kind != "language_model":
        raise UserError(
            f"The transformers engine knows drafts without a model by lookup alone, not "
            f"{type(method).__name__}; choose another speed.engine."
        )
    elif samplers.draft != samplers.target:
        raise UserError(
            f"transformers' assisted generation samples the draft as the target, not by "
            f"{samplers.draft.describe()}; leave evaluation.draft out, or choose another "
            "speed.engine."
        )


def _config(settings: EngineSettings, **lookup: int) -> GenerationConfig:
    """Return all that `generate` is told; what is None here is not used, the cache is dynamic."""
    sampler = settings.samplers.target
    sampled = sampler.temperature > 0
    return GenerationConfig(
        do_sample=sampled,
        temperature=sampler.temperature if sampled else None,
        top_k=sampler.top_k if sampled else None,
        top_p=sampler.top_p if sampled else None,
        max_new_tokens=settings.max_new_tokens,
        eos_token_id=sorted(settings.end_tokens) or None,
        pad_token_id=0,  # masked
        num_beams=1,
        use_cache=True,
        **lookup,
    )


ENGINE = TransformersEngine()
