"""Checks that an engine is lossless with a draft, each with its evidence.

At temperature 0 the tokens must be those of the target alone. An engine in 16 bits does not even
reproduce itself, so where two texts first differ, the gap between the target's two best logits
separates ties within rounding from mistakes, and the target is run twice for the noise floor. Above
0 every token must come from the target's distribution: then its randomised probability integral
transform (PIT) is uniform, for any vocabulary. At any temperature, the target as its own draft must
have every token accepted, and the engine's counts must be those that scoring predicts.

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
from draftmark.models.shared_vocabulary import SharedVocabulary, read_vocabulary
from draftmark.progress import Step
from draftmark.speculation.blocks import REFERENCE, Convention, block_counts
from draftmark.speculation.engine_counts import convention_of, engine_counts
from draftmark.speculation.interfaces import Drafter, Engine, EngineSettings, Method
from draftmark.store.acceptance_tables import Floats
from draftmark.types import Decode, Prompt, Sampler, Samplers, Text, Verification

MIN_P_VALUE = 1e-3  # the p value below which a check fails
# A gap of at most this many units in the last place of the best logit is a tie within rounding.
_ULPS = {"float32": 64.0, "bfloat16": 4.0, "float16": 4.0}


@dataclass(frozen=True)
class Check:
    """One check: whether it passed, and the evidence."""

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
    texts = to_texts(together, prompts)
    logits = read_target_logits(target, texts)
    if sampler.temperature == 0:
        twice = decode(None, None)[0], decode(None, None)[0]
        dtype = settings.placement.dtype
        checks = [check_identity(*twice, together, prompts, target, dtype)]
    else:
        checks = [check_distribution(texts, logits, sampler)]
    drafter = method.drafter(folders["draft"], placement.whole)
    gamma = settings.num_speculative_tokens
    samplers = settings.samplers
    rule = settings.verification
    checks.append(check_counts(together, texts, drafter, logits, samplers, gamma, convention, rule))
    if shared := read_vocabulary(folders["draft"]):
        checks.append(check_vocabulary(shared, texts))
    if method.kind == "language_model":
        own = decode(method, folders["target"], samplers=Samplers(sampler, sampler))
        checks.append(check_own_draft(*own))
    return checks


def to_texts(decodes: Sequence[Decode], prompts: Sequence[Prompt]) -> list[Text]:
    """Return an engine's decodes as texts, for the target to read."""
    return [
        Text(decode.example_id, prompt.token_ids, decode.token_ids, decode.finish_reason)
        for decode, prompt in zip(decodes, prompts, strict=True)
    ]


def read_target_logits(target: LanguageModel, texts: Sequence[Text]) -> TargetLogits:
    """Return the target's logits on texts, from one forward pass."""
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
    """Compare the decodes with the draft, `together`, to two of the target: `alone`, `again`."""
    floor = sum(a.token_ids == b.token_ids for a, b in zip(alone, again, strict=True))
    differing = [
        (text, decode)
        for text, decode in zip(to_texts(alone, prompts), together, strict=True)
        if text.response_ids != decode.token_ids
    ]
    evidence = [
        f"{len(alone) - len(differing)} of {len(alone)} prompts have the target's tokens (the "
        f"target run twice: {floor})"
    ]
    gaps = []
    if differing:
        gaps = list(_gaps(differing, read_target_logits(target, [text for text, _ in differing])))
    tie = _ULPS[dtype] * torch.finfo(getattr(torch, dtype)).eps
    for (text, _), (position, gap, best) in zip(differing, gaps, strict=True):
        verdict = "a tie within rounding" if gap <= tie * best else "no tie"
        evidence.append(
            f"{text.example_id} differs from token {position} on, where the two best logits are "
            f"{gap:.2g} apart: {verdict}"
        )
    passed = all(gap <= tie * best for _, gap, best in gaps)
    return Check("tokens are the target's", passed, "; ".join(evidence))


def _gaps(
    differing: Sequence[tuple[Text, Decode]], logits: TargetLogits
) -> Iterator[tuple[int, float, float]]:
    """Yield (first position that differs, gap of the two best logits there, size of the best)."""
    for text, decode in differing:
        pairs = zip(text.response_ids, decode.token_ids, strict=False)
        shorter = min(len(text.response_ids), len(decode.token_ids))
        position = next((n for n, (a, b) in enumerate(pairs) if a != b), shorter)
        if position == len(text.response_ids):  # the target had ended here
            yield position, math.inf, 0.0
            continue
        best, second = logits.logits(text)[position].topk(2).values.tolist()
        yield position, best - second, abs(best)


def check_written(
    texts: Sequence[Text], target: LanguageModel, sampler: Sampler, dtype: str
) -> Check:
    """Test that texts, written by an engine in a dtype, are the target's at a sampler.

    At temperature 0 every token must be the target's most likely one after the tokens before it, or
    tie with that one within the dtype's rounding. Above 0, as `check_distribution`.
    """
    logits = read_target_logits(target, texts)
    if sampler.temperature:
        return check_distribution(texts, logits, sampler)
    tie = _ULPS[dtype] * torch.finfo(getattr(torch, dtype)).eps
    evidence, gaps, differing = [], [], 0
    for text in texts:
        best_N, gap_N = _gaps_to_best(text, logits)
        gaps.append(gap_N / best_N.abs())
        positions = gap_N.nonzero()[:, 0].tolist()
        if positions:
            differing += 1
            first = positions[0]
            verdict = "a tie within rounding" if gaps[-1][first] <= tie else "no tie"
            evidence.append(
                f"{text.example_id} leaves the target's choice first at token {first}, whose logit "
                f"is {float(gap_N[first]):.2g} below the best: {verdict}"
            )
    relative = torch.cat(gaps)
    summary = (
        f"{len(texts) - differing} of {len(texts)} texts are the target's choice at each of their "
        f"{len(relative)} tokens"
    )
    passed = bool((relative <= tie).all())
    return Check("tokens are the target's", passed, "; ".join([summary, *evidence]))


