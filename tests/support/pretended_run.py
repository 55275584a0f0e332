"""Run every method on the pretended device, and print its numbers as JSON: a process of a test.

python pretended_run.py FOLDER            all methods: text, training, scoring
python pretended_run.py FOLDER decoding   a method of each drafter: decoding and verification too
python pretended_run.py FOLDER fault      kd, with a loss whose positions are on the CPU
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from pretended_device import pretended_device
from small_models import save_small_model

from draftmark import registry
from draftmark.models import spread
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import recipe_of
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.store.store import Store
from draftmark.training import divergences

LAYERS = 4
NO_KERNEL = ("domino",)  # torch has no GRU for a device of another's making
TEMPERATURES = (0.0, 1.0)
MORE: tuple[dict[str, Any], ...] = (
    {"name": "distillspec", "label": "on-policy", "training": {"text": "draft"}},
    {"name": "adaspec", "label": "adaspec, past", "reference": "past", "reference_refresh": 1},
    {"name": "lk", "label": "lk, live", "training": {"features": "live"}},
    {"name": "kd", "label": "kd, LoRA", "training": {"lora": {"rank": 2}}},
)
# A method of most ways to draft. Not p_eagle: in inference mode torch refuses an operation of its
# decoding on tensors of a subclass ("Cannot set version_counter").
DRAFTERS = ("kd", "pard", "prompt_lookup", "eagle3", "medusa", "dflash")


def run(folder: Path, entries: list[dict[str, Any]], *, decodes: bool) -> Results:
    """Return the results of methods on a small random target, of two rows a split."""
    target = save_small_model("smollm2-135m-instruct", folder / "target", LAYERS)
    document = {
        "title": "every method",
        "tasks": ["gsm8k"],
        "threads": 1,
        "data": {"sources": ["samples"], "train_rows": 2, "validation_rows": 2, "test_rows": 2},
        "pairs": [
            {"name": "p", "target": target, "draft": {"pruned": [0]}, "dtype": "float32"},
        ],
        "training": {"text": "target", "passes": 1, "validations": 1, "rows_per_batch": 2},
        "methods": entries,
        "evaluation": {"temperatures": TEMPERATURES, "max_new_tokens": 6},
        "speed": {"blocks": 2, "prompts_per_block": 1, "num_speculative_tokens": 2},
    }
    if not decodes:
        document["speed"] = False
    quiet = Progress(quiet=True)
    plan = plan_experiment(recipe_of(document, "every method"), quiet)
    return run_experiment(plan, "every method", Store(folder / "store"), quiet)


def entries_of(kind: str) -> list[dict[str, Any]]:
    """Return the entries of a recipe with all methods, one of each drafter, or kd alone."""
    if kind == "all":
        named = (name for name in registry.registered_names("baselines") if name not in NO_KERNEL)
        return [*({"name": name} for name in named), *MORE]
    return [{"name": name} for name in (DRAFTERS if kind == "decoding" else ("kd",))]


def plant_fault() -> None:
    """Make plain KD read positions that nobody moves to the device."""
    right = divergences.forward_kl

    def wrong(draft_NV: torch.Tensor, target_NV: torch.Tensor, *more: Any) -> torch.Tensor:
        return right(draft_NV, target_NV, *more) * torch.arange(1, len(draft_NV) + 1)

    divergences.forward_kl = wrong


def as_json(results: Results) -> str:
    """Return the failures and numbers of results by method."""
    rows = {
        row.cell.method: {
            "failure": row.failure or next(iter(row.speed_failures.values()), None),
            "numbers": {name: number.value for name, number in row.numbers.items()},
        }
        for row in results.results
    }
    return json.dumps(rows)


def main(folder: Path, kind: str = "all") -> None:
    """Run on the device; warnings are errors, as in tests."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    if kind == "fault":
        plant_fault()
    with pretended_device() as device:
        asked = []
        spread.pick_device = lambda: asked.append(device) or device
        print(as_json(run(folder, entries_of(kind), decodes=kind == "decoding")))
    assert asked, "the run did not ask for its device here, so nothing was tested"


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
