"""Stand-ins for servers with drafts: what their sources write, each with its source named.

Every request has 6 tokens: the first from prefill, then passes that emit accepted + 1 tokens.
"""

from typing import Any

from model_server import MODEL, Server

ROOT = "models/tiny-target"
STEPS = ([2, 1], [0, 0, 2], [0] * 5)  # accepted tokens of each pass, by the number of the request


def models(owner: str, **more: Any) -> dict[str, Any]:
    """Return GET /v1/models with one model."""
    return {"/v1/models": {"data": [{"id": MODEL, "owned_by": owner, "root": ROOT, **more}]}}


def vllm_counts(steps: list[int], block: int = 3) -> dict[str, Any]:
    """Return the fields of vLLM 0.32, v1/metrics/stats.py, `RequestSpecDecodeMetrics.to_dict`."""
    drafted, accepted = block * len(steps), sum(steps)
    counts = {
        "mean_acceptance_length": 1.0 + accepted / len(steps),
        "draft_acceptance_rate": accepted / drafted,
        "acceptance_histogram": [steps.count(number) for number in range(block + 1)],
        "num_spec_steps": len(steps),
        "num_accepted_draft_tokens": accepted,
        "num_draft_tokens": drafted,
        "num_spec_tokens": block,
    }
    return {"metrics": {"speculative_decoding": counts}}


def vllm(**options: Any) -> Server:
    """Return a server like vLLM 0.32 with --per-request-spec-decode-metrics summary."""
    pages = {**models("vllm"), "/version": {"version": "0.32.0"}}
    last = options.pop("last", lambda number: vllm_counts(STEPS[number % 3]))
    return Server(pages=pages, last=last, **options)


def sglang(**options: Any) -> Server:
    """Return a server like SGLang of 2026: `meta_info` with `return_meta_info`, not in streams.

    python/sglang/srt/entrypoints/openai/protocol.py, ChatCompletionResponseChoice; the names of
    srt/managers/tokenizer_manager.py; the gauge of srt/observability/metrics_collector.py.
    """
    info = {
        "speculative_algorithm": "EAGLE3",
        "speculative_num_steps": 3,
        "speculative_eagle_topk": 1,
        "speculative_num_draft_tokens": 4,
        "version": "0.5.9",
        "api_key": "sk-very-secret",
    }
    pages = {**models("sglang"), "/get_server_info": info}
    meta = {
        "completion_tokens": 6,
        "spec_verify_ct": 2,
        "spec_accept_length": 3.0,
        "spec_accept_rate": 0.5,
        "spec_num_correct_drafts": 3,
        "spec_num_proposed_drafts": 6,
        "spec_correct_drafts_histogram": [0, 1, 1],
    }
    return Server(**{"pages": pages, "meta": meta, "has_metrics": False, **options})


def llama_cpp(**options: Any) -> Server:
    """Return a server like llama.cpp: `timings` of tools/server/server-task.cpp, result_timings.

    `draft_n` is left out of a reply without a draft.
    """

    def timings(number: int) -> dict[str, Any]:
        drafts = {"draft_n": 8, "draft_n_accepted": 3} if number % 2 else {}
        return {"timings": {"prompt_n": 9, "predicted_n": 6, "predicted_ms": 4.0, **drafts}}

    pages = {**models("llamacpp"), "/props": {"build_info": "b6000-abc", "model_path": "m.gguf"}}
    return Server(**{"pages": pages, "last": timings, "has_metrics": False, **options})
