"""Peak memory and energy of a run, where the machine reports them.

On CUDA, memory is what torch allocated in this process for the arm. Elsewhere it is the resident
memory of this process and its children with both arms loaded, because freed memory is reused and
cannot be split between arms; Linux lets a process reset its peak. Energy is the accelerators', from
NVML's counters, if nvidia-ml-py is installed (the extra `energy`).
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")
_RESET_PEAK = "5"  # man 5 proc, clear_refs: resets the peak of resident memory


class MachineMeter:
    """Measures the runs of one arm, whose engine is loaded by `measure_load`."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self._weights = self._before = 0
        self._energy_before: float | None = None

    def measure_load(self, load: Callable[[], T]) -> T:
        """Return the result of `load`, whose memory counts as the arm's weights."""
        before = self._used()
        loaded = load()
        self._weights = max(self._used() - before, 0)
        return loaded

    def start(self) -> None:
        """Begin a run."""
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            for process in _processes():
                with suppress(OSError):
                    Path(f"/proc/{process.pid}/clear_refs").write_text(_RESET_PEAK)
        self._before, self._energy_before = self._used(), _energy_j(self._cuda)

    def stop(self) -> tuple[int | None, float | None]:
        """Return the run's peak memory in bytes and its energy in joules, None if unknown."""
        after = _energy_j(self._cuda)
        spent = None
        if after is not None and self._energy_before is not None:
            spent = after - self._energy_before
        return self._peak(), spent

    def _used(self) -> int:
        if not self._cuda:
            return 0
        import torch

        return int(torch.cuda.memory_allocated())

    def _peak(self) -> int | None:
        if not self._cuda:
            peaks = [_high_water(process.pid) for process in _processes()]
            return sum(peaks) if all(peaks) else None
        if not self._weights:
            return None  # torch here cannot see an engine in another process
        import torch

        return self._weights + max(int(torch.cuda.max_memory_allocated()) - self._before, 0)


def _processes() -> Iterator[psutil.Process]:
    """Yield this process and its descendants."""
    own = psutil.Process()
    yield own
    with suppress(psutil.Error):
        yield from own.children(recursive=True)


def _high_water(pid: int) -> int:
    """Return a process's peak of resident memory in bytes, 0 if unknown."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _energy_j(cuda: bool) -> float | None:
    """Return the joules that this process's accelerators used since their driver was loaded."""
    if not cuda:
        return None
    import torch

    torch.cuda.synchronize()
    uuids = [
        str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())
    ]
    return nvml_energy_j(uuids)


def nvml_energy_j(uuids: list[str]) -> float | None:
    """Return the sum of the accelerators' energy counters in joules; None if NVML has none."""
    try:
        import pynvml
    except ImportError:
        return None
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}") for uuid in uuids]
        return sum(float(nvml.nvmlDeviceGetTotalEnergyConsumption(one)) for one in handles) / 1e3
    except nvml.NVMLError:  # an older card, or a slice of a card
        return None
