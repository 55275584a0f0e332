"""Tokens a second in writing, reading and training, and their share of the roofline."""

from pathlib import Path
from typing import Any

from draftmark import environment
from draftmark.pipeline.planning.estimates import GPUS
from tests.bench import rates
from tests.gpu.models import save_random_model
from tests.gpu.step import options, print_table

# Random models of these sizes, and the dtypes that each is measured in.
MODELS = {
    "smollm2-135m-instruct": ("float32", "bfloat16"),
    "smollm2-1.7b-instruct": ("bfloat16",),
}
ROWS, BATCH, TOKENS = 64, 16, 64
NOTE = (
    "Random models of published sizes. The roofline is the longer of two times: that of the plan's "
    "FLOPs at the speed of large products here, and that of reading the weights for every token "
    "written at the speed of a copy."
)


def main() -> None:
    """Measure, and print a row for each kind of work."""
    chosen = options(__doc__)
    rows: list[dict[str, Any]] = []
    for name, dtypes in MODELS.items() if not chosen.small else list(MODELS.items())[:1]:
        folder = save_random_model(name, chosen.out / "models" / name, small=chosen.small)
        for dtype in dtypes:
            rows += _rows(name, rates.report(_asked(folder, dtype, small=chosen.small)))
    print_table(rows, NOTE)


def _asked(folder: Path, dtype: str, *, small: bool) -> Any:
    rows, tokens, layers = (4, 4, ("0",)) if small else (ROWS, TOKENS, ("0", "1", "2", "3"))
    words = ["--model", str(folder), "--dtype", dtype, "--layers", *layers, "--rows", str(rows)]
    words += ["--rows-per-batch", str(min(rows, BATCH)), "--max-new-tokens", str(tokens)]
    return rates.options().parse_args(words)


def _rows(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    sheet = _data_sheet(found["dtype"])
    return [
        {
            "model": name,
            "dtype": found["dtype"],
            "work": work,
            "tokens/s": one["tokens"] / one["seconds"],
            "TFLOP/s": one["flops"] / one["seconds"] / 1e12,
            "of the roofline": one["share"],
            **({"of the data sheet": one["flops"] / one["seconds"] / sheet} if sheet else {}),
        }
        for work, one in found["works"].items()
    ]


def _data_sheet(dtype: str) -> float | None:
    """Return the FLOP/s of this machine's GPU by its data sheet, if the plan knows it."""
    names = " ".join(environment.machine_facts()["accelerators"]).lower()
    return next((gpu.flops[dtype] for name, gpu in GPUS.items() if name in names), None)


if __name__ == "__main__":
    main()
