"""Texts that the target writes in vLLM: continuous batching, and a seed for every prompt.

A text is a function of model, sampler, prompt and seed, up to the rounding of float sums, which
depends on the prompts beside it. So texts are held to the target's distribution by
`draftmark verify`, and are not those of draftmark's own loop to the bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from draftmark.engines._text import GeneratedText
from draftmark.engines._vllm import options
from draftmark.engines._vllm.child_process import Child, ChildFailure
from draftmark.engines._vllm.starting import NEED, TIMEOUT_S, check_installed, start_vllm
from draftmark.errors import UserError
from draftmark.models.generation import Sampling, check_fits
from draftmark.models.language_model import LanguageModel, load_tokenizer
from draftmark.models.token_ids import vocabulary_size
from draftmark.progress import Step
from draftmark.speculation.interfaces import EngineSettings
from draftmark.types import Placement, Prompt, Samplers, Text

_GROUP = 4  # prompts of a question to the child, in batches


@dataclass
class VllmWriter:
    """Writes a target's texts, `batch_size` at once, in a child process.

    `vocab_size` and `max_positions` are the target's: vLLM writes no token beyond the vocabulary.
    The child starts with the first prompts, and again for longer ones.
    """

    directory: Path
    placement: Placement
    batch_size: int
    vocab_size: int
    max_positions: int
    facts: dict[str, Any] = field(default_factory=dict)  # the settings that vLLM resolved
    _child: Child | None = None
    _max_len: int = 0

    @classmethod
    def of_target(cls, directory: Path, placement: Placement, batch_size: int) -> "VllmWriter":
        """Return the writer of the target in a folder; raises UserError without vLLM."""
        check_installed(NEED)
        tokenizer = load_tokenizer(directory, trust_remote_code=placement.trust_remote_code)
        vocab_size = vocabulary_size(tokenizer, options.head_rows(directory))
        bounds = vocab_size, options.max_positions(directory)
        return cls(directory, placement, batch_size, *bounds)

    def write(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, step: Step | None = None
    ) -> list[Text]:
        """Return each prompt with its response, in order.

        Raises UserError for a prompt that does not fit the target's context, or if vLLM does not
        run the target.
        """
        check_fits(cast(LanguageModel, self), prompts, sampling.max_new_tokens)  # its bounds alone
        settings = self._settings(sampling)
        texts = []
        try:
            child = self._started(prompts, settings)
            for start in range(0, len(prompts), _GROUP * self.batch_size):
                group = prompts[start : start + _GROUP * self.batch_size]
                answers = child.ask(self._question(group, sampling, settings))
                for prompt, answer in zip(group, answers, strict=True):
                    texts.append(_text(prompt, answer, settings))
                    if step:
                        step.advance()
        except ChildFailure as failure:
            raise UserError(
                f"vLLM did not write the texts of {self.directory.name}: {failure}. Set "
                "responses.engine = 'draftmark', or a smaller responses.batch_size."
            ) from failure
        return texts

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _settings(self, sampling: Sampling) -> EngineSettings:
        return EngineSettings(
            samplers=Samplers(sampling.sampler, sampling.sampler),
            num_speculative_tokens=0,
            max_new_tokens=sampling.max_new_tokens,
            end_tokens=sampling.end_tokens,
            seed=sampling.seed,
            placement=self.placement,
            stop=sampling.stop,
            batch_size=self.batch_size,
        )

    def _started(self, prompts: Sequence[Prompt], settings: EngineSettings) -> Child:
        """Return the child, with a context for the longest prompt and its response."""
        import torch

        longest = max(len(prompt.token_ids) for prompt in prompts) + settings.max_new_tokens
        if self._child is None or longest > self._max_len:
            self.close()
            device, threads = self.placement.device, torch.get_num_threads()
            chosen = options.writing_options(self.directory, settings, longest)
            variables = options.environment_variables(device, threads)
            self._child, resolved = start_vllm(chosen, variables, TIMEOUT_S)
            self._max_len = longest
            self.facts = {"engine": options.without_paths(chosen), "resolved": resolved}
        return self._child

    def _question(
        self, prompts: Sequence[Prompt], sampling: Sampling, settings: EngineSettings
    ) -> dict[str, Any]:
        """Return what the child is asked; every prompt has the seed of its own random stream."""
        greedy = sampling.sampler.temperature == 0
        return {
            "prompts": [
                {
                    "token_ids": prompt.token_ids,
                    "seed": None if greedy else sampling.stream(prompt).initial_seed(),
                }
                for prompt in prompts
            ],
            "sampling": options.sampling_options(settings),
            "at_once": self.batch_size,
            "vocab_size": self.vocab_size,
        }


def _text(prompt: Prompt, answer: Mapping[str, Any], settings: EngineSettings) -> Text:
    """Return the text in the child's answer, up to and including the token that ends it."""
    text = GeneratedText(prompt)
    text.extend([token for each in answer["passes"] for token in each], settings)
    reason = text.reason or "stop_string"  # which only vLLM detects
    return Text(prompt.example_id, prompt.token_ids, tuple(text.tokens), reason)
