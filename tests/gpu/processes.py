"""A draft trained in several processes, each on a GPU of its own, beside one trained in one."""

import torch

from draftmark.analysis.quantities import quantity_key
from draftmark.results import Result
from tests.gpu.recipes import KD_ALONE, changed_quickstart, run_recipe
from tests.gpu.step import options, print_table, skip

MOST = 4
BLOCKS = {False: {"blocks = 5\n": ""}, True: {"blocks = 2\n": ""}}  # of the speeds left out


def main() -> None:
    """Run both, and print the acceptance and the seconds of training."""
    chosen = options(__doc__)
    count = min(MOST, torch.cuda.device_count()) if chosen.device == "cuda" else 2
    if count < 2:
        skip("this machine has one GPU; each process needs one of its own")
    rows = []
    for processes in (1, count):
        shared = {"rows_per_batch = 8": f"rows_per_batch = 8\nprocesses = {processes}"}
        changes = {**KD_ALONE, **BLOCKS[chosen.small], **shared}
        name = f"processes-{processes}"
        file = changed_quickstart(chosen.out, name, changes, small=chosen.small)
        [trained] = run_recipe(file, "--tasks", "gsm8k").results
        rows.append({"processes": processes, **_facts(trained)})
    print_table(rows, "The drafts are equal up to rounding; so are their tokens per pass.")


def _facts(row: Result) -> dict[str, float]:
    assert row.ledger is not None
    key = quantity_key("block_efficiency", 1.0, 4)
    return {
        "tokens per pass, T=1": row.numbers[key].value,
        "seconds of training": row.ledger.train_s,
    }


if __name__ == "__main__":
    main()
