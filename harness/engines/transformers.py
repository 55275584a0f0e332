"""transformers' `generate`: assisted generation with a draft model, and its own prompt lookup.

Every generation default that affects drafts or acceptance is pinned (see `describe`), and the
generation settings in a model's files are ignored. The rounds are read from the tokens that enter
the target at each pass (a forward hook) and those that leave it (a streamer): a drafted token was
accepted if it was emitted, because the token that replaces a rejected one always differs.

Its conventions are `TRANSFORMERS` and `TRANSFORMERS_LOOKUP` of `speculation.blocks`: the first pass
reads the prompt with the first block, so prefill is not a separate pass, and passes equal the
reference engine's.

Legend: B prompt, T position.
"""

# In short: transformers' generate: models and prompt lookup.
# Needs: nothing else.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer
from transformers.utils import logging as transformers_logging

from draftmark.engines._text import GeneratedText
from draftmark.engines.measure.timing import synchronised_time
from draftmark.errors import Unsupported
from draftmark.models.attention import ungroup_heads
from draftmark.models.generation import check_fits, random_stream
from draftmark.models.language_model import LanguageModel, load_model, pad_rows
from draftmark.models.shared_vocabulary import has_shared_vocabulary
from draftmark.speculation.blocks import TRANSFORMERS, TRANSFORMERS_LOOKUP
from draftmark.speculation.interfaces import EngineSettings, LookupMethod, Method
from draftmark.types import Decode, Kind, Placement, Prompt, Round

# By default the library stops drafting at tokens of low confidence and adapts the block length, so
# the counts would not belong to one block length.
_DRAFTING = {"num_assistant_tokens_schedule": "constant", "assistant_confidence_threshold": 0.0}


@dataclass
class _Passes(BaseStreamer):  # type: ignore[misc]
    """The tokens that each pass of the target reads and emits, with the times."""

    read: list[torch.Tensor] = field(default_factory=list)
    emitted: list[torch.Tensor] = field(default_factory=list)  # the prompt first
    at_s: list[float] = field(default_factory=list)

    def hook(self, model: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Store the tokens that a pass reads; they are copied to the CPU after generation."""
        self.read.append(kwargs["input_ids"])

    def put(self, value: torch.Tensor) -> None:
        """Store the tokens that a pass emits."""
        self.emitted.append(value)
        self.at_s.append(perf_counter())

    def end(self) -> None:
        """Do nothing: no tokens are buffered."""

    def decode(self, prompt: Prompt, row: int, settings: EngineSettings, started: float) -> Decode:
        """Return the decode of a row of the batch that `generate` began at `started`."""
        text, ended = GeneratedText(prompt), self.at_s[-1]
        for read, output, at_s in zip(self.read, self.emitted[1:], self.at_s[1:], strict=True):
            if text.reason:
                break  # other rows of the batch continue
            before, ended = len(text.ids), at_s
            known = len(prompt.token_ids) if read is self.read[0] else 1
            drafted = read[row].tolist()[known:] if len(read) == 1 else []
            emitted = output.reshape(-1).tolist() if len(read) == 1 else [int(output[row])]
            text.extend(emitted, settings)
            text.rounds.append(Round(len(drafted), _count_equal(drafted, text.ids[before:])))
        first_s = self.at_s[1] - started
        return text.to_decode(
            prefill_s=first_s, decode_s=ended - self.at_s[1], first_token_s=first_s
        )


def _count_equal(drafted: Sequence[int], emitted: Sequence[int]) -> int:
    """Return the number of leading tokens that are equal."""
    pairs = enumerate(zip(drafted, emitted, strict=False))
    return next(
        (place for place, (token, other) in pairs if token != other),
        min(len(drafted), len(emitted)),
    )


@dataclass(frozen=True)
class _MaskPadding(LogitsProcessor):  # type: ignore[misc]
    """Rules out the ids beyond the tokenizer's, which pad the head."""

    vocab_size: int

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, self.vocab_size :] = -torch.inf
        return scores


@dataclass(frozen=True)
class _StopStrings(StoppingCriteria):  # type: ignore[misc]
    """Ends a text with the pass that completes a stop string."""

    prompts: Sequence[Prompt]
    settings: EngineSettings

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        new = input_ids.shape[1] - max(len(prompt.token_ids) for prompt in self.prompts)
        ended = [self._ended(row[-new:]) for row in input_ids.tolist()]
        return torch.tensor(ended, device=input_ids.device)

    def _ended(self, tokens: Sequence[int]) -> bool:
        """True if a token of the last pass ends the text."""
        stop, last = self.settings.stop, self.settings.num_speculative_tokens + 1
        ends = range(max(len(tokens) - last, 0), len(tokens))
        return stop is not None and any(stop.completes(tokens[: end + 1]) for end in ends)


