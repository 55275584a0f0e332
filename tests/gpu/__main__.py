"""Run on a GPU what no machine without one can show, in 20 minutes: `make gpu`.

Steps follow one another, each in a process of its own with a limit of time. One that fails stops
none of the others. The report, Markdown and JSON, is written after every step, to be published.

python -m tests.gpu                          all steps, on CUDA
python -m tests.gpu --device cpu --small     the same program on a processor: does each step run?
python -m tests.gpu memory rates             some of the steps
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.bench.results import run_facts
from tests.gpu.report import write_report
from tests.gpu.steps import STEPS, Done, Step, run_step

MINUTES = 20


def main(words: Sequence[str] | None = None) -> int:
    """Run the steps; return 0 if all passed or were skipped, 1 otherwise."""
    chosen = parser().parse_args(words)
    known = [step.name for step in STEPS]
    if unknown := [name for name in chosen.steps if name not in known]:
        parser().error(f"{unknown[0]!r} is not a step; the steps are {', '.join(known)}")
    if reason := lacks_device(chosen.device):
        print(reason)
        return 1
    facts = {**run_facts(), "device": chosen.device, "small": chosen.small}
    out = chosen.out / f"{facts['date'][:19].replace(':', '')}-{str(facts['commit'])[:8]}"
    out.mkdir(parents=True)
    steps = [step for step in STEPS if step.name in (chosen.steps or known)]
    done = run_all(steps, chosen, out, facts)
    print(f"Written: {out / 'report.md'}\nWritten: {out / 'report.json'}")
    return int(any(one.status in ("failed", "out of time") for one in done))


def lacks_device(device: str) -> str:
    """Return why there is nothing to run on, in a sentence, or an empty text."""
    import torch

    if device == "cpu" or torch.cuda.is_available():
        return ""
    build = f"torch {torch.__version__} is a build without CUDA"
    if torch.version.cuda:
        build = f"torch {torch.__version__} finds no CUDA device"
    return f"make gpu needs an NVIDIA GPU, and {build}; nothing was run."


def run_all(
    steps: Sequence[Step], chosen: argparse.Namespace, out: Path, facts: dict[str, Any]
) -> list[Done]:
    """Run steps one after the other; each may use what those before it left of their minutes."""
    done: list[Done] = []
    started, spent = perf_counter(), 0.0
    scale = 60 * chosen.minutes / sum(step.minutes for step in STEPS)
    for number, step in enumerate(steps):
        write_report(out, facts, done, steps[number:])
        spent += step.minutes * scale
        seconds = spent - (perf_counter() - started)
        print(f"{step.title} ({seconds:.0f} s at most) ...", flush=True)
        done.append(run_step(step, chosen.device, out, small=chosen.small, seconds=seconds))
        first = done[-1].reason.partition("\n")[0]
        print(f"  {done[-1].status} in {done[-1].seconds:.0f} s. {first}".rstrip(), flush=True)
    write_report(out, facts, done, [])
    return done


def parser() -> argparse.ArgumentParser:
    """Return what can be chosen."""
    made = argparse.ArgumentParser(
        prog="python -m tests.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--minutes", type=float, default=MINUTES, help="of all steps together")
    made.add_argument("--out", type=Path, default=Path("results/gpu"))
    made.add_argument("--small", action="store_true", help="as little work as shows that it runs")
    made.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(s.name for s in STEPS))
    return made


if __name__ == "__main__":
    raise SystemExit(main())
