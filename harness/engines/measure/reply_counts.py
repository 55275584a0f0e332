"""The counts of drafts in a server's reply, by each server's own names.

- vLLM 0.32 with `--per-request-spec-decode-metrics summary` or `detailed` (experimental there):
  `metrics.speculative_decoding` of a reply, in a stream of its last event
  (v1/metrics/stats.py, `RequestSpecDecodeMetrics`). A pass without a draft is not among its steps.
- SGLang: `meta_info` of a choice that was asked for with `return_meta_info`, never in a stream
  (srt/entrypoints/openai/protocol.py; the names changed in 2026, so there are two of some).
- llama.cpp: `timings.draft_n` and `timings.draft_n_accepted`, which are left out where nothing was
  drafted (tools/server/server-task.cpp, `result_timings`). It does not count passes.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from draftmark.store.served_records import RequestCounts

Count = Annotated[int, Field(ge=0, le=2**53)]


class _Part(BaseModel):
    """A part of a reply; fields that draftmark does not read are ignored."""

    model_config = ConfigDict(strict=True)


class _VllmCounts(_Part):
    num_spec_steps: Count
    num_accepted_draft_tokens: Count
    num_draft_tokens: Count | None = None
    num_spec_tokens: Count | None = None
    acceptance_histogram: list[Count]


class VllmMetrics(_Part):
    """vLLM's `metrics` of a reply."""

    speculative_decoding: _VllmCounts | None = None

    def counts(self) -> RequestCounts | None:
        """Return the counts; None if the server runs without the flag, or without a draft."""
        found = self.speculative_decoding
        if found is None:
            return None
        block = found.num_spec_tokens
        return RequestCounts(
            accepted=found.num_accepted_draft_tokens,
            drafted=found.num_draft_tokens,
            drafts=found.num_spec_steps,
            by_accepted=tuple(found.acceptance_histogram),
            block=len(found.acceptance_histogram) - 1 if block is None else block,
        )


class LlamaTimings(_Part):
    """llama.cpp's `timings` of a reply, or of what has arrived of it."""

    predicted_n: Count | None = None
    draft_n: Count | None = None
    draft_n_accepted: Count | None = None

    def counts(self) -> RequestCounts | None:
        """Return the counts; None if nothing was drafted."""
        if self.draft_n is None or self.draft_n_accepted is None:
            return None
        return RequestCounts(accepted=self.draft_n_accepted, drafted=self.draft_n)


class SglangMeta(_Part):
    """SGLang's `meta_info` of a choice."""

    spec_verify_ct: Count | None = None
    spec_num_correct_drafts: Count | None = None
    spec_accept_token_num: Count | None = None
    spec_num_proposed_drafts: Count | None = None
    spec_draft_token_num: Count | None = None
    spec_correct_drafts_histogram: list[Count] | None = None
    spec_accept_histogram: list[Count] | None = None

    def counts(self, block: int | None) -> RequestCounts | None:
        """Return the counts; None if the server does not speculate.

        `block` is the server's number of drafted tokens in a row, None for a tree or if unknown.
        """
        by_accepted = self.spec_correct_drafts_histogram or self.spec_accept_histogram
        accepted = _first(self.spec_num_correct_drafts, self.spec_accept_token_num)
        if accepted is None and by_accepted is not None:
            accepted = sum(number * count for number, count in enumerate(by_accepted))
        if self.spec_verify_ct is None or accepted is None:
            return None
        return RequestCounts(
            accepted=accepted,
            drafted=_first(self.spec_num_proposed_drafts, self.spec_draft_token_num),
            drafts=self.spec_verify_ct,
            by_accepted=None if by_accepted is None else tuple(by_accepted),
            block=block,
        )


class _Content(_Part):
    content: str | None = None


class _MetaChoice(_Part):
    message: _Content = _Content()
    meta_info: SglangMeta | None = None


class _MetaUsage(_Part):
    completion_tokens: Count


class SglangReply(_Part):
    """A reply of SGLang that was asked for at once, with `return_meta_info`."""

    choices: Annotated[list[_MetaChoice], Field(min_length=1)]
    usage: _MetaUsage

    @property
    def content(self) -> str:
        """The text of the first choice."""
        return self.choices[0].message.content or ""

    @property
    def meta(self) -> SglangMeta | None:
        """The first choice's `meta_info`."""
        return self.choices[0].meta_info


def sglang_block(settings: Mapping[str, Any]) -> int | None:
    """Return the number of tokens that SGLang drafts in a row; None for a tree, or if unknown."""
    steps, topk = (settings.get(f"speculative_{name}") for name in ("num_steps", "eagle_topk"))
    return steps if isinstance(steps, int) and topk in (None, 1) else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
