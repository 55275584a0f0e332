"""Sends a task's prompts to running endpoints, in blocks, and says what came of it.

With a second endpoint, the same server without a draft, both are timed as two arms: blocks of the
same prompts in the order A B B A, the geometric mean of their ratios of time per token.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import fmean
from time import perf_counter
from typing import Any

from draftmark.analysis import statistics
from draftmark.engines.measure.endpoint import Endpoint, Reply
from draftmark.engines.measure.endpoint_counters import Counted, between
from draftmark.engines.measure.timing import ABBA
from draftmark.errors import UserError
from draftmark.progress import Progress, Step
from draftmark.results import Number
from draftmark.types import Arm, Example

DEFINITIONS = {
    "speedup": "time of the endpoint without a draft / time of the one with it, per token; "
    "geometric mean over blocks, n = blocks",
    "first_token_s": "seconds from a request to its first token; mean over prompts, each asked "
    "twice",
    "token_s": "seconds for each token after a request's first, pooled",
    "tokens_per_s": "tokens of all requests / seconds of all blocks, at this concurrency",
}


@dataclass(frozen=True)
class Load:
    """How an endpoint is asked: so many requests at a time, in so many blocks."""

    concurrency: int
    blocks: int
    max_tokens: int
    temperature: float

    def options(self) -> dict[str, Any]:
        """Return the fields of a request that say so."""
        return {"max_tokens": self.max_tokens, "temperature": self.temperature}


@dataclass(frozen=True)
class Block:
    """A block's requests at one endpoint, in the order of its prompts."""

    replies: tuple[Reply, ...]
    wall_s: float

    @property
    def s_per_token(self) -> float:
        """Return total time / total tokens."""
        return self.wall_s / sum(reply.num_tokens for reply in self.replies)


@dataclass(frozen=True)
class Served:
    """What was measured of an endpoint."""

    blocks: tuple[Block, ...]
    counted: Counted | None

    @property
    def replies(self) -> list[Reply]:
        """All replies, block by block."""
        return [reply for block in self.blocks for reply in block.replies]

    @property
    def by_prompt(self) -> list[tuple[Reply, ...]]:
        """The two replies to each prompt: every block is asked twice, one run after the other."""
        runs = zip(self.blocks[::2], self.blocks[1::2], strict=True)
        return [
            both for one, again in runs for both in zip(one.replies, again.replies, strict=True)
        ]

    def numbers(self) -> dict[str, Number]:
        """Return the times, each with its interval over prompts where there is one."""
        replies, prompts = self.replies, self.by_prompt
        later = [sum(reply.num_tokens - 1 for reply in both) for both in prompts]
        rest = [sum(reply.total_s - reply.first_token_s for reply in both) for both in prompts]
        first = [fmean(reply.first_token_s for reply in both) for both in prompts]
        found = {"first_token_s": statistics.mean(first, DEFINITIONS["first_token_s"])}
        if sum(later):
            found["token_s"] = statistics.ratio(rest, later, DEFINITIONS["token_s"])
        rate = sum(r.num_tokens for r in replies) / sum(block.wall_s for block in self.blocks)
        found["tokens_per_s"] = Number(rate, None, None, len(replies), DEFINITIONS["tokens_per_s"])
        return found


def measure(
    endpoints: Mapping[Arm, Endpoint], examples: Sequence[Example], load: Load, progress: Progress
) -> dict[Arm, Served]:
    """Return what was measured of one endpoint ("draft"), or of two.

    A request for the shortest and the longest question goes to each before, untimed.
    """
    if load.blocks > len(examples):
        raise UserError(f"{load.blocks} blocks need as many prompts, not {len(examples)}.")
    order = [arm for arm in ABBA if arm in endpoints]
    by_length = sorted(examples, key=lambda example: len(example.messages[-1]["content"]))
    for endpoint in endpoints.values():
        for example in (by_length[0], by_length[-1]):
            endpoint.complete(example.messages, load.options())
    before = {arm: endpoint.metrics() for arm, endpoint in endpoints.items()}
    blocks: dict[Arm, list[Block]] = {arm: [] for arm in endpoints}
    with progress.step("asking", len(order) * len(examples)) as step:
        for start in range(load.blocks):
            for arm in order:
                asked = examples[start :: load.blocks]
                blocks[arm].append(_block(endpoints[arm], asked, load, step))
    return {
        arm: Served(tuple(blocks[arm]), between(before[arm], endpoint.metrics()))
        for arm, endpoint in endpoints.items()
    }


def _block(endpoint: Endpoint, examples: Sequence[Example], load: Load, step: Step) -> Block:
    def ask(example: Example) -> Reply:
        reply = endpoint.complete(example.messages, load.options())
        step.advance()
        return reply

    with ThreadPoolExecutor(load.concurrency) as pool:
        started = perf_counter()
        replies = tuple(pool.map(ask, examples))
        return Block(replies, perf_counter() - started)


def speedup(found: Mapping[Arm, Served]) -> Number:
    """Return the speedup of the endpoint with a draft; each arm ran every block twice."""
    pairs = {
        arm: [sum(block.s_per_token for block in served.blocks[i : i + 2]) for i in _firsts(served)]
        for arm, served in found.items()
    }
    ratios = [a / b for a, b in zip(pairs["target"], pairs["draft"], strict=True)]
    value, low, high = statistics.log_ratio_interval(ratios)
    return Number(value, low, high, len(ratios), DEFINITIONS["speedup"])


def _firsts(served: Served) -> range:
    return range(0, len(served.blocks), 2)


def other_lengths(found: Mapping[Arm, Served]) -> int:
    """Return how many prompts have replies of different lengths over all runs of both arms."""
    runs = [
        [[reply.num_tokens for reply in block.replies] for block in served.blocks]
        for served in found.values()
    ]
    blocks = [
        [arm[i] for arm in runs for i in (2 * b, 2 * b + 1)] for b in range(len(runs[0]) // 2)
    ]
    return sum(len(set(prompt)) > 1 for block in blocks for prompt in zip(*block, strict=True))


def document(
    found: Mapping[Arm, Served], endpoints: Mapping[Arm, Endpoint], load: Load
) -> dict[str, Any]:
    """Return facts and numbers as JSON holds them: no key, and no text of replies."""
    told: dict[str, Any] = {"load": asdict(load)}
    for arm, served in found.items():
        told[arm] = {
            "url": endpoints[arm].url,
            "model": endpoints[arm].model,
            "counted": asdict(served.counted) if served.counted else None,
            "numbers": {name: asdict(number) for name, number in served.numbers().items()},
            "blocks": [
                {"wall_s": block.wall_s, "requests": [_facts(reply) for reply in block.replies]}
                for block in served.blocks
            ],
        }
    return told


def _facts(reply: Reply) -> dict[str, Any]:
    return {name: value for name, value in asdict(reply).items() if name != "text"}
