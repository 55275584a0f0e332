"""What a plan takes a GPU to do: the peak rates of data sheets, and the share that is reached."""

from dataclasses import dataclass

from draftmark.errors import unknown

# Large trainings reach 0.3 to 0.5 of the peak (PaLM 0.46: Chowdhery et al. 2022, arXiv 2204.02311,
# table 3); small models in small batches reach less.
UTILISATION = 0.3


@dataclass(frozen=True)
class Gpu:
    """One accelerator: FLOP/s of matrix products by number format (dense), bytes, bytes/s."""

    name: str
    flops: dict[str, float]
    memory_bytes: float
    bandwidth: float


# NVIDIA's data sheets of the SXM and PCIe modules, without sparsity; float32 without TF32, as torch
# computes unless told otherwise.
GPUS = {
    "h100": Gpu("H100 SXM 80 GB", {"bfloat16": 989e12, "float32": 67e12}, 80e9, 3.35e12),
    "h200": Gpu("H200 SXM 141 GB", {"bfloat16": 989e12, "float32": 67e12}, 141e9, 4.8e12),
    "a100": Gpu("A100 SXM 80 GB", {"bfloat16": 312e12, "float32": 19.5e12}, 80e9, 2.04e12),
    "l40s": Gpu("L40S 48 GB", {"bfloat16": 362e12, "float32": 91.6e12}, 48e9, 0.864e12),
}


@dataclass(frozen=True)
class Machine:
    """A GPU and the share of its peak that matrix products are taken to reach."""

    gpu: Gpu
    utilisation: float = UTILISATION

    def compute_s(self, flops: float, dtype: str) -> float:
        """Return the seconds of so many FLOPs."""
        rates = self.gpu.flops
        return flops / (rates.get(dtype, rates["bfloat16"]) * self.utilisation)

    def pass_s(self, num_bytes: float, flops: float, dtype: str) -> float:
        """Return the seconds of a decoding pass: bound by memory, or by its FLOPs if those last."""
        return max(num_bytes / self.gpu.bandwidth, self.compute_s(flops, dtype))


def machine(name: str, utilisation: float) -> Machine:
    """Return a machine by the name of its GPU; raises UserError with the known names."""
    if name not in GPUS:
        raise unknown("GPU", name, GPUS)
    return Machine(GPUS[name], utilisation)
