"""Peak memory of a run on a processor, and energy where NVML tells."""

import sys
from types import SimpleNamespace

import pytest

from draftmark.engines._meters import MachineMeter, nvml_energy_j

SIZE = 200_000_000


def test_the_peak_is_of_the_run_alone() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux lets a process reset its peak of resident memory")
    meter = MachineMeter("cpu")
    meter.start()
    held = bytearray(SIZE)
    held[::4096] = b"x" * len(held[::4096])
    del held
    high, energy = meter.stop()
    meter.start()
    low, _ = meter.stop()
    assert high is not None
    assert low is not None
    assert high - low > 0.8 * SIZE
    assert energy is None


def test_energy_is_the_sum_of_the_counters_in_joules(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of NVIDIA's binding, where there is no card."""
    counters = {"GPU-a": 1500, "GPU-b": 500}
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=counters.__getitem__,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert nvml_energy_j(["a", "b"]) == 2.0

    def unsupported(handle: str) -> int:
        raise nvml.NVMLError("Not Supported")

    nvml.nvmlDeviceGetTotalEnergyConsumption = unsupported
    assert nvml_energy_j(["a"]) is None


def test_without_the_binding_there_is_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml_energy_j(["a"]) is None
