"""Run the benches: each gets a share of the time, and its ratios are printed and written as JSON.

python -m tests.bench                                      all of them, in 15 minutes
python -m tests.bench --minutes 3 scoring --prompts 8      one of them, with options of its own
"""

import argparse
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter
from traceback import print_exc
from typing import Any

from tests.bench.frame import Comparison, Measured, measure
from tests.bench.results import as_json, run_facts, table

# The minutes of each bench, of 15 in all; what one leaves goes to those after it. A bench is a
# module here with a function `comparisons`.
MINUTES = {"starting": 1, "scoring": 2, "decoding": 2, "training": 6, "sizes": 4}


def main() -> None:
    """Measure, print and write; exit with 1 if a comparison failed."""
    told, words = options().parse_known_args()
    if words and not told.bench:
        options().error(f"{' '.join(words)}: options of a bench come after its name")
    benches = {told.bench: MINUTES[told.bench]} if told.bench else dict(MINUTES)
    results = {**run_facts(), "comparisons": []}
    file = told.out / f"{results['date'][:19].replace(':', '')}-{str(results['commit'])[:8]}.json"
    deadline = perf_counter() + 60 * (told.minutes or sum(benches.values()))
    ok = True
    while benches:
        bench, minutes = next(iter(benches.items()))
        seconds = (deadline - perf_counter()) * minutes / sum(benches.values())
        found = import_module(f"tests.bench.{bench}").comparisons(words)
        ok &= run(bench, found, seconds, results, file)
        del benches[bench]
    if results["comparisons"]:
        print(f"Written: {file}")
    raise SystemExit(not ok)


def options() -> argparse.ArgumentParser:
    """Return what can be chosen for all benches."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--minutes", type=float, help="in all; by default 15, or the bench's own")
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("bench", nargs="?", choices=MINUTES)
    return parser


def run(
    bench: str, found: Sequence[Comparison], seconds: float, results: dict[str, Any], file: Path
) -> bool:
    """Measure the comparisons of a bench one after another; True if all of them ran.

    Each gets an equal part of the time that is left. Results are written after each, so that a
    later failure loses none.
    """
    deadline, done = perf_counter() + seconds, list[Measured]()
    for number, comparison in enumerate(found):
        share = (deadline - perf_counter()) / (len(found) - number)
        try:
            done.append(measure(comparison, share, say=lambda line: print(line, flush=True)))
        except Exception:
            print_exc()
            continue
        results["comparisons"].append(as_json(bench, done[-1]))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"\n{table(done)}\n", flush=True)
    return len(done) == len(found)


if __name__ == "__main__":
    main()
