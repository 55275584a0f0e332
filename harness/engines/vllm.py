"""vLLM's offline `LLM` in a child process, with draft models, heads (chains) and prompt lookup.

Counts are vLLM's own, per request, by the convention `VLLM` of `speculation.blocks`: prefill emits
the first token, so blocks start at the second; every block drafts `num_speculative_tokens`, or what
a lookup found; and tokens accepted beyond the end of a text count as accepted. vLLM sums floats in
another order than other engines, and again with a draft, so at temperature 0 texts may differ at
near ties; `draftmark verify` prints the gaps.
"""

# In short: vLLM in a process: models, heads and prompt lookup.
# Needs: make vllm.

import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from draftmark.engines._text import GeneratedText
from draftmark.engines._vllm import options
from draftmark.engines._vllm.child_process import Child
from draftmark.engines._vllm.starting import check_installed, start_vllm
from draftmark.errors import Unsupported, UserError
from draftmark.models.shared_vocabulary import has_shared_vocabulary
from draftmark.speculation.blocks import VLLM
from draftmark.speculation.interfaces import EngineSettings, Method
from draftmark.types import Decode, Kind, Prompt, Round

if TYPE_CHECKING:
    from draftmark.models.heads.block_head import BlockHead
    from draftmark.speculation.block_drafter import BlockDrafter


@dataclass(frozen=True)
class _Running:
    """An engine in a child process, which ends with this object."""

    child: Child
    settings: EngineSettings
    max_len: int  # tokens of a prompt, its response and the tokens drafted beyond its end
    description: Mapping[str, Any]

    def describe(self) -> Mapping[str, Any]:
        """Return vLLM's options, the settings that it derived from them, and its convention."""
        return self.description

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[Decode]:
        """Yield the decode of each prompt, in order.

        Raises UserError for a prompt that does not fit, ChildFailure if the engine fails.
        """
        for prompt in prompts:
            self._check_fits(prompt)
        question = {
            "prompts": [
                {"token_ids": prompt.token_ids, "seed": self._seed(prompt)} for prompt in prompts
            ],
            "sampling": options.sampling_options(self.settings),
            "at_once": self.settings.batch_size,
        }
        for prompt, answer in zip(prompts, self.child.ask(question), strict=True):
            yield _decode(prompt, answer, self.settings)

    def _seed(self, prompt: Prompt) -> int | None:
        from draftmark.models.generation import random_stream

        if self.settings.samplers.target.temperature == 0:
            return None
        return random_stream(self.settings.seed, "engine", prompt.example_id).initial_seed()

    def _check_fits(self, prompt: Prompt) -> None:
        drafted = self.settings.num_speculative_tokens
        needed = len(prompt.token_ids) + self.settings.max_new_tokens + drafted
        if needed > self.max_len:
            raise UserError(
                f"{prompt.example_id}: {len(prompt.token_ids)} prompt tokens, "
                f"{self.settings.max_new_tokens} new ones and {drafted} drafted beyond do not fit "
                f"vLLM's context of {self.max_len}; lower evaluation.max_new_tokens or leave the "
                "row out."
            )


def _decode(prompt: Prompt, answer: Mapping[str, Any], settings: EngineSettings) -> Decode:
    """Return the decode in the child's answer; raises UserError if the cache was too small."""
    if answer["preemptions"]:
        raise UserError(
            f"vLLM's cache was too small for {settings.batch_size} prompts at once "
            f"({prompt.example_id} was preempted); lower speed.batch_sizes."
        )
    text = GeneratedText(prompt)
    text.extend([token for each in answer["passes"] for token in each], settings)
    drafts = list(map(Round, answer["drafted"], answer["accepted"]))
    return Decode(
        example_id=prompt.example_id,
        token_ids=tuple(text.tokens),
        num_prompt_tokens=len(prompt.token_ids),
        rounds=tuple(_rounds([len(each) for each in answer["passes"][1:]], drafts)),
        prefill_s=answer["first_token_s"],
        decode_s=answer["total_s"] - answer["first_token_s"],
        finish_reason=text.reason or "stop_string",  # which only vLLM detects
        first_token_s=answer["first_token_s"],
    )


def _rounds(emitted: Sequence[int], drafts: Sequence[Round]) -> Iterator[Round]:
    """Yield the rounds after prefill, from the number of tokens of each pass and the drafts.

    vLLM does not report which passes drafted, and a pass without a draft looks like one whose
    drafted tokens were all rejected. The last pass may accept more tokens than the text has.
    """
    left = deque(drafts)
    for number, tokens in enumerate(emitted, start=1):
        last = number == len(emitted)
        if left and (left[0].accepted + 1 == tokens or (last and left[0].accepted >= tokens)):
            yield left.popleft()
        else:
            yield Round(0, 0)
    assert not left, "vLLM reports more drafts than passes"


