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
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.utils import logging as transformers_logging

from draftmark.engines._observing import Ended, Passes, Unpadded
from draftmark.engines.measure.timing import synchronise
from draftmark.errors import Unsupported
from draftmark.models.generation import check_fits, stream
from draftmark.models.language_model import LanguageModel, load_model, pad_rows
from draftmark.speculation.interfaces import EngineSettings, LookupMethod, Method
from draftmark.types import Decode, Kind, Prompt

# The library's defaults stop drafting at tokens that the draft is unsure of, and lengthen and
# shorten blocks as it goes: numbers at a block length would be of no block length.
_DRAFTING = {"num_assistant_tokens_schedule": "constant", "assistant_confidence_threshold": 0.0}


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
        ids_BT, mask_BT = pad_rows([p.token_ids for p in prompts], self.target.device, "left")
        passes, device = Passes(), self.settings.placement.device
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
            yield passes.decode(prompt, row, self.settings, started)

    def _generate(
        self,
        prompts: Sequence[Prompt],
        ids_BT: torch.Tensor,
        mask_BT: torch.Tensor,
        passes: Passes,
    ) -> None:
        padded = self.target.model.get_output_embeddings().weight.shape[0] > self.target.vocab_size
        self.target.model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            generation_config=self.config,
            assistant_model=self.assistant.model if self.assistant else None,
            logits_processor=[Unpadded(self.target.vocab_size)] if padded else [],
            stopping_criteria=[Ended(prompts, self.settings)] if self.settings.stop else [],
            streamer=passes,
        )


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

        Raises Unsupported for what `generate` cannot do with a draft.
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
    """Raise Unsupported for what `generate` cannot do, or does otherwise than it is asked."""
    samplers = settings.samplers
    if settings.batch_size > 1:
        raise Unsupported(
            f"transformers' assisted generation takes one prompt at a time, not "
            f"{settings.batch_size}; set speed.batch_sizes = [1], or choose another speed.engine."
        )
    if isinstance(method, LookupMethod):
        if method.min_ngram > 1:
            raise Unsupported(
                f"transformers' prompt lookup goes down to single tokens, not to min_ngram = "
                f"{method.min_ngram}; set it to 1, or choose another speed.engine."
            )
        if samplers.target.temperature and samplers.target.top_p < 1:
            raise Unsupported(
                "transformers' prompt lookup throws drafts away by chance under top_p = "
                f"{samplers.target.top_p:g}; set it to 1, or choose another speed.engine."
            )
    elif method.kind != "language_model":
        raise Unsupported(
            f"The transformers engine knows drafts without a model by lookup alone, not "
            f"{type(method).__name__}; choose another speed.engine."
        )
    elif samplers.draft != samplers.target:
        raise Unsupported(
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
