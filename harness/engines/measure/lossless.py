"""Is an engine lossless with this draft? Checks of what it decoded, each with its evidence.

At temperature 0 the tokens must be those of the target alone. An engine in 16 bits does not even
repeat itself, so where texts part, the gap between the target's two best logits there tells a tie
that rounding decides from a mistake, and the target is run twice for the noise floor. Above 0 every
emitted token must have the target's law: its randomised probability integral transform is uniform
then, whatever the vocabulary. At any temperature a draft that is its target has all accepted, and
the engine's counts must be those that scoring predicts of the same texts.

Legend: N position of a response, V vocabulary, D hidden size.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from draftmark.models.hidden_states import (
    FINAL,
    StoredHiddenStates,
    TargetLogits,
    hidden_states,
)
from draftmark.models.language_model import LanguageModel, load_model
from draftmark.models.sampling import sampler_probs
from draftmark.progress import Step
from draftmark.speculation.blocks import REFERENCE, Convention, block_counts
from draftmark.speculation.engine_counts import convention_of
from draftmark.speculation.interfaces import Drafter, Engine, EngineSettings, Method
from draftmark.store.acceptance_tables import Floats
from draftmark.types import Decode, Prompt, Sampler, Samplers, Text

REFUSED = 1e-3  # the p value below which a law is not the target's, or counts are not predicted
_ULPS = {"float32": 64.0, "bfloat16": 4.0, "float16": 4.0}  # of the best logit, that rounding moves


@dataclass(frozen=True)
class Check:
    """One check: whether it held, and what was seen."""

    name: str
    passed: bool
    evidence: str


def run_checks(
    engine: Engine,
    method: Method,
    folders: Mapping[str, Path],
    settings: EngineSettings,
    prompts: Sequence[Prompt],
    step: Step,
) -> list[Check]:
    """Return the checks of a draft in an engine; `folders` has "target" and "draft"."""

    def decode(
        with_method: Method | None, draft: Path | None, **changes: Any
    ) -> tuple[list[Decode], Convention]:
        running = engine.open(folders["target"], with_method, draft, replace(settings, **changes))
        decodes = list(running.generate(prompts))
        step.advance()
        return decodes, convention_of(running)

    sampler = settings.samplers.target
    placement = replace(settings.placement, dtype="float32")
    target = load_model(folders["target"], placement)
    together, convention = decode(method, folders["draft"])
    texts = as_texts(together, prompts)
    laws = laws_of(target, texts)
    if sampler.temperature == 0:
        twice = decode(None, None)[0], decode(None, None)[0]
        dtype = settings.placement.dtype
        found = [check_identity(*twice, together, prompts, target, dtype)]
    else:
        found = [check_law(texts, laws, sampler)]
    drafter = method.drafter(folders["draft"], placement)
    gamma = settings.num_speculative_tokens
    samplers = settings.samplers
    found.append(check_counts(together, texts, drafter, laws, samplers, gamma, convention))
    if method.kind == "language_model":
        own, _ = decode(method, folders["target"], samplers=Samplers(sampler, sampler))
        found.append(check_own_draft(own))
    return found


def as_texts(decodes: Sequence[Decode], prompts: Sequence[Prompt]) -> list[Text]:
    """Return what an engine decoded as texts, to be read by the target."""
    return [
        Text(decode.example_id, prompt.token_ids, decode.token_ids, decode.finish_reason)
        for decode, prompt in zip(decodes, prompts, strict=True)
    ]


def laws_of(target: LanguageModel, texts: Sequence[Text]) -> TargetLogits:
    """Return the target's laws on texts, read now."""
    by_id = {text.example_id: hidden_ND for text, hidden_ND in hidden_states(target, texts)}
    hidden_ND = torch.cat([by_id[text.example_id] for text in texts])
    stored = StoredHiddenStates(tuple(texts), FINAL, "supervised", hidden_ND[:, None])
    return TargetLogits(target, stored)


def check_identity(
    alone: Sequence[Decode],
    again: Sequence[Decode],
    together: Sequence[Decode],
    prompts: Sequence[Prompt],
    target: LanguageModel,
    dtype: str,
) -> Check:
    """Compare what was decoded with the draft with the target alone, decoded twice."""
    floor = sum(a.token_ids == b.token_ids for a, b in zip(alone, again, strict=True))
    parted = [
        (text, decode)
        for text, decode in zip(as_texts(alone, prompts), together, strict=True)
        if text.response_ids != decode.token_ids
    ]
    evidence = [
        f"{len(alone) - len(parted)} of {len(alone)} prompts have the target's tokens (the target "
        f"run twice: {floor})"
    ]
    gaps = list(_gaps(parted, laws_of(target, [text for text, _ in parted]))) if parted else []
    tie = _ULPS[dtype] * torch.finfo(getattr(torch, dtype)).eps
    for (text, _), (position, gap, best) in zip(parted, gaps, strict=True):
        what = "a tie within rounding" if gap <= tie * best else "no tie"
        evidence.append(
            f"{text.example_id} parts at token {position}, where the two best logits are "
            f"{gap:.2g} apart: {what}"
        )
    passed = all(gap <= tie * best for _, gap, best in gaps)
    return Check("tokens are the target's", passed, "; ".join(evidence))