@dataclass(frozen=True)
class VllmEngine:
    """Opens vLLM with a context of `max_model_len` tokens, or the model's own if that is less.

    Opening and each call of `generate` may take `timeout_s`; later the engine is killed, and its
    cell becomes a failed row. The environment variable DRAFTMARK_ENGINE_TIMEOUT overrides it.
    """

    max_model_len: int = 2048
    timeout_s: float = 1800.0

    def supports(self, kind: Kind) -> bool:
        """Return True; `open` refuses trees."""
        return True

    def open(
        self, target: Path, method: Method | None, draft: Path | None, settings: EngineSettings
    ) -> _Running:
        """Start a process with the target, and the draft of a method if one is given.

        Raises UserError if vLLM is not installed, Unsupported for settings that vLLM lacks,
        ChildFailure if vLLM does not start.
        """
        check_installed("The vllm engine")
        import torch

        max_len = min(self.max_model_len, options.max_positions(target))
        variables = options.environment_variables(
            settings.placement.device, torch.get_num_threads()
        )
        with tempfile.TemporaryDirectory() as folder:
            speculation = None
            if method is not None and draft is not None:
                exported = _export(method, target, draft, settings, Path(folder))
                speculation = options.speculation_options(method, exported, settings)
            engine_options = options.engine_options(target, settings, speculation, max_len)
            child, facts = start_vllm(engine_options, variables, self.timeout_s)
        description = {
            "engine": options.without_paths(engine_options),
            "sampling": options.sampling_options(settings),
            "environment": options.without_paths(variables),
            "resolved": facts,
            "convention": asdict(VLLM),
        }
        return _Running(child, settings, max_len, description)


def _export(
    method: Method, target: Path, draft: Path, settings: EngineSettings, folder: Path
) -> Path:
    """Return the draft's folder, or that of an exported head.

    Raises Unsupported for trees, and for a draft model with another number of head rows.
    """
    if method.kind == "language_model" and not has_shared_vocabulary(draft):
        options.check_equal_head_rows(target, draft)
    if method.kind != "feature_head":
        return draft
    from draftmark.models.heads.head_exports import LAYOUTS, export_head
    from draftmark.speculation.block_drafter import BlockDrafter
    from draftmark.speculation.head_drafter import FeatureHeadDrafter

    drafter = method.drafter(draft, settings.placement)
    if isinstance(drafter, BlockDrafter):
        _check_uncut(drafter)
        return _export_block_head(drafter.head, settings, folder)
    if not isinstance(drafter, FeatureHeadDrafter):
        raise Unsupported(
            "vLLM drafts chains, not trees; leave `tree` out, or choose another engine."
        )
    layouts = LAYOUTS[drafter.head.model.shape.kind]
    if not layouts:
        raise Unsupported(
            "vLLM runs MTP heads only of models that come with one; choose another speed.engine, "
            "or speed = false."
        )
    tokens = settings.num_speculative_tokens
    export_head(drafter.head, layouts[0], folder, target="", num_speculative_tokens=tokens)
    return folder


def _check_uncut(drafter: "BlockDrafter") -> None:
    """Raise Unsupported for blocks that end by a confidence."""
    if drafter.threshold:
        raise Unsupported(
            "vLLM cuts blocks by its load (enable_adaptive_verification), not at a confidence; "
            "leave confidence_threshold out, or choose another speed.engine."
        )


def _export_block_head(head: "BlockHead", settings: EngineSettings, folder: Path) -> Path:
    """Return the folder of an exported block head.

    Raises Unsupported for one that vLLM, or the attention of its CPU build, lacks.
    """
    from draftmark.models.heads.block_exports import block_layouts, export_block_head

    layout = block_layouts(head)[0]
    if layout == "domino":
        raise Unsupported(
            "vLLM has no Domino heads; choose another speed.engine, or speed = false."
        )
    if settings.placement.device == "cpu" and layout in ("dflash", "dspark"):
        raise Unsupported(
            f"vLLM's CPU build has no kernels for {layout} heads; choose another speed.engine, or "
            "a GPU."
        )
    export_block_head(head, layout, folder, target="")
    return folder


ENGINE = VllmEngine()
