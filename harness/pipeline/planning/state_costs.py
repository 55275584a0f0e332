"""The target's states on training texts: the bytes and FLOPs of storing or recomputing them."""

from collections.abc import Sequence
from dataclasses import dataclass

from draftmark.config.model_sections import Features, Training
from draftmark.models.shapes import SIZES, Shape
from draftmark.pipeline.planning.estimates import Load, attention_flops
from draftmark.pipeline.planning.loads import as_written
from draftmark.pipeline.setting import Setting
from draftmark.speculation.interfaces import FeatureMethod, Method, Planned
from draftmark.types import TrainingRun

_DTYPE = "bfloat16"  # as `models.hidden_states`, which loads torch, stores them
_GIGABYTE = 10**9


@dataclass(frozen=True)
class StateCosts:
    """The target's states on the texts of one draft that are there before its training.

    Stored states are read once, for all drafts that share them; live ones in every pass of a draft.
    `largest_bytes` are those of the largest set of texts.
    """

    stored_bytes: float
    largest_bytes: float
    stored_flops: float
    live_flops: float  # of one draft
    passes: float  # of one draft over these texts

    @property
    def crossover(self) -> float:
        """The number of passes, of all drafts together, beyond which storing takes fewer FLOPs."""
        return self.stored_flops / self.live_flops * self.passes

    def choice(self, max_gigabytes: float) -> Features:
        """Return what "auto" stands for: live where states do not fit, or would be read once."""
        fits = self.largest_bytes <= max_gigabytes * _GIGABYTE
        return "stored" if fits and self.passes > 1 else "live"


def runs_of(method: Method, training: Training) -> Sequence[TrainingRun]:
    """Return the trainings of a method, as it plans them."""
    run = TrainingRun(training.passes, training.rows_per_batch)
    return method.training_runs(run) if isinstance(method, Planned) else (run,)


def state_costs(
    setting: Setting, method: Method, training: Training, target: Shape, gold: Load
) -> StateCosts:
    """Return the costs of the target's states on a draft's training texts; `gold` of its rows."""
    loads = {"dataset": gold, "target": as_written(gold, setting.max_new_tokens)}
    shares = {writer: share for writer, share in training.shares.items() if writer in loads}
    layers = method.layers(target.layers) if isinstance(method, FeatureMethod) else ()
    sizes = [_stored_bytes(target, loads[writer], len(layers)) for writer in shares]
    one_pass = [_reading_flops(target, loads[writer]) for writer in shares]
    passes = sum(run.passes for run in runs_of(method, training))
    live = [passes * share * once for share, once in zip(shares.values(), one_pass, strict=True)]
    readings = 2 if layers else 1  # layer states are a stage of their own
    return StateCosts(
        sum(sizes),
        max(sizes, default=0.0),
        readings * sum(one_pass),
        sum(live),
        passes * sum(shares.values()),
    )


def _stored_bytes(target: Shape, load: Load, layers: int) -> float:
    numbers = load.response_tokens + layers * load.read_tokens
    return numbers * target.hidden * SIZES[_DTYPE]


def _reading_flops(target: Shape, load: Load) -> float:
    attention = attention_flops(target, load.read_tokens, load.mean_length)
    return 2 * target.body * load.read_tokens + attention
