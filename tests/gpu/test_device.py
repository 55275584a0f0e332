"""What a device computes is what the CPU computes in float32, up to the dtype's rounding."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from method_cases import built, gradient, latest, prepared

from draftmark.baselines._selection import selection_weights
from draftmark.config.model_sections import DraftInit, Training
from draftmark.engines.reference import ENGINE
from draftmark.models.draft_inits import make_draft
from draftmark.models.generation import Sampling, generate
from draftmark.models.hidden_states import StoredHiddenStates, TargetLogits, hidden_states
from draftmark.models.language_model import LanguageModel, cast_weights, save_model
from draftmark.progress import silent_step
from draftmark.speculation.interfaces import EngineSettings, FeatureMethod, Method
from draftmark.training.batches import Batch, FixedTexts, TrainingTexts
from draftmark.training.loop import TrainingContext
from draftmark.types import AcceptanceTable, Placement, Prompt, Sampler, Samplers
from tests.gpu import memory
from tests.gpu.device import DEVICE
from tests.gpu.models import save_random_model

pytestmark = pytest.mark.gpu
if DEVICE == "cuda" and not torch.cuda.is_available():
    pytest.skip("this machine has no CUDA device", allow_module_level=True)

Load = Callable[[Placement], LanguageModel]
Known = Mapping[str, StoredHiddenStates]
CPU, INIT = Placement(), DraftInit(pruned=(0, 7))
DTYPES = ("float32", "bfloat16")
# The largest differences, of states and gradients beside their norm, and of acceptances.
STATES = {"float32": 1e-4, "bfloat16": 3e-2}
GRADIENTS = {"float32": 1e-3, "bfloat16": 1e-1}
ACCEPTANCE = {"float32": 1e-3, "bfloat16": 5e-2}
MEMORY = 0.2  # of the plan's bytes
SETTINGS = Training(passes=1, rows_per_batch=4, learning_rate=2e-3, validations=1)
TRAINED: Mapping[str, Mapping[str, Any]] = {
    **{name: {} for name in ("sft", "kd", "distillspec", "csd", "dld", "lk", "gkd", "pard")},
    "adaspec": {"selection": "entropy"},
    **{name: {} for name in ("eagle", "eagle3", "mtp", "medusa", "p_eagle")},
    "dflash": {"num_layers": 1},
    "dspark": {"num_layers": 1, "rank": 8},
}
DRAFTED = ("kd", "pard", "eagle", "eagle3", "mtp", "medusa", "p_eagle", "dflash", "dspark")


def _method(name: str) -> Method:
    return built(name, **TRAINED[name])


def _context(load: Load, known: Known, at: Placement, scratch: Path) -> TrainingContext:
    """Return the context of a pruned draft on a device, as a stage of a run makes it."""
    whole = replace(at, dtype="float32")
    target = load(whole)
    draft = make_draft(INIT, target, seed=0, placement=whole)
    cast_weights(target, at.dtype)
    source = FixedTexts(known["train"].texts, known["train"])
    return TrainingContext(
        draft=draft,
        target=target,
        settings=SETTINGS,
        dtype=at.dtype,
        seed=0,
        scratch=scratch,
        step=silent_step(),
        texts=TrainingTexts({"dataset": source}, {"dataset": 1.0}),
        criterion=latest(),
    )


def _relative(first: torch.Tensor, second: torch.Tensor) -> float:
    first, second = first.float().cpu(), second.float().cpu()
    return float((first - second).norm() / second.norm())


@pytest.mark.parametrize("dtype", DTYPES)
def test_hidden_states(device: str, dtype: str, load: Load, known: Known) -> None:
    texts = known["train"].texts
    expected = dict(hidden_states(load(CPU), texts))

    found = dict(hidden_states(load(Placement(device, dtype)), texts))

    assert all(_relative(found[text], expected[text]) < STATES[dtype] for text in texts)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRAINED)
def test_a_training_step(
    name: str,
    device: str,
    dtype: str,
    load: Load,
    known: Known,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = _method(name)

    def make(at: Placement, **changes: Any) -> TrainingContext:
        context = _context(load, known, at, tmp_path_factory.mktemp("scratch"))
        return replace(prepared(context, method, known), **changes)

    one, other = (
        gradient(partial(make, at), method, monkeypatch) for at in (CPU, Placement(device, dtype))
    )

    assert _relative(other, one) < GRADIENTS[dtype]


@pytest.mark.parametrize("choice", ["gap", "reversed", "random"])
def test_a_selection_keeps_the_same_tokens(device: str, choice: Any, known: Known) -> None:
    texts = known["train"].texts
    one, other = (Batch.from_texts(texts, 3, 0.5, torch.device(at)) for at in ("cpu", device))
    gaps_N = torch.randn(len(one.labels_N), generator=torch.Generator().manual_seed(0))

    on_cpu = selection_weights(gaps_N, one, 0.4, choice, micro_batch=2)
    on_device = selection_weights(gaps_N.to(device), other, 0.4, choice, micro_batch=2)

    assert torch.equal(on_device.cpu(), on_cpu)


def _saved(name: str, load: Load, known: Known, tokenizer: Any, folder: Path) -> Path:
    """Save an untrained draft, or a random head, of a method; return its folder."""
    method, target = _method(name), load(CPU)
    if isinstance(method, FeatureMethod):
        draft = method.head(target, known["train"].texts, 0)
    else:
        draft = make_draft(INIT, target, seed=0)
        if name == "pard":  # training writes its mask token into the config
            (folder / "scratch").mkdir()
            draft = method.train(_context(load, known, CPU, folder / "scratch")).model
    (folder / "draft").mkdir()
    save_model(draft, tokenizer, folder / "draft")
    return folder / "draft"


def _scores(
    name: str, draft: Path, at: Placement, load: Load, known: Known, sampler: Sampler
) -> list[AcceptanceTable]:
    validation = known["validation"]
    logits = TargetLogits(load(at), validation)
    drafter = _method(name).drafter(draft, at)
    return list(drafter.score(validation.texts, logits, Samplers(sampler, sampler)))


@pytest.mark.parametrize("name", DRAFTED)
def test_scores(
    name: str, device: str, load: Load, known: Known, tokenizer: Any, tmp_path: Path
) -> None:
    draft, sampler = _saved(name, load, known, tokenizer, tmp_path), Sampler(1.0)
    expected = _scores(name, draft, CPU, load, known, sampler)
    for dtype in DTYPES:
        found = _scores(name, draft, Placement(device, dtype), load, known, sampler)
        for one, other in zip(found, expected, strict=True):
            difference = abs(sum(one.overlap_S) - sum(other.overlap_S)) / len(one.overlap_S)
            assert difference < ACCEPTANCE[dtype]


def _decoded(name: str, draft: Path, at: Placement, prompts: Any, target: Path, **how: Any) -> Any:
    sampler = Sampler(how.get("temperature", 0.0))
    settings = EngineSettings(Samplers(sampler, sampler), 3, 12, frozenset({2}), 0, at)
    running = ENGINE.open(target, _method(name), draft, settings)
    return [each.token_ids for each in running.generate(prompts)]


@pytest.mark.parametrize("name", DRAFTED)
def test_decoding_with_a_draft(
    name: str,
    device: str,
    load: Load,
    known: Known,
    tokenizer: Any,
    tiny_directory: Path,
    tmp_path: Path,
) -> None:
    draft = _saved(name, load, known, tokenizer, tmp_path)
    prompts = [Prompt(text.example_id, text.prompt_ids) for text in known["validation"].texts[:2]]
    decode = partial(_decoded, name, draft, prompts=prompts, target=tiny_directory)

    greedy = decode(at=Placement(device))
    sampled = [decode(at=Placement(device), temperature=1.0) for _ in range(2)]

    assert greedy == decode(at=CPU)
    assert sampled[0] == sampled[1]


def test_text_is_the_same_for_the_same_seed(device: str, load: Load, known: Known) -> None:
    target = load(Placement(device))
    prompts = [Prompt(text.example_id, text.prompt_ids) for text in known["train"].texts]

    def write(seed: int, temperature: float, model: LanguageModel = target) -> Any:
        sampling = Sampling(Sampler(temperature), 12, frozenset({2}), seed)
        return generate(model, prompts, sampling, rows_per_batch=4)

    assert write(0, 1.0) == write(0, 1.0) != write(1, 1.0)
    assert write(0, 0.0) == write(0, 0.0, load(CPU))


@pytest.mark.parametrize("dtype", DTYPES)
def test_peak_memory_is_the_plans(device: str, dtype: str, tmp_path: Path) -> None:
    if device != "cuda":
        pytest.skip("the plan's memory is a GPU's")
    folder = save_random_model(memory.MODEL, tmp_path / "model")

    peaks = memory.measure(folder, Placement(device, dtype), memory.LARGE)

    assert {peak.work: peak.ratio for peak in peaks} == pytest.approx(
        dict.fromkeys(("writing", "reading", "training"), 1), rel=MEMORY
    )
