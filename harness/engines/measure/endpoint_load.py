"""Measures running endpoints under a load of a task's prompts.

A second endpoint, the same server without a draft, gives the speedup: both endpoints decode the
same blocks of prompts in the order A B B A.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from time import perf_counter
from typing import Any

from draftmark.analysis import statistics
from draftmark.data.conversations import with_context
from draftmark.engines.measure.draft_counters import Counters, DraftCounts, count_drafts
from draftmark.engines.measure.endpoint import Endpoint, Reply
from draftmark.engines.measure.timing import ABBA
from draftmark.errors import UserError
from draftmark.progress import Progress, Step
from draftmark.results import Number
from draftmark.store.served_records import RequestCounts, ServedRequest
from draftmark.types import Arm, Example, Turn, conversation_of

DEFINITIONS = {
    "speedup": "time of the endpoint without a draft / time of the one with it, per token; "
    "median over blocks, n = blocks",
    "first_token_s": "seconds from a request to its first text; mean over prompts, each asked "
    "twice",
    "token_s": "seconds for each token after those of the first text, by the server's count of "
    "tokens; pooled",
    "tokens_per_s": "tokens of all requests / seconds of all blocks, at this concurrency",
}


@dataclass(frozen=True)
class Load:
    """The load on an endpoint: concurrent requests, blocks of prompts, and settings of replies."""

    concurrency: int
    blocks: int
    max_tokens: int
    temperature: float

    def options(self) -> dict[str, Any]:
        """Return the fields of a request."""
        return {"max_tokens": self.max_tokens, "temperature": self.temperature}


@dataclass(frozen=True)
class Block:
    """The replies of one endpoint to a block, in the order of its prompts."""

    replies: tuple[Reply, ...]
    wall_s: float
    prompts: tuple[str, ...] = ()  # ids of the examples

    @property
    def s_per_token(self) -> float:
        """Total time / total tokens."""
        return self.wall_s / sum(reply.num_tokens for reply in self.replies)


Blocks = Mapping[Arm, Sequence[Block]]


@dataclass(frozen=True)
class Measurement:
    """The runs of an endpoint and its counters; every block runs twice in a row.

    `counted`: the rise of its counters at /metrics. `untimed`: one more block of replies, where a
    server has counts of a request only in replies that it does not stream. `gauges`: what the
    server says of drafts without counting requests.
    """

    blocks: tuple[Block, ...]
    counted: DraftCounts | None
    untimed: Block | None = None
    gauges: Mapping[str, float] = field(default_factory=dict)
    software: str = ""

    @property
    def replies(self) -> list[Reply]:
        """All replies, block by block."""
        return [reply for block in self.blocks for reply in block.replies]

    @property
    def pairs(self) -> list[tuple[Block, Block]]:
        """The two runs of each block."""
        return list(zip(self.blocks[::2], self.blocks[1::2], strict=True))

    @property
    def by_prompt(self) -> list[tuple[Reply, Reply]]:
        """The two replies to each prompt."""
        return [
            replies
            for one, again in self.pairs
            for replies in zip(one.replies, again.replies, strict=True)
        ]

    def numbers(self) -> dict[str, Number]:
        """Return seconds and tokens per second, with intervals over prompts where they exist."""
        replies, prompts = self.replies, self.by_prompt
        streamed = [[reply for reply in pair if reply.later_tokens] for pair in prompts]
        later = [sum(reply.later_tokens or 0 for reply in pair) for pair in streamed]
        rest = [sum(reply.total_s - reply.first_token_s for reply in pair) for pair in streamed]
        first = [fmean(reply.first_token_s for reply in pair) for pair in prompts]
        found = {"first_token_s": (first, [1] * len(first)), "token_s": (rest, later)}
        numbers = {
            name: statistics.estimate_ratio(top, bottom, DEFINITIONS[name], statistics.POSITIVE)
            for name, (top, bottom) in found.items()
            if sum(bottom)
        }
        rate = sum(r.num_tokens for r in replies) / sum(block.wall_s for block in self.blocks)
        definition = DEFINITIONS["tokens_per_s"]
        return numbers | {"tokens_per_s": Number(rate, None, None, len(replies), definition)}

    def requests(self, arm: Arm, concurrency: int) -> list[ServedRequest]:
        """Return all requests as records; untimed ones are repeat 2 of block 0, without times."""
        timed = [
            _record(reply, name, arm, concurrency, *divmod(number, 2))
            for number, block in enumerate(self.blocks)
            for name, reply in zip(block.prompts, block.replies, strict=True)
        ]
        again = self.untimed
        untimed = [
            replace(_record(reply, name, arm, concurrency, 0, 2), first_token_s=None, total_s=None)
            for name, reply in (zip(again.prompts, again.replies, strict=True) if again else ())
        ]
        return self._with_zero_counts([*timed, *untimed])

    def _with_zero_counts(self, requests: list[ServedRequest]) -> list[ServedRequest]:
        """Return requests with counts of 0 where llama.cpp, which drafts, reports none."""
        if self.software != "llama.cpp" or not any(request.counts for request in requests):
            return requests
        nothing = RequestCounts(accepted=0, drafted=0)
        return [replace(request, counts=request.counts or nothing) for request in requests]


def _record(
    reply: Reply, name: str, arm: Arm, concurrency: int, block: int, repeat: int
) -> ServedRequest:
    return ServedRequest(
        *(arm, concurrency, block, repeat, name, reply.num_tokens, reply.later_tokens),
        *(reply.first_token_s, reply.total_s, reply.finish_reason, reply.counts),
    )


def measure_endpoint(
    endpoints: Mapping[Arm, Endpoint],
    examples: Sequence[Example],
    load: Load,
    progress: Progress,
    keep: Callable[[Blocks], object] = lambda blocks: None,
) -> dict[Arm, Measurement]:
    """Return the measurements of one endpoint ("draft"), or of two.

    Warm-up requests with the shortest and the longest question are neither timed nor counted.
    `keep` is called after each block with the blocks so far. Raises UserError for fewer prompts
    than blocks, and for a server that fails.
    """
    asked = conversations(examples)
    if load.blocks > len(asked):
        raise UserError(f"{load.blocks} blocks need {load.blocks} prompts, not {len(asked)}.")
    order = [arm for arm in ABBA if arm in endpoints]
    by_length = sorted(examples, key=lambda example: len(example.messages[-1]["content"]))
    for endpoint in endpoints.values():
        for example in (by_length[0], by_length[-1]):
            endpoint.complete(example.messages, load.options())
    before = {arm: endpoint.counters() for arm, endpoint in endpoints.items()}
    blocks: dict[Arm, list[Block]] = {arm: [] for arm in endpoints}
    with progress.step("asking", len(order) * len(examples)) as step:
        for start in range(load.blocks):
            for arm in order:
                here = asked[start :: load.blocks]
                blocks[arm].append(_run_block(endpoints[arm], here, load, step))
                keep(blocks)
    return {
        arm: _measurement(endpoint, blocks[arm], before[arm], examples, load)
        for arm, endpoint in endpoints.items()
    }


def _measurement(
    endpoint: Endpoint,
    blocks: Sequence[Block],
    before: Counters | None,
    examples: Sequence[Example],
    load: Load,
) -> Measurement:
    """Return the measurement of an endpoint whose blocks have run, with the counts it has."""
    counted, gauges = count_drafts(before, endpoint.counters()), endpoint.gauges()
    untimed, found = None, conversations(examples)
    if endpoint.counts_untimed:
        replies = [reply for turns in found for reply in _ask(endpoint.counted_reply, turns, load)]
        untimed = Block(tuple(replies), 0.0, _names(found))
    return Measurement(tuple(blocks), counted, untimed, gauges, endpoint.software)


def conversations(examples: Sequence[Example]) -> list[list[Example]]:
    """Return the turns of each conversation; most have one."""
    found: dict[str, list[Example]] = {}
    for example in examples:
        found.setdefault(conversation_of(example.id), []).append(example)
    return list(found.values())


def _names(asked: Sequence[Sequence[Example]]) -> tuple[str, ...]:
    return tuple(example.id for turns in asked for example in turns)


def _ask(
    complete: Callable[[Sequence[Turn], Mapping[str, Any]], Reply],
    turns: Sequence[Example],
    load: Load,
) -> list[Reply]:
    """Return the replies to a conversation: each turn is asked after the replies before it."""
    replies: list[Reply] = []
    answers: dict[str, str] = {}
    for number, turn in enumerate(turns, start=1):
        asked = with_context(turns[:number], answers)[-1]
        replies.append(complete(asked.messages, load.options()))
        answers[turn.id] = replies[-1].text
    return replies


def _run_block(
    endpoint: Endpoint, asked: Sequence[Sequence[Example]], load: Load, step: Step
) -> Block:
    def ask(turns: Sequence[Example]) -> list[Reply]:
        replies = _ask(endpoint.complete, turns, load)
        for _ in turns:
            step.advance()
        return replies

    with ThreadPoolExecutor(load.concurrency) as pool:
        started = perf_counter()
        replies = tuple(reply for turns in pool.map(ask, asked) for reply in turns)
        return Block(replies, perf_counter() - started, _names(asked))


def endpoint_speedup(found: Mapping[Arm, Measurement]) -> Number:
    """Return the speedup of the endpoint with a draft over the one without."""
    times = {
        arm: [one.s_per_token + again.s_per_token for one, again in measured.pairs]
        for arm, measured in found.items()
    }
    ratios = [a / b for a, b in zip(times["target"], times["draft"], strict=True)]
    return statistics.median_ratio(ratios, DEFINITIONS["speedup"])


def count_length_mismatches(found: Mapping[Arm, Measurement]) -> int:
    """Return the number of prompts whose replies, over all runs and arms, differ in length."""
    by_prompt = zip(*(measured.by_prompt for measured in found.values()), strict=True)
    lengths = ({reply.num_tokens for both in arms for reply in both} for arms in by_prompt)
    return sum(len(each) > 1 for each in lengths)


def to_json(
    found: Mapping[Arm, Measurement], endpoints: Mapping[Arm, Endpoint], load: Load
) -> dict[str, Any]:
    """Return facts and numbers as JSON, without keys and without the text of replies."""
    document = blocks_to_json({arm: run.blocks for arm, run in found.items()}, endpoints, load)
    for arm, measured in found.items():
        document[arm] |= {
            "counted": asdict(measured.counted) if measured.counted else None,
            "numbers": {name: asdict(number) for name, number in measured.numbers().items()},
        }
    return document


def blocks_to_json(blocks: Blocks, endpoints: Mapping[Arm, Endpoint], load: Load) -> dict[str, Any]:
    """Return the blocks of a run that may not be finished as JSON, without the text of replies."""
    return {"load": asdict(load)} | {
        arm: {
            "url": endpoints[arm].client.url,
            "model": endpoints[arm].model,
            "blocks": [
                {"wall_s": block.wall_s, "requests": [_facts(reply) for reply in block.replies]}
                for block in each
            ],
        }
        for arm, each in blocks.items()
    }


def _facts(reply: Reply) -> dict[str, Any]:
    return {name: value for name, value in asdict(reply).items() if name != "text"}
