"""Install locked packages into this Python's environment, with a line of progress now and then.

    python tools/install.py LOCK...

Locks are complete, so nothing is resolved. With requirements.lock come torch, in the build for this
machine, and draftmark itself, editable. The variable UV names uv; without it, pip installs.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parent.parent
BASE, CUDA = "requirements.lock", "requirements-cuda.lock"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
SILENCE_S = 5.0  # at most so long without a line
LAST_LINES = 15  # of an installer that failed
STEPS = ("Collecting", "Downloading", "Processing", "Building", "Resolved", "Prepared")
OWN_CODE = ("harness", "tasks", "baselines", "reports")
# What a run imports. It is compiled once here: pip would compile all modules of all packages, five
# times as many, and a Python that may not write bytecode would compile these in every process.
IMPORTS = """
import accelerate, pandas, platformdirs, pyarrow.parquet, scipy.stats
import torch._dynamo, torch.profiler, typer.main
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
"""


def main(locks: Sequence[str]) -> int:
    """Install the locks; return the exit code of what failed, or 0."""
    steps = [lambda: install("packages", *(word for lock in locks for word in ("-r", lock)))]
    if BASE in locks:
        own = ("--no-build-isolation", "--editable", ".")
        steps = [install_torch, *steps, lambda: install("draftmark", *own), compile_imports]
    return next((code for code in (step() for step in steps) if code), 0)


def install_torch() -> int:
    """Install torch from the first source that has it."""
    [version] = re.findall(r"^torch==([\d.]+)", (ROOT / BASE).read_text("utf-8"), re.MULTILINE)
    *sources, usual = torch_sources(version)
    for source in sources:
        if install("torch", *source, is_last=False) == 0:
            return 0
    if sources:
        print(f"{CPU_BUILDS} has no torch {version} for this machine, or cannot be reached.")
        print("Taking torch's usual build, with 3 GB of CUDA libraries.", flush=True)
    return install("torch", *usual)


def torch_sources(version: str) -> Iterator[list[str]]:
    """Yield where to take torch from, as options of the installer.

    Its CPU build, at hand or from PyTorch's own index, spares a Linux machine without an NVIDIA GPU
    the CUDA libraries. `===`: with a GPU, not a CPU build that lies at hand.
    """
    if sys.platform == "linux" and not shutil.which("nvidia-smi"):
        yield ["--no-index", f"torch=={version}+cpu"]
        yield ["--index-url", CPU_BUILDS, f"torch=={version}+cpu"]
    yield [f"torch==={version}", "-r", CUDA]


def install(name: str, *words: str, is_last: bool = True) -> int:
    """Install packages without what they depend on; return the exit code.

    The end of the installer's messages is printed if it fails and no other source is left.
    """
    before = installed()
    return watched(
        [*installer(), "--no-deps", *words],
        lambda lines: f"{name}: {progress(lines, installed() - before)}",
        # A slow index gets time, unless the environment says how much.
        {"PIP_DEFAULT_TIMEOUT": "60", "UV_HTTP_TIMEOUT": "60", **os.environ},
        is_shown=is_last,
    )


def installer() -> list[str]:
    """Return the command that installs: uv's if there is uv, else pip's."""
    if uv := os.environ.get("UV"):
        at_hand = os.environ.get("PIP_FIND_LINKS", "").split()
        links = [word for link in at_hand for word in ("--find-links", link)]
        return [uv, "pip", "install", "--python", sys.executable, *links]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    return [*pip, "--no-compile", "--progress-bar", "off"]


def watched(
    command: Sequence[str],
    describe: Callable[[list[str]], str],
    environment: Mapping[str, str],
    is_shown: bool = True,
) -> int:
    """Run a command; return its exit code. Every few seconds, print a line made of its messages."""
    with tempfile.TemporaryDirectory() as folder:
        log, started = Path(folder, "log"), monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=file,
                stderr=file,
                env={**environment, "PYTHONUNBUFFERED": "1"},
            )
        while process.poll() is None:
            try:
                process.wait(SILENCE_S)
            except subprocess.TimeoutExpired:
                print(f"{monotonic() - started:4.0f} s  {describe(_lines(log))}", flush=True)
        if process.returncode and is_shown:
            print("\n".join(_lines(log)[-LAST_LINES:]), file=sys.stderr)
    return process.returncode


def _lines(log: Path) -> list[str]:
    return log.read_text("utf-8", errors="replace").splitlines()


def installed() -> int:
    """Return how many packages this environment has."""
    return len(list(Path(sysconfig.get_path("purelib")).glob("*.dist-info")))


def progress(lines: Sequence[str], num_installed: int) -> str:
    """Return how far an installer is, from its messages and the packages that are there."""
    for line in lines:
        if line.startswith("Installing collected packages: "):
            total = line.count(",") + 1
            return f"installed {num_installed} of {total}" if total > 1 else "installing"
    steps = [line.strip() for line in lines if line.strip().startswith(STEPS)]
    if not steps:
        return "asking for packages"
    return re.sub(r" \(from .*|(?<=Processing ).*/", "", steps[-1])[:80]


def compile_imports() -> int:
    """Compile draftmark and what a run imports; return the exit code."""
    may_not = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    environment = {name: value for name, value in os.environ.items() if name not in may_not}
    program = f"import compileall\nfor name in {OWN_CODE}: compileall.compile_dir(name, quiet=1)\n"
    command = [sys.executable, "-c", program + IMPORTS]
    return watched(command, lambda _: "compiling what a run imports", environment)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("Interrupted: make sets up the environment again next time.")
