"""The dtype that training computes in where a pair says `dtype = "auto"`.

bfloat16 where the hardware computes in bfloat16: a GPU of compute capability 8.0 or later, a
processor with AVX512-BF16 or AMX. float32 elsewhere: other processors emulate bfloat16, which took
6.6 times as long (32 steps of kd on gsm8k, two AVX2 cores: 35.6 s and 5.4 s).
"""

import time
from functools import cache
from pathlib import Path

from draftmark import environment

CPUINFO = Path("/proc/cpuinfo")
_NATIVE = {"avx512_bf16", "amx_bf16"}
_PAYS_BELOW = 0.8  # of float32's time for one matrix product
_SIDE, _REPEATS = 512, 5


def resolve_dtype(dtype: str) -> str:
    """Return "float32" or "bfloat16" for a pair's dtype; "auto" is settled by the hardware."""
    return _fastest_dtype() if dtype == "auto" else dtype


@cache
def _fastest_dtype() -> str:
    return "bfloat16" if _gpu_computes_bfloat16() or cpu_computes_bfloat16(CPUINFO) else "float32"


def _gpu_computes_bfloat16() -> bool:
    """True if models are held on a GPU that computes in bfloat16. Loads torch if there is a GPU."""
    if not environment.machine_facts()["accelerators"]:
        return False
    import torch

    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_computes_bfloat16(cpuinfo: Path) -> bool:
    """True if the processor computes in bfloat16: by its flags on x86 Linux, else by a timing.

    The timing loads torch; the flags do not.
    """
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    for line in text.splitlines():
        if line.startswith("flags"):  # x86; ARM has "Features", whose bf16 says little of speed
            return bool(_NATIVE & set(line.partition(":")[2].split()))
    return _product_seconds("bfloat16") < _PAYS_BELOW * _product_seconds("float32")


def _product_seconds(dtype: str) -> float:
    """Return the shortest time of a few products of two square matrices."""
    import torch

    matrix = torch.ones(_SIDE, _SIDE, dtype=getattr(torch, dtype))
    seconds = []
    for _ in range(_REPEATS + 1):  # the first one sets up kernels
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
