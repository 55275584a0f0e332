"""The peak memory of reading, writing and training, beside the plan's closed forms.

On a GPU the peak is what torch's allocator held; on a processor, the tensors that were alive at
once, without what kernels use inside.
"""

import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from draftmark.config.model_sections import DraftInit, Training
from draftmark.models import shapes
from draftmark.models.draft_inits import make_draft
from draftmark.models.generation import Sampling, generate
from draftmark.models.hidden_states import StoredHiddenStates, write_hidden_states
from draftmark.models.language_model import LanguageModel, drop_body, load_model
from draftmark.pipeline.planning import estimates
from draftmark.pipeline.planning.estimates import Load, find_gpu
from draftmark.progress import silent_step
from draftmark.registry import find_registered
from draftmark.training.batches import FixedTexts, TrainingTexts
from draftmark.training.loop import TrainingContext
from draftmark.training.validation import Criterion
from draftmark.types import GREEDY, Placement, Prompt, Text, TrainingRun
from tests.gpu.models import save_random_model
from tests.gpu.step import options, print_table

ANY = find_gpu("h100")  # of its costs only the bytes are used
MODEL = "smollm2-135m-instruct"
UNJUDGED = Criterion("none", lambda _: 0.0)


@dataclass(frozen=True)
class Sizes:
    """Rows, the tokens of their prompts and responses, rows of a step, layers of the draft."""

    rows: int
    prompt: int
    response: int
    batch: int
    layers: tuple[int, ...]

    @property
    def load(self) -> Load:
        """The rows as the plan counts them."""
        return Load(self.rows, float(self.rows * self.prompt), float(self.rows * self.response))

    def texts(self, vocab_size: int) -> list[Text]:
        """Return rows of random tokens."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.rows, self.prompt + self.response)
        ids = torch.randint(3, vocab_size, shape, generator=generator).tolist()
        cut = self.prompt
        return [
            Text(str(index), tuple(row[:cut]), tuple(row[cut:]), "stop")
            for index, row in enumerate(ids)
        ]


LARGE = Sizes(rows=32, prompt=256, response=256, batch=8, layers=(0, 1, 2, 3))
SMALL = Sizes(rows=4, prompt=24, response=24, batch=2, layers=(0,))


@dataclass(frozen=True)
class Peak:
    """The peak of one work: bytes measured, and bytes by the plan's form."""

    work: str
    dtype: str
    measured: float
    planned: float

    @property
    def ratio(self) -> float:
        """The measured bytes over the plan's."""
        return self.measured / self.planned


class _Alive(TorchDispatchMode):
    """Counts the bytes of tensors that operations make, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.most = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {_storage(each) for each in tree_leaves((args, kwargs)) if _is_tensor(each)}
        for each in filter(_is_tensor, tree_leaves(made)):
            if _storage(each) not in given:
                self._count(each.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._known or not size:
            return
        self._known.add(place)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._free, place, size)

    def _free(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == "cpu"


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def peak_bytes(device: str, held: int) -> Iterator[Callable[[], int]]:
    """Yield what returns the peak of the work inside, with the `held` bytes of loaded models."""
    if device == "cpu":
        with _Alive() as alive:
            yield lambda: held + alive.most
        return
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield torch.cuda.max_memory_allocated


def weight_bytes(*models: LanguageModel) -> int:
    """Return the bytes of the weights of models, a shared one once."""
    weights = {
        each.data_ptr(): each.nbytes for model in models for each in model.model.parameters()
    }
    return sum(weights.values())


def measure(folder: Path, placement: Placement, sizes: Sizes) -> list[Peak]:
    """Return the peaks of reading, writing and training with a model."""
    target = load_model(folder, placement)
    shape = shapes.model_shape("", folder)
    texts = sizes.texts(target.vocab_size)
    with tempfile.TemporaryDirectory() as name:
        return [
            _writing(target, shape, texts, placement, sizes),
            _reading(target, shape, texts, placement, sizes, Path(name)),
            _training(target, shape, placement, sizes, Path(name)),
        ]


def _writing(
    target: LanguageModel, shape: shapes.Shape, texts: list[Text], at: Placement, sizes: Sizes
) -> Peak:
    prompts = [Prompt(text.example_id, text.prompt_ids) for text in texts]
    sampling = Sampling(GREEDY, sizes.response, frozenset(), 0)
    with peak_bytes(at.device, weight_bytes(target)) as peak:
        generate(target, prompts, sampling, rows_per_batch=sizes.rows)
    cost = estimates.generation_cost(
        shape, sizes.load, sizes.response, ANY, rows_per_batch=sizes.rows, dtype=at.dtype
    )
    return Peak("writing", at.dtype, peak(), cost.peak_bytes)


def _reading(
    target: LanguageModel,
    shape: shapes.Shape,
    texts: list[Text],
    at: Placement,
    sizes: Sizes,
    folder: Path,
) -> Peak:
    with peak_bytes(at.device, weight_bytes(target)) as peak:
        write_hidden_states(target, texts, folder, dtype="float32", step=silent_step())
    cost = estimates.forward_cost(shape, sizes.load, ANY, dtype=at.dtype, head=False)
    return Peak("reading", at.dtype, peak(), cost.peak_bytes)


def _training(
    target: LanguageModel, shape: shapes.Shape, at: Placement, sizes: Sizes, folder: Path
) -> Peak:
    init = DraftInit(pruned=sizes.layers)
    draft = make_draft(init, target, seed=0, placement=at)
    drop_body(target)
    stored = StoredHiddenStates.load(folder)
    context = TrainingContext(
        draft=draft,
        target=target,
        settings=Training(passes=1, rows_per_batch=sizes.batch, validations=1),
        dtype=at.dtype,
        seed=0,
        scratch=folder / "scratch",
        step=silent_step(),
        texts=TrainingTexts({"dataset": FixedTexts(stored.texts, stored)}, {"dataset": 1.0}),
        criterion=UNJUDGED,
    )
    head = target.model.get_output_embeddings().weight.nbytes
    with peak_bytes(at.device, weight_bytes(draft) + head) as peak:
        find_registered("baselines", "kd")().train(context)
    cut = shape.cut(len(sizes.layers))
    course = TrainingRun(1, sizes.batch)
    cost = estimates.training_cost(
        cut, sizes.load, course, ANY, dtype=at.dtype, target_head=cut.head
    )
    return Peak("training", at.dtype, peak(), cost.peak_bytes)


def main() -> None:
    """Measure in both dtypes, and print a row for each work."""
    chosen = options(__doc__)
    folder = save_random_model(MODEL, chosen.out / "models" / "memory", small=chosen.small)
    sizes = SMALL if chosen.small else LARGE
    peaks = [
        peak
        for dtype in ("float32", "bfloat16")
        for peak in measure(folder, Placement(chosen.device, dtype), sizes)
    ]
    rows = [
        {
            "work": peak.work,
            "dtype": peak.dtype,
            "measured, MiB": peak.measured / 2**20,
            "plan, MiB": peak.planned / 2**20,
            "measured / plan": peak.ratio,
        }
        for peak in peaks
    ]
    print_table(rows, f"{sizes.rows} rows of {sizes.prompt} and {sizes.response} random tokens.")


if __name__ == "__main__":
    main()