def _gaps(
    parted: Sequence[tuple[Text, Decode]], laws: TargetLogits
) -> Iterator[tuple[int, float, float]]:
    """Yield (first position that differs, gap of the two best logits there, size of the best)."""
    for text, decode in parted:
        pairs = zip(text.response_ids, decode.token_ids, strict=False)
        shorter = min(len(text.response_ids), len(decode.token_ids))
        position = next((n for n, (a, b) in enumerate(pairs) if a != b), shorter)
        if position == len(text.response_ids):  # it went on where the target had ended
            yield position, math.inf, 0.0
            continue
        best, second = laws.logits(text)[position].topk(2).values.tolist()
        yield position, best - second, abs(best)


def check_law(texts: Sequence[Text], laws: TargetLogits, sampler: Sampler) -> Check:
    """Test that every token was drawn from the target's law, in two ways.

    Kolmogorov-Smirnov on the randomised PIT sees any change; where most tokens are all but certain
    it sees little, and the sum of the tokens' surprise -log p less its mean, in its standard
    errors, sees a law that is too sharp or too flat. Bonferroni for the two.
    """
    from scipy import stats

    read = [_read(text, laws, sampler) for text in texts]
    transformed, excess, variance = (np.concatenate(part) for part in zip(*read, strict=True))
    uniform = stats.kstest(transformed, "uniform")
    surprise = float(excess.sum() / math.sqrt(variance.sum())) if variance.sum() > 0 else 0.0
    p_value = min(1.0, 2 * min(float(uniform.pvalue), 2 * float(stats.norm.sf(abs(surprise)))))
    evidence = (
        f"{len(transformed)} tokens of {len(texts)} prompts: transformed by the target's law "
        f"{uniform.statistic:.4f} from uniform (p {uniform.pvalue:.3g}), surprise {surprise:+.2f} "
        f"standard errors from its mean; p of both {p_value:.3g}, refused below {REFUSED:g}"
    )
    return Check("tokens have the target's law", p_value > REFUSED, evidence)


def _read(text: Text, laws: TargetLogits, sampler: Sampler) -> tuple[Floats, Floats, Floats]:
    """Return (PIT, surprise less its mean, variance of the surprise) [N] of a text's tokens.

    The PIT is F(y-) + u p(y), with u of the prompt's own stream. F counts tokens from the likeliest
    down: any order would be right, this one shows best what is too bold or too timid.
    """
    from draftmark.models.generation import stream

    p_NV = sampler_probs(laws.logits(text), sampler).double().cpu()
    p_N1 = p_NV.gather(-1, torch.tensor(text.response_ids)[:, None])
    likelier_N = torch.where(p_NV > p_N1, p_NV, 0.0).sum(-1)
    alike_N = torch.where(p_NV == p_N1, p_NV, 0.0).sum(-1)
    generator = stream(0, "probability integral transform", text.example_id)
    uniform_N = torch.rand(len(alike_N), generator=generator, dtype=torch.float64)
    # A token that rounding has put outside its own law (the edge of a nucleus) is no surprise.
    surprise_NV = -p_NV.clamp(min=torch.finfo(torch.float64).tiny).log()
    mean_N = (p_NV * surprise_NV).sum(-1)
    variance_N = (p_NV * (surprise_NV - mean_N[:, None]) ** 2).sum(-1)
    own_N = torch.where(p_N1 > 0, -p_N1.log(), mean_N[:, None])[:, 0]
    return (
        (likelier_N + uniform_N * alike_N).numpy(),
        (own_N - mean_N).numpy(),
        variance_N.numpy(),
    )


def check_counts(
    decodes: Sequence[Decode],
    texts: Sequence[Text],
    drafter: Drafter,
    laws: TargetLogits,
    samplers: Samplers,
    num_speculative_tokens: int,
    convention: Convention = REFERENCE,
) -> Check:
    """Compare the passes that the engine made with those that scoring predicts of its texts."""
    from scipy import stats

    name = "passes are as predicted"
    try:
        tables = {table.example_id: table for table in drafter.score(texts, laws, samplers)}
    except ValueError as refused:
        return Check(name, False, str(refused))
    in_order = [tables[text.example_id] for text in texts]
    counts = block_counts(in_order, num_speculative_tokens, convention)
    counted_B = np.array([float(decode.target_passes) for decode in decodes])
    difference_B = counted_B - counts.passes_B
    error = reach = 0.0  # of a single prompt nothing is known: its passes must be those predicted
    if len(decodes) > 1:
        error = float(difference_B.std(ddof=1)) / math.sqrt(len(decodes))
        reach = float(stats.t.isf(REFUSED / 2, len(decodes) - 1)) * error
    passed = abs(difference_B.mean()) <= reach + 1e-6
    evidence = (
        f"{counted_B.mean():.2f} passes a prompt counted, {counts.passes_B.mean():.2f} predicted, "
        f"standard error of the difference {error:.2f}"
    )
    return Check(name, bool(passed), evidence)


def check_own_draft(decodes: Sequence[Decode]) -> Check:
    """Test that a draft that is its target had every token accepted."""
    drafted = sum(round_.drafted for decode in decodes for round_ in decode.rounds)
    accepted = sum(round_.accepted for decode in decodes for round_ in decode.rounds)
    evidence = f"{accepted} of {drafted} tokens accepted with the target as its own draft"
    return Check("the target as its own draft", 0 < drafted == accepted, evidence)
