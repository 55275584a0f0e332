"""vLLM: offline `LLM`, in a process of its own; draft models, heads (chains) and prompt lookup.

Counts are vLLM's own, of each request. Its convention: prefill emits the first token, so blocks
start at the second; every block drafts whole, and tokens accepted beyond the end of a text count
as accepted. Numbers are added in another order than elsewhere, and in another one with a draft, so
at temperature 0 texts may part at near ties: `draftmark verify` shows the gap there.
"""

import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from draftmark.engines._vllm import options
from draftmark.engines._vllm.child_process import Child
from draftmark.environment import install_hint
from draftmark.errors import Unsupported, UserError
from draftmark.models.stop_conditions import finish_reason
from draftmark.speculation.blocks import Convention
from draftmark.speculation.interfaces import EngineSettings, Method
from draftmark.types import Decode, FinishReason, Kind, Prompt, Round

CONVENTION = Convention(prefill_emits_first=True, counts_beyond_end=True)
TIMEOUT_VARIABLE = "DRAFTMARK_ENGINE_TIMEOUT"


@dataclass(frozen=True)
class _Running:
    """An engine in a child process, which ends with this."""

    child: Child
    settings: EngineSettings
    room: int  # tokens of a prompt and its response, with what is drafted beyond its end
    told: Mapping[str, Any]

    def describe(self) -> Mapping[str, Any]:
        """Return what vLLM was told, what it made of it, and how it counts."""
        return self.told

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[Decode]:
        """Yield what was decoded for each prompt, in order.

        Raises UserError for a prompt that does not fit, ChildFailure if the engine is gone.
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
        for prompt, made in zip(prompts, self.child.ask(question), strict=True):
            yield _decode(prompt, made, self.settings)

    def _seed(self, prompt: Prompt) -> int | None:
        from draftmark.models.generation import stream

        if self.settings.samplers.target.temperature == 0:
            return None
        return stream(self.settings.seed, "engine", prompt.example_id).initial_seed()

    def _check_fits(self, prompt: Prompt) -> None:
        drafted = self.settings.num_speculative_tokens
        needed = len(prompt.token_ids) + self.settings.max_new_tokens + drafted
        if needed > self.room:
            raise UserError(
                f"{prompt.example_id}: {len(prompt.token_ids)} prompt tokens, "
                f"{self.settings.max_new_tokens} new ones and {drafted} drafted beyond do not fit "
                f"the {self.room} that vLLM was opened with; lower evaluation.max_new_tokens or "
                "leave the row out."
            )


def _decode(prompt: Prompt, made: Mapping[str, Any], settings: EngineSettings) -> Decode:
    """Return what the child tells of a prompt; raises UserError if the cache was too small."""
    if made["preemptions"]:
        raise UserError(
            f"vLLM's cache was too small for {settings.batch_size} prompts at once "
            f"({prompt.example_id} was put off); lower speed.batch_sizes."
        )
    tokens, reason = _ended([token for each in made["passes"] for token in each], settings)
    drafts = list(map(Round, made["drafted"], made["accepted"]))
    return Decode(
        example_id=prompt.example_id,
        token_ids=tuple(tokens),
        num_prompt_tokens=len(prompt.token_ids),
        rounds=tuple(_rounds([len(each) for each in made["passes"][1:]], drafts)),
        prefill_s=made["first_token_s"],
        decode_s=made["total_s"] - made["first_token_s"],
        finish_reason=reason,
        first_token_s=made["first_token_s"],
    )


def _ended(tokens: Sequence[int], settings: EngineSettings) -> tuple[Sequence[int], FinishReason]:
    """Return tokens up to the one that ends the text, by the rule that all engines share."""
    for count in range(1, len(tokens) + 1):
        if reason := finish_reason(tokens[:count], settings):
            return tokens[:count], reason
    return tokens, "stop_string"  # in vLLM's eyes: it decodes token by token


def _rounds(emitted: Sequence[int], drafts: Sequence[Round]) -> Iterator[Round]:
    """Yield the passes after prefill, of how many tokens each gave and of the drafts, in order.

    vLLM tells no order of both: where a plain pass stands beside drafts in vain, it may be another.
    The last pass may have accepted more than the text holds.
    """
    left = deque(drafts)
    for number, tokens in enumerate(emitted, start=1):
        last = number == len(emitted)
        if left and (left[0].accepted + 1 == tokens or (last and left[0].accepted >= tokens)):
            yield left.popleft()
        else:
            yield Round(0, 0)
    assert not left, "vLLM tells of more drafts than there were passes"


@dataclass(frozen=True)
class VllmEngine:
    """Opens vLLM. A context is cut to `max_model_len` tokens, the model's own if that is less.

    `timeout_s`: the time that an engine has to open, and to decode what it is given at once; then
    it is ended, and what needed it is a failed row. DRAFTMARK_ENGINE_TIMEOUT sets it elsewhere.
    """

    max_model_len: int = 2048
    timeout_s: float = 1800.0

    def supports(self, kind: Kind) -> bool:
        """Every kind; trees are refused when an engine is opened."""
        return True

    def open(
        self, target: Path, method: Method | None, draft: Path | None, settings: EngineSettings
    ) -> _Running:
        """Start a process with the target, and the draft of a method if one is given.

        Raises UserError if vLLM is not installed, Unsupported if it does not do what is asked,
        ChildFailure if it does not open.
        """
        if find_spec("vllm") is None:
            raise UserError(
                f"The vllm engine needs vLLM, 0.32 or later; run `{install_hint('vllm')}`."
            )
        import torch

        room = self._room(target)
        variables = options.environment(settings.placement.device, torch.get_num_threads())
        with tempfile.TemporaryDirectory() as folder:
            speculation = None
            if method is not None and draft is not None:
                ready = _exported(method, draft, settings, Path(folder))
                speculation = options.drafting(method, ready, settings)
            engine_options = options.engine_options(target, settings, speculation, room)
            command = [sys.executable, "-P", str(options.PROGRAM)]
            child = Child("vLLM", command, {**os.environ, **variables}, self._timeout_s())
            facts = child.ask(engine_options)
        told = {
            "engine": options.without_places(engine_options),
            "sampling": options.sampling_options(settings),
            "environment": options.without_places(variables),
            "resolved": facts,
            "convention": asdict(CONVENTION),
        }
        return _Running(child, settings, room, told)

    def _room(self, target: Path) -> int:
        return min(self.max_model_len, options.max_positions(target))

    def _timeout_s(self) -> float:
        told = os.environ.get(TIMEOUT_VARIABLE, str(self.timeout_s))
        try:
            return float(told)
        except ValueError:
            raise UserError(f"{TIMEOUT_VARIABLE} = {told!r} is no number of seconds.") from None


def _exported(method: Method, draft: Path, settings: EngineSettings, folder: Path) -> Path:
    """Return the folder of a draft as vLLM loads it: of a head, one that is written now.

    Raises Unsupported for a draft that proposes trees: vLLM drafts chains.
    """
    if method.kind != "feature_head":
        return draft
    from draftmark.models.head_exports import LAYOUTS, Verifier, export
    from draftmark.speculation.head_drafter import FeatureHeadDrafter

    drafter = method.drafter(draft, settings.placement)
    if not isinstance(drafter, FeatureHeadDrafter):
        raise Unsupported(
            "vLLM drafts chains, not trees; leave `tree` out, or choose another engine."
        )
    layout = LAYOUTS[drafter.head.model.shape.kind][0]
    export(drafter.head, layout, Verifier("", settings.num_speculative_tokens), folder)
    return folder


ENGINE = VllmEngine()
