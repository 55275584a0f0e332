"""vLLM from end to end: drafts of the quickstart, served beside their target alone."""

from importlib.util import find_spec

from tests.gpu.recipes import BFLOAT16, changed_quickstart, run_recipe
from tests.gpu.step import options, print_table, skip

VLLM = {"blocks = 5": 'engine = "vllm"\nblocks = 3'}


def main() -> None:
    """Run it on one task, and print the speeds."""
    chosen = options(__doc__)
    if find_spec("vllm") is None:
        skip("vLLM is not installed: make vllm")
    if chosen.small:
        skip("vLLM takes too long to start for a small run")
    file = changed_quickstart(chosen.out, "served", {**VLLM, **BFLOAT16}, small=False)
    results = run_recipe(file, "--tasks", "gsm8k")
    names = ("speedup", "identical", "counted_passes")
    print_table(
        [
            {"method": row.cell.method, **{name: row.numbers[name].value for name in names}}
            for row in results.results
        ]
    )


if __name__ == "__main__":
    main()
