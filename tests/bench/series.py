"""Keep results of `make bench` in reports/bench, and write the series of docs/bench.md from them.

python -m tests.bench.series results/bench/FILE.json
"""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.frame import Ratio

ROOT = Path(__file__).resolve().parents[2]
KEPT, PAGE = ROOT / "reports" / "bench", ROOT / "docs" / "bench.md"
BEGIN, END = "<!-- series -->", "<!-- end of series -->"
MOST_RUNS, MOST_COLUMNS = 20, 4  # of the page; reports/bench keeps all

Run = Mapping[str, Any]  # what a file holds


def kept_runs(folder: Path) -> list[Run]:
    """Return all kept runs, the newest first."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(runs, key=lambda run: str(run["date"]), reverse=True)


def with_series(page: str, runs: Sequence[Run]) -> str:
    """Return a page with the tables between its two marks written anew."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    tables = f"{_runs_table(runs[:MOST_RUNS])}\n\n{_ratios_table(runs[:MOST_COLUMNS])}"
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def _runs_table(runs: Sequence[Run]) -> str:
    lines = [
        "| commit | date | machine | load | flags | Python | torch |",
        "|---|---|---|---:|---|---|---|",
    ]
    for run in runs:
        machine = run["machine"]
        where = f"{machine['processor']}, {machine['cores']} cores"
        facts = (
            _commit(run),
            run["date"][:10],
            where,
            str(run["load"]),
            " ".join(machine["flags"]),
        )
        lines.append(f"| {' | '.join(facts)} | {run['python']} | {run['torch']} |")
    return "\n".join(lines)


def _ratios_table(runs: Sequence[Run]) -> str:
    """Return a row for each ratio and a column for each run; empty where a run lacks the ratio."""
    columns = [_cells(run) for run in runs]
    names = dict.fromkeys(name for cells in columns for name in cells)
    lines = [f"| ratio | {' | '.join(map(_commit, runs))} |", "|---|" + "---:|" * len(runs)]
    for name in names:
        lines.append(f"| {name} | {' | '.join(cells.get(name, '') for cells in columns)} |")
    return "\n".join(lines)


def _cells(run: Run) -> dict[str, str]:
    """Return the ratios of a run by their names."""
    return {
        f"{comparison['name']}: {ratio['quantity']} beside {ratio['other']}": str(Ratio(**ratio))
        for comparison in run["comparisons"]
        for ratio in comparison["ratios"]
    }


def _commit(run: Run) -> str:
    return str(run["commit"] or "unknown")[:8] + (" + changes" if run["dirty"] else "")


def main() -> None:
    """Keep the given files, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="*")
    KEPT.mkdir(exist_ok=True)
    for file in parser.parse_args().files:
        shutil.copy(file, KEPT)
    page = with_series(PAGE.read_text(encoding="utf-8"), kept_runs(KEPT))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
