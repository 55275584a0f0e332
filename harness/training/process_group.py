"""Several processes that train one draft: each takes a share of every step's rows.

Through Accelerate, which knows the backend of the machine (gloo on processors, nccl on GPUs). What
a step learns is what one process would learn, up to the order in which numbers are added.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TypeVar

import torch

T = TypeVar("T")

_PATIENCE = timedelta(days=1)  # the others wait while the first one validates


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training, seen from one of them. The first one writes what there is."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> "ProcessGroup":
        """Return the team that the launcher has told this process of."""
        from accelerate import PartialState

        state = PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
        return cls(state.process_index, state.num_processes)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, rows: Sequence[T]) -> Sequence[T]:
        """Return this process's rows: one after the other, as equal in number as can be."""
        first, beyond = (-(-rank * len(rows) // self.count) for rank in (self.rank, self.rank + 1))
        return rows[first:beyond]

    def lists(self, mine: Iterable[T]) -> list[list[T]]:
        """Return what each process has, in their order."""
        if self.count == 1:
            return [list(mine)]
        from accelerate.utils import gather_object

        everyones: list[list[T]] = gather_object([list(mine)])
        return everyones

    def tokens(self, mine_N: torch.Tensor) -> torch.Tensor:
        """Return a number of each token [N] of all processes, in the order of their rows."""
        if self.count == 1:
            return mine_N
        everyones = chain.from_iterable(self.lists([mine_N.cpu()]))
        return torch.cat([each_N.to(mine_N.device) for each_N in everyones])

    def total(self, mine: float) -> float:
        """Return the sum of a number over the processes."""
        return sum(chain.from_iterable(self.lists([mine])))

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every process the sum of all processes' gradients."""
        if self.count == 1:
            return
        from accelerate.utils import reduce

        for parameter in parameters:
            mine = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            parameter.grad = reduce(mine, "sum")

    def of_first(self, make: Callable[[], T]) -> T:
        """Return what the first process makes; the others make nothing."""
        if self.count == 1:
            return make()
        from accelerate.utils import broadcast_object_list

        made: list[T] = broadcast_object_list([make() if self.is_first else None])
        return made[0]

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.count > 1:
            self.lists([])

    def leave(self) -> None:
        """End the connection to the others, when all have come here."""
        from accelerate import PartialState

        self.wait()
        PartialState().destroy_process_group()


ALONE = ProcessGroup()
