"""A real vLLM server on the CPU, for tests: a tiny target with a draft."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STARTS_S = 180  # an idle machine needs about 30
_LOG_CHARACTERS = 3000


@contextmanager
def serve(python: str, target: Path, speculation: Mapping[str, Any], log: Path) -> Iterator[str]:
    """Serve by a Python that has imported vLLM while the block runs; yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [
        *("-m", "vllm.entrypoints.openai.api_server", "--model", str(target)),
        *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", "first", "second"),
        *("--dtype", "float32", "--max-model-len", "512", "--max-num-seqs", "4"),
        *("--kv-cache-memory-bytes", str(2**26), "--enforce-eager", "--no-async-scheduling"),
        *("--no-enable-prefix-caching", "--generation-config", "vllm"),
        *("--speculative-config", json.dumps(speculation)),
        *("--per-request-spec-decode-metrics", "summary"),
    ]
    variables = {
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_WORKER_MULTIPROCESSING_METHOD": "fork",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [python, *arguments],
            env={**os.environ, **variables},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a URL answers; raise RuntimeError with the log's end if the process ends."""
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with suppress(OSError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"vLLM's server does not start: {log.read_text()[-_LOG_CHARACTERS:]}")
