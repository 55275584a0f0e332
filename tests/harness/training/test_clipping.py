"""Clipping scales the whole gradient of a step to the limit, as torch does, and never up."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from draftmark.training.clipping import clipped_norm
from draftmark.training.process_group import ALONE, ProcessGroup

SLOPES = ((3.0, 0.0), (-4.0,), (12.0, 0.0, 0.0))  # of norm 13


@pytest.fixture
def one_process() -> Iterator[None]:
    """A group of one process, so that a weight can be in parts."""
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@dataclass(frozen=True)
class Two(ProcessGroup):
    """One process of two, of which the other one has as large a gradient, and parts of norm 5."""

    count: int = 2

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        for each in parameters:
            each.grad = None if each.grad is None else 2 * each.grad

    def sum_values(self, mine: float) -> float:
        return mine + 25.0


def weights(slopes: Sequence[Sequence[float]] = SLOPES, *, in_parts: bool = False) -> list[Any]:
    found = []
    for slope in slopes:
        value = torch.zeros(len(slope))
        gradient: torch.Tensor = torch.tensor(slope)
        if in_parts:
            mesh = init_device_mesh("cpu", (1,))
            value = distribute_tensor(value, mesh, [Shard(0)])
            gradient = distribute_tensor(gradient, mesh, [Shard(0)])
        found.append(torch.nn.Parameter(value))
        found[-1].grad = gradient
    return found


def slopes(found: Sequence[torch.nn.Parameter]) -> list[float]:
    whole = [each.grad for each in found if each.grad is not None]
    local = [each.full_tensor() if isinstance(each, DTensor) else each for each in whole]
    return [float(value) for each in local for value in each]


def flat(scale: float) -> list[float]:
    return [value * scale for slope in SLOPES for value in slope]


@pytest.mark.parametrize("limit", [13.0, 20.0])
def test_a_gradient_of_the_limit_or_less_stays_to_the_bit(limit: float) -> None:
    found = weights()
    assert clipped_norm(found, ALONE, limit) == 13.0
    assert slopes(found) == flat(1.0)


def test_a_larger_gradient_is_scaled_as_torch_does() -> None:
    found, expected = weights(), weights()
    assert clipped_norm(found, ALONE, 6.5) == 13.0
    torch.nn.utils.clip_grad_norm_(expected, 6.5)
    assert slopes(found) == slopes(expected)
    assert slopes(found) == pytest.approx(flat(0.5))


def test_a_weight_without_a_gradient_is_left_out() -> None:
    found = weights()
    found[1].grad = None
    assert clipped_norm(found, ALONE, 1.0) == pytest.approx((9 + 144) ** 0.5)
    assert found[1].grad is None


def test_the_gradients_of_all_processes_are_clipped_as_one() -> None:
    found = weights()
    assert clipped_norm(found, Two(), 13.0) == 26.0
    assert slopes(found) == pytest.approx(flat(1.0))


@pytest.mark.usefixtures("one_process")
def test_weights_in_parts_are_clipped_with_the_whole_ones() -> None:
    """Parts are summed already: the norm is that of 2 x 13, of 12 and of the other process's 5."""
    whole, parts = weights(), weights([(12.0, 0.0)], in_parts=True)
    silent = weights([(1.0,)], in_parts=True)
    silent[0].grad = None
    norm = (26.0**2 + 12.0**2 + 5.0**2) ** 0.5
    assert clipped_norm([*parts, *whole, *silent], Two(), 1.0) == pytest.approx(norm)
    assert slopes(whole) == pytest.approx(flat(2 / norm), rel=1e-5)
    assert slopes(parts) == pytest.approx([12 / norm, 0.0], rel=1e-5)


@pytest.mark.usefixtures("one_process")
def test_weights_in_parts_alone_are_clipped_to_the_limit() -> None:
    parts = weights(in_parts=True)
    assert clipped_norm(parts, ALONE, 20.0) == 13.0
    assert slopes(parts) == flat(1.0)
    tiny = [tuple(value * 1e-6 for value in slope) for slope in SLOPES]
    parts, expected = weights(tiny, in_parts=True), weights(tiny)
    assert clipped_norm(parts, ALONE, 6.5e-6) == pytest.approx(13e-6)
    torch.nn.utils.clip_grad_norm_(expected, 6.5e-6)  # which adds 1e-6 to the norm
    assert slopes(parts) == pytest.approx(slopes(expected), rel=1e-5)
