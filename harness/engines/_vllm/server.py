"""The child process of the vLLM engine: it loads vLLM, decodes, and answers in lines of JSON.

It imports nothing of draftmark, and the parent process imports nothing of vLLM. Answers go to the
original standard output; vLLM's own output goes to the log.

`at_once` prompts run together: when one finishes, another is added, and its clock starts. Answers
have the tokens of every pass of the target, and vLLM's own counts of each request's drafts
(`per_request_spec_decode_metrics`, since version 0.32).
"""

import importlib.util
import json
import os
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any


class Server:
    """A vLLM engine that serves only this process."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Load the engine with the arguments of `LLM`."""
        from vllm import LLM

        if transfer := options.get("kv_transfer_config"):
            import_connector(transfer["kv_connector_module_path"])
        self._engine = LLM(**options).llm_engine
        self._fixed = fix_expansion()

    @property
    def _head_rows(self) -> int:
        return int(self._engine.vllm_config.model_config.get_vocab_size())

    def facts(self) -> dict[str, Any]:
        """Return the settings that the engine resolved, and its versions."""
        import torch
        import vllm

        config = self._engine.vllm_config
        scheduler, cache = config.scheduler_config, config.cache_config
        return {
            "versions": {"vllm": vllm.__version__, "torch": torch.__version__},
            "device": config.device_config.device_type,
            "threads": torch.get_num_threads(),
            "compilation": f"{config.compilation_config.mode!r}",
            "cuda_graphs": f"{config.compilation_config.cudagraph_mode!r}",
            "chunked_prefill": scheduler.enable_chunked_prefill,
            "async_scheduling": scheduler.async_scheduling,
            "max_num_batched_tokens": scheduler.max_num_batched_tokens,
            "prefix_caching": cache.enable_prefix_caching,
            "kv_block_tokens": cache.block_size,
            "kv_tokens": cache.block_size * (cache.num_gpu_blocks or 0),
            "mended": self._fixed,
        }

    def decode(
        self,
        prompts: Sequence[Mapping[str, Any]],
        sampling: Mapping[str, Any],
        at_once: int,
        vocab_size: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the result of each prompt, in order; a prompt has `token_ids` and `seed`.

        No token from `vocab_size` on is written: a head may have padding rows.
        """
        if vocab_size is not None and vocab_size < self._head_rows:
            sampling = {**sampling, "allowed_token_ids": list(range(vocab_size))}
        waiting, running = deque(enumerate(prompts)), dict[str, Request]()
        done: dict[str, dict[str, Any]] = {}
        while waiting or running:
            while waiting and len(running) < at_once:
                number, prompt = waiting.popleft()
                running[str(number)] = Request()
                self._add(str(number), prompt, sampling)
            for output in self._engine.step():
                running[output.request_id].record(output)
                if output.finished:
                    done[output.request_id] = running.pop(output.request_id).result(output)
        return [done[str(number)] for number in range(len(prompts))]

    def read(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Return the file of the hidden states of each row of token ids, in order.

        Each row is a prompt with one new token. vLLM saves states in the pass after a row's last.
        """
        from vllm import SamplingParams

        once = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True, detokenize=False)
        for number, row in enumerate(rows):
            self._engine.add_request(str(number), {"prompt_token_ids": row}, once)
        files: dict[str, str] = {}
        while len(files) < len(rows):
            for output in self._engine.step():
                if output.finished:
                    files[output.request_id] = output.kv_transfer_params["hidden_states_path"]
        self._engine.step()
        return [files[str(number)] for number in range(len(rows))]

    def _add(self, name: str, prompt: Mapping[str, Any], sampling: Mapping[str, Any]) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            **sampling, seed=prompt["seed"], output_kind=RequestOutputKind.DELTA
        )
        self._engine.add_request(name, {"prompt_token_ids": prompt["token_ids"]}, params)


class Request:
    """A running prompt: the tokens of each pass, and their times."""

    def __init__(self) -> None:
        """Start the clock."""
        self._started = perf_counter()
        self._passes: list[list[int]] = []
        self._first_s = 0.0

    def record(self, output: Any) -> None:
        """Record the tokens of a pass; the first pass, the prefill, has one."""
        self._first_s = self._first_s or perf_counter() - self._started
        self._passes.append(list(output.outputs[0].token_ids))

    def result(self, output: Any) -> dict[str, Any]:
        """Return the tokens, vLLM's draft counts and the seconds of a finished prompt."""
        drafts = output.outputs[0].spec_decode_metrics
        return {
            "passes": self._passes,
            "drafted": list(drafts.per_step_drafted) if drafts else [],
            "accepted": list(drafts.per_step_accepted) if drafts else [],
            "finish_reason": output.outputs[0].finish_reason,
            "preemptions": output.metrics.num_preemptions,
            "first_token_s": self._first_s,
            "total_s": perf_counter() - self._started,
        }


def import_connector(name: str) -> None:
    """Let vLLM import the connector of this folder by a name, without draftmark."""
    path = Path(__file__).with_name("states_connector.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def fix_expansion() -> list[str]:
    """Replace vLLM's `expand_batch_to_tokens` if it is broken; return the names replaced.

    The function repeats a request's temperature for its drafted tokens. On a CPU, vLLM 0.32 writes
    to a copy and returns uninitialised memory, so above temperature 0 drafts are verified at a
    random temperature, and even the target as its own draft is rejected.
    """
    import torch
    from vllm.v1.sample import rejection_sampler

    expand = rejection_sampler.expand_batch_to_tokens
    ends, values = torch.tensor([1, 3], dtype=torch.int32), torch.tensor([0.5, 2.0])
    if torch.cuda.is_available() or expand(values, ends, 3).tolist() == [0.5, 2.0, 2.0]:
        return []
    rejection_sampler.expand_batch_to_tokens = _expand
    return ["vllm.v1.sample.rejection_sampler.expand_batch_to_tokens"]


def _expand(values: Any, ends: Any, size: int, replace_from: int = 0, replace_to: int = 0) -> Any:
    """Return each request's value repeated for its tokens, which end at `ends` (cumulative)."""
    import torch

    counts = torch.diff(ends, prepend=ends.new_zeros(1)).to(torch.int64)
    replaced = torch.where(values == replace_from, replace_to, values).to(values.dtype)
    return replaced.repeat_interleave(counts, output_size=size)


def _listen(lines: "queue.SimpleQueue[str]") -> None:
    """Queue the questions; when their pipe closes, exit at once, even during a pass."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def main() -> None:
    """Answer questions until their pipe closes."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    server: Server | None = None
    while True:
        question = json.loads(lines.get())
        try:
            if server is None:
                server = Server(question)
                answer: dict[str, Any] = {"answer": server.facts()}
            else:
                work = server.read if "rows" in question else server.decode
                answer = {"answer": work(**question)}
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