def _gaps_to_best(text: Text, logits: TargetLogits) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best logit [N] at each position, and how far the token's own is below it [N]."""
    logits_NV = logits.logits(text)
    best_N = logits_NV.max(-1).values
    y_N1 = torch.tensor(text.response_ids, device=logits_NV.device)[:, None]
    return best_N, best_N - logits_NV.gather(-1, y_N1)[:, 0]


def check_distribution(texts: Sequence[Text], logits: TargetLogits, sampler: Sampler) -> Check:
    """Test that the tokens were drawn from the target's distribution, by two statistics.

    Kolmogorov-Smirnov on the randomised PIT detects any change, but is weak where most tokens are
    almost certain. There, the sum of the tokens' surprise (-log p) less its mean, in standard
    errors, detects a distribution that is too sharp or too flat. Bonferroni corrects for the two.
    """
    from scipy import stats

    read = [_read(text, logits, sampler) for text in texts]
    transformed, excess, variance = (np.concatenate(part) for part in zip(*read, strict=True))
    uniform = stats.kstest(transformed, "uniform")
    surprise = float(excess.sum() / math.sqrt(variance.sum())) if variance.sum() > 0 else 0.0
    p_value = min(1.0, 2 * min(float(uniform.pvalue), 2 * float(stats.norm.sf(abs(surprise)))))
    evidence = (
        f"{len(transformed)} tokens of {len(texts)} prompts: PIT under the target's distribution "
        f"{uniform.statistic:.4f} from uniform (p {uniform.pvalue:.3g}), surprise {surprise:+.2f} "
        f"standard errors from its mean; p of both {p_value:.3g}, refused below {MIN_P_VALUE:g}"
    )
    return Check("tokens have the target's distribution", p_value > MIN_P_VALUE, evidence)


def _read(text: Text, logits: TargetLogits, sampler: Sampler) -> tuple[Floats, Floats, Floats]:
    """Return (PIT, surprise less its mean, variance of the surprise) [N] of a text's tokens.

    The PIT is F(y-) + u p(y), with u from the prompt's own stream. F sums tokens from the most
    likely down: any order is valid, and this one is most sensitive to a wrong temperature.
    """
    from draftmark.models.generation import random_stream

    p_NV = sampler_probs(logits.logits(text), sampler).double().cpu()
    p_N1 = p_NV.gather(-1, torch.tensor(text.response_ids)[:, None])
    likelier_N = torch.where(p_NV > p_N1, p_NV, 0.0).sum(-1)
    alike_N = torch.where(p_NV == p_N1, p_NV, 0.0).sum(-1)
    generator = random_stream(0, "probability integral transform", text.example_id)
    uniform_N = torch.rand(len(alike_N), generator=generator, dtype=torch.float64)
    # A token of probability 0 by rounding (at the edge of a nucleus) counts as no surprise.
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
    logits: TargetLogits,
    samplers: Samplers,
    num_speculative_tokens: int,
    convention: Convention = REFERENCE,
    verification: Verification = "standard",
) -> Check:
    """Compare the engine's passes with those that scoring predicts for its texts."""
    from scipy import stats

    name = "passes are as predicted"
    try:
        tables = {table.example_id: table for table in drafter.score(texts, logits, samplers)}
    except ValueError as failure:
        return Check(name, False, str(failure))
    in_order = [tables[text.example_id] for text in texts]
    counts = block_counts(in_order, num_speculative_tokens, convention, verification)
    counted_B = np.array([float(decode.target_passes) for decode in decodes])
    difference_B = counted_B - counts.passes_B
    error = reach = 0.0  # a single prompt has no standard error: its passes must be as predicted
    if len(decodes) > 1:
        error = float(difference_B.std(ddof=1)) / math.sqrt(len(decodes))
        reach = float(stats.t.isf(MIN_P_VALUE / 2, len(decodes) - 1)) * error
    passed = abs(difference_B.mean()) <= reach + 1e-6
    evidence = (
        f"{counted_B.mean():.2f} passes a prompt counted, {counts.passes_B.mean():.2f} predicted, "
        f"standard error of the difference {error:.2f}"
    )
    return Check(name, bool(passed), evidence)


def check_vocabulary(shared: SharedVocabulary, texts: Sequence[Text]) -> Check:
    """Test that target and draft share tokens of the texts: no other token can be accepted."""
    tokens = [token for text in texts for token in text.response_ids]
    count = shared.count(tokens)
    evidence = f"the draft shares {shared.describe()}, and {count} of {len(tokens)} of these texts"
    return Check("the draft shares tokens of the texts", count > 0, evidence)


def check_own_draft(decodes: Sequence[Decode], convention: Convention = REFERENCE) -> Check:
    """Test that the target as its own draft had every token accepted, up to the texts' ends."""
    counts = engine_counts(decodes, convention)
    tested, accepted = int(counts.tested_B.sum()), int(counts.within_B.sum())
    evidence = f"{accepted} of {tested} tokens accepted with the target as its own draft"
    return Check("the target as its own draft", 0 < tested == accepted, evidence)