@dataclass(frozen=True)
class _Running:
    target: LanguageModel
    assistant: LanguageModel | None
    settings: EngineSettings
    config: GenerationConfig

    def describe(self) -> Mapping[str, Any]:
        """Return the convention, and the settings that differ from the library's empty config."""
        lookup = self.config.prompt_lookup_num_tokens is not None
        convention = asdict(TRANSFORMERS_LOOKUP if lookup else TRANSFORMERS)
        settings = {"convention": convention, "generation": self.config.to_diff_dict()}
        if self.assistant:
            settings["assistant"] = self.assistant.model.generation_config.to_diff_dict()
        return settings

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[Decode]:
        """Yield the decode of each prompt, in order, `batch_size` of them at a time."""
        for model in filter(None, (self.target, self.assistant)):
            check_fits(model, prompts, self.settings.max_new_tokens)
        for start in range(0, len(prompts), self.settings.batch_size):
            yield from self._decode(prompts[start : start + self.settings.batch_size])

    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[Decode]:
        ids_BT, mask_BT = pad_rows([p.token_ids for p in prompts], self.target.device, "left")
        passes, device = _Passes(), self.settings.placement.device
        hook = self.target.model.register_forward_pre_hook(passes.hook, with_kwargs=True)
        random = random_stream(
            self.settings.seed, "engine", *(prompt.example_id for prompt in prompts)
        )
        started = synchronised_time(device)
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()  # `generate` warns of its own calls
        try:
            # `generate` draws from the global generator only; its state is restored.
            with torch.random.fork_rng(range(torch.cuda.device_count())):
                torch.manual_seed(random.initial_seed())
                self._generate(prompts, ids_BT, mask_BT, passes)
        finally:
            hook.remove()
            transformers_logging.set_verbosity(verbosity)
        passes.at_s[-1] = synchronised_time(device)
        for row, prompt in enumerate(prompts):
            yield passes.decode(prompt, row, self.settings, started)

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
            logits_processor=[_MaskPadding(self.target.vocab_size)] if padded else [],
            stopping_criteria=[_StopStrings(prompts, self.settings)] if self.settings.stop else [],
            streamer=passes,
        )


class TransformersEngine:
    """Opens `generate`; it runs draft models and prompt lookup, one prompt at a time."""

    def supports(self, kind: Kind) -> bool:
        """True except for feature heads, because `generate` passes only tokens to a draft."""
        return kind != "feature_head"

    def open(
        self, target: Path, method: Method | None, draft: Path | None, settings: EngineSettings
    ) -> _Running:
        """Load the target, and a draft if given; raises Unsupported for what `generate` lacks."""
        model = _load(target, settings.placement, GenerationConfig())
        if method is None or draft is None:
            return _Running(model, None, settings, _config(settings))
        _check_supported(method, settings)
        if has_shared_vocabulary(draft):
            raise Unsupported(
                "transformers drafts across vocabularies by rules of its own, which are not scored "
                "here; choose the reference engine or vllm."
            )
        if isinstance(method, LookupMethod):
            lookup = {
                "prompt_lookup_num_tokens": settings.num_speculative_tokens,
                "max_matching_ngram_size": method.max_ngram,
            }
            return _Running(model, None, settings, _config(settings, **lookup))
        drafting = GenerationConfig(
            **_DRAFTING, num_assistant_tokens=settings.num_speculative_tokens
        )
        assistant = _load(draft, settings.draft_placement(target, draft), drafting)
        _cut_to_common_rows(model, assistant)
        return _Running(model, assistant, settings, _config(settings))


def _cut_to_common_rows(target: LanguageModel, assistant: LanguageModel) -> None:
    """Cut the logits of the wider head, which has more padding rows, to those of the narrower.

    `generate` takes models of one tokenizer for models of two unless their heads have equally many
    rows. The weights stay whole, and the ids that are cut off are masked in any case.
    """
    heads = [loaded.model.get_output_embeddings() for loaded in (target, assistant)]
    common = min(head.weight.shape[0] for head in heads)
    for loaded, head in zip((target, assistant), heads, strict=True):
        if head.weight.shape[0] > common:
            head.register_forward_hook(lambda module, inputs, logits: logits[..., :common])
        loaded.model.config.get_text_config().vocab_size = common


def _load(directory: Path, placement: Placement, config: GenerationConfig) -> LanguageModel:
    """Return a model with transformers' own attention, because the engine is timed as it is."""
    loaded = load_model(directory, placement)
    ungroup_heads(loaded.model)
    loaded.model.generation_config = config
    return loaded


def _check_supported(method: Method, settings: EngineSettings) -> None:
    """Raise Unsupported for settings that `generate` lacks or would change."""
    samplers = settings.samplers
    if settings.verification != "standard":
        raise Unsupported(
            "transformers' assisted generation verifies token by token; set speed.verification = "
            "'standard', or choose another speed.engine."
        )
    if settings.batch_size > 1:
        raise Unsupported(
            f"transformers' assisted generation takes one prompt at a time, not "
            f"{settings.batch_size}; set speed.batch_sizes = [1], or choose another speed.engine."
        )
    if isinstance(method, LookupMethod):
        if method.min_ngram > 1:
            raise Unsupported(
                f"transformers' prompt lookup searches down to single tokens, not to min_ngram = "
                f"{method.min_ngram}; set it to 1, or choose another speed.engine."
            )
        if samplers.target.temperature and samplers.target.top_p < 1:
            raise Unsupported(
                "transformers' prompt lookup discards drafts at random under top_p = "
                f"{samplers.target.top_p:g}; set it to 1, or choose another speed.engine."
            )
    elif method.kind != "language_model":
        raise Unsupported(
            f"The transformers engine runs only draft models and prompt lookup, not "
            f"{type(method).__name__}; choose another speed.engine."
        )
    elif samplers.draft != samplers.target:
        raise Unsupported(
            f"transformers' assisted generation samples the draft with the target's sampler, not "
            f"with {samplers.draft.describe()}; leave evaluation.draft out, or choose another "
            "speed.engine."
        )


def _config(settings: EngineSettings, **lookup: int) -> GenerationConfig:
    """Return all settings of `generate`; None switches one off, and the cache is dynamic."""
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
