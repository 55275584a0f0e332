"""The quickstart in bfloat16: training, scoring and decoding of five tasks."""

from draftmark.analysis.quantities import quantity_key
from tests.gpu.recipes import BFLOAT16, changed_quickstart, run_recipe
from tests.gpu.step import options, print_table


def main() -> None:
    """Run it, and print acceptance and speed of every cell."""
    chosen = options(__doc__)
    file = changed_quickstart(chosen.out, "demo", BFLOAT16, small=chosen.small)
    results = run_recipe(file, *(["--tasks", "gsm8k"] if chosen.small else []))
    key = quantity_key("block_efficiency", 0.0, 4)
    print_table(
        [
            {
                "task": row.cell.task,
                "method": row.cell.method,
                "tokens per pass, T=0": row.numbers[key].value,
                "speedup": row.numbers["speedup"].value,
            }
            for row in results.results
        ]
    )


if __name__ == "__main__":
    main()
