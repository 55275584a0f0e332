"""The tests that touch a device, each with its outcome."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.gpu.step import options, print_table

FEW = "hidden_states or selection"


def main() -> None:
    """Run pytest, print a row for each test, and exit with pytest's code."""
    chosen = options(__doc__)
    junit = chosen.out / "device_tests.xml"
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-n", "0", "-q", "-m", "gpu"]
    command += ["-p", "no:cacheprovider", f"--junitxml={junit}"]
    command += ["-k", FEW] if chosen.small else []
    threads = {} if chosen.device == "cuda" else {"OMP_NUM_THREADS": "1"}
    code = subprocess.run(command, env={**os.environ, **threads}).returncode
    print_table(_outcomes(junit) if junit.exists() else [])
    raise SystemExit(code)


def _outcomes(junit: Path) -> list[dict[str, str | float]]:
    rows: list[dict[str, str | float]] = []
    for case in ET.parse(junit).iter("testcase"):
        bad = [child for child in case if child.tag in ("failure", "error", "skipped")]
        reason = bad[0].get("message", "").partition("\n")[0] if bad else ""
        outcome = bad[0].tag if bad else "passed"
        name, seconds = case.get("name", ""), float(case.get("time", 0))
        rows.append({"test": name, "outcome": outcome, "seconds": seconds, "reason": reason[:120]})
    return rows


if __name__ == "__main__":
    main()
