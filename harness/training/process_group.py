"""The processes that train one draft: each takes a share of every step's rows.

Accelerate picks the backend of the machine (gloo on CPUs, nccl on GPUs). A step computes the
same gradient as one process would, up to the order of summation.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TypeVar

import torch

T = TypeVar("T")

_TIMEOUT = timedelta(days=1)  # the other processes wait while the first one validates


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training, seen from one of them. The first process writes all files."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> "ProcessGroup":
        """Return the group that the launcher put this process in."""
        from accelerate import PartialState

        state = PartialState(cpu=not torch.cuda.is_available(), timeout=_TIMEOUT)
        return cls(state.process_index, state.num_processes)

    @property
    def is_first(self) -> bool:
        """True if this process writes the files."""
        return self.rank == 0

    def own_rows(self, rows: Sequence[T]) -> Sequence[T]:
        """Return this process's rows: contiguous, and as equal in number as possible."""
        first, end = (-(-rank * len(rows) // self.count) for rank in (self.rank, self.rank + 1))
        return rows[first:end]

    def gather_lists(self, mine: Iterable[T]) -> list[list[T]]:
        """Return the items of each process, in the order of the processes."""
        if self.count == 1:
            return [list(mine)]
        from accelerate.utils import gather_object

        by_process: list[list[T]] = gather_object([list(mine)])
        return by_process

    def gather_tokens(self, mine_N: torch.Tensor) -> torch.Tensor:
        """Return the values [N] of the tokens of all processes, in the order of their rows."""
        if self.count == 1:
            return mine_N
        parts = chain.from_iterable(self.gather_lists([mine_N.cpu()]))
        return torch.cat([part_N.to(mine_N.device) for part_N in parts])

    def sum_values(self, mine: float) -> float:
        """Return the sum of a number over the processes."""
        return sum(chain.from_iterable(self.gather_lists([mine])))

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace the gradients of every process by their sum over the processes."""
        if self.count == 1:
            return
        from accelerate.utils import reduce

        for parameter in parameters:
            mine = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            parameter.grad = reduce(mine, "sum")

    def from_first(self, make: Callable[[], T]) -> T:
        """Call `make` in the first process only; return its result in every process."""
        if self.count == 1:
            return make()
        from accelerate.utils import broadcast_object_list

        made: list[T] = broadcast_object_list([make() if self.is_first else None])
        return made[0]

    def wait(self) -> None:
        """Return when every process has called this."""
        if self.count > 1:
            self.gather_lists([])

    def leave(self) -> None:
        """Leave the group when every process has called this."""
        from accelerate import PartialState

        self.wait()
        PartialState().destroy_process_group()


ALONE = ProcessGroup()
