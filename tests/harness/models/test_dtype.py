"""dtype = "auto": bfloat16 where the hardware computes in bfloat16, else float32."""

from pathlib import Path

import pytest

from draftmark.models.dtype import CPUINFO, cpu_computes_bfloat16, resolve_dtype
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.progress import Progress

AVX2 = "fpu sse2 avx avx2 fma"


@pytest.mark.parametrize(
    ("flags", "native"),
    [(AVX2, False), (f"{AVX2} avx512f", False), (f"{AVX2} avx512_bf16", True), ("amx_bf16", True)],
)
def test_the_flags_of_an_x86_processor_decide(tmp_path: Path, flags: str, native: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: x\nflags\t\t: {flags}\n", encoding="utf-8")

    assert cpu_computes_bfloat16(cpuinfo) is native


def test_without_flags_a_timing_decides(tmp_path: Path) -> None:
    assert cpu_computes_bfloat16(tmp_path / "missing") in (True, False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_named_dtype_is_kept(dtype: str) -> None:
    assert resolve_dtype(dtype) == dtype


def test_no_stage_of_the_demo_computes_in_an_emulated_dtype() -> None:
    plan = plan_experiment(load_recipe("quickstart"), Progress(quiet=True))

    dtypes = {
        node.settings["dtype"]
        for node in plan.nodes
        if node.stage == "draft" and "dtype" in node.settings
    }
    assert dtypes == {resolve_dtype("auto")}
    if not cpu_computes_bfloat16(CPUINFO):
        assert dtypes == {"float32"} or resolve_dtype("auto") == "bfloat16"  # by a GPU


def test_results_record_the_resolved_dtype_which_is_part_of_the_key() -> None:
    recipe = load_recipe("quickstart", tasks=["gsm8k"])
    [pair] = recipe.pairs
    assert pair.dtype == "auto"

    plans = {
        dtype: plan_experiment(
            recipe.model_copy(update={"pairs": (pair.model_copy(update={"dtype": dtype}),)}),
            Progress(quiet=True),
        )
        for dtype in ("auto", "float32", "bfloat16")
    }

    assert plans["auto"].recipe.pairs[0].dtype == resolve_dtype("auto")
    assert plans["auto"].key == plans[resolve_dtype("auto")].key
    assert plans["float32"].key != plans["bfloat16"].key
