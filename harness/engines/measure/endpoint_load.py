"""Measures running endpoints under a load of a task's prompts, and prints the numbers.

A second endpoint, the same server without a draft, gives the speedup: both endpoints decode the
same blocks of prompts in the order A B B A.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import fmean
from time import perf_counter
from typing import Any

from draftmark.analysis import statistics
from draftmark.engines.measure.draft_counters import DraftCounts, count_drafts
from draftmark.engines.measure.endpoint import Endpoint, Reply
from draftmark.engines.measure.timing import ABBA
from draftmark.errors import UserError
from draftmark.progress import Progress, Step
from draftmark.results import Number
from draftmark.types import Arm, Example

DEFINITIONS = {
    "speedup": "time of the endpoint without a draft / time of the one with it, per token; "
    "median over blocks, n = blocks",
    "first_token_s": "seconds from a request to its first token; mean over prompts, each asked "
    "twice",
    "token_s": "seconds for each token after a request's first, pooled",
    "tokens_per_s": "tokens of all requests / seconds of all blocks, at this concurrency",
}
_NAMES: Mapping[Arm, str] = {"draft": "endpoint", "target": "endpoint without a draft"}


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

    @property
    def s_per_token(self) -> float:
        """Total time / total tokens."""
        return self.wall_s / sum(reply.num_tokens for reply in self.replies)


Blocks = Mapping[Arm, Sequence[Block]]


@dataclass(frozen=True)
class Measurement:
    """The runs of an endpoint and its counters; every block runs twice in a row."""

    blocks: tuple[Block, ...]
    counted: DraftCounts | None

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
        later = [sum(reply.num_tokens - 1 for reply in pair) for pair in prompts]
        rest = [sum(reply.total_s - reply.first_token_s for reply in pair) for pair in prompts]
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
    if load.blocks > len(examples):
        raise UserError(f"{load.blocks} blocks need {load.blocks} prompts, not {len(examples)}.")
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
                asked = examples[start :: load.blocks]
                blocks[arm].append(_run_block(endpoints[arm], asked, load, step))
                keep(blocks)
    return {
        arm: Measurement(tuple(blocks[arm]), count_drafts(before[arm], endpoint.counters()))
        for arm, endpoint in endpoints.items()
    }


def _run_block(endpoint: Endpoint, examples: Sequence[Example], load: Load, step: Step) -> Block:
    def ask(example: Example) -> Reply:
        reply = endpoint.complete(example.messages, load.options())
        step.advance()
        return reply

    with ThreadPoolExecutor(load.concurrency) as pool:
        started = perf_counter()
        replies = tuple(pool.map(ask, examples))
        return Block(replies, perf_counter() - started)


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


def measurement_lines(found: Mapping[Arm, Measurement], load: Load) -> Iterator[str]:
    """Yield the printed lines of one concurrency."""
    yield f"{load.concurrency} at a time, {load.blocks} blocks, temperature {load.temperature:g}"
    for arm, measured in found.items():
        numbers = measured.numbers()
        yield f"  {_NAMES[arm]}: {len(measured.replies)} requests"
        yield f"    first token   {_ms(numbers['first_token_s'])}"
        if "token_s" in numbers:
            yield f"    token         {_ms(numbers['token_s'])}"
        yield f"    tokens / s    {numbers['tokens_per_s'].value:.1f}"
        yield from (f"    {line}" for line in _count_lines(measured))
    if len(found) == 2:
        yield f"  {_speedup(found, load)}"


def _count_lines(measured: Measurement) -> Iterator[str]:
    counted = measured.counted
    if counted is None:
        yield "no /metrics: acceptance is not known"
    elif not counted.drafts:
        yield "no drafts were counted: this server does not speculate"
    else:
        yield from _rates(counted)
    others = counted.finished - len(measured.replies) if counted and counted.finished else 0
    if others:
        yield f"NOT ALONE: the server finished {others:+d} other requests; its counts include them"


def _rates(counted: DraftCounts) -> Iterator[str]:
    yield f"mean acceptance length  {counted.mean_acceptance_length:.3f} (1 + accepted / drafts)"
    yield f"draft acceptance rate   {counted.draft_acceptance_rate:.3f} (accepted / drafted)"
    marginal = ", ".join(f"{accepted / counted.drafts:.3f}" for accepted in counted.by_position)
    yield f"by position             {marginal} (accepted there / drafts)"


def _speedup(found: Mapping[Arm, Measurement], load: Load) -> str:
    mismatches = count_length_mismatches(found) if load.temperature == 0 else 0
    if mismatches:
        return (
            f"no speedup: {mismatches} prompts have replies of different lengths at temperature 0, "
            "so the two endpoints did different work"
        )
    number = endpoint_speedup(found)
    shown = f"{number.value:.3f} [{number.low:.3f}, {number.high:.3f}] over {number.n} blocks"
    if _drafts(found["target"]):
        return f"{shown}: not the speedup of a draft, because the other endpoint drafts too"
    return f"speedup {shown}"


def _drafts(measured: Measurement) -> bool:
    """True if the server is known to have drafted."""
    return bool(measured.counted and measured.counted.drafts)


def verdict_lines(runs: Sequence[tuple[Load, Mapping[Arm, Measurement]]]) -> Iterator[str]:
    """Yield lines with the concurrencies at which the draft pays; none without a speedup."""
    speedups = {
        load.concurrency: endpoint_speedup(found)
        for load, found in runs
        if len(found) == 2
        and not _drafts(found["target"])
        and not (load.temperature == 0 and count_length_mismatches(found))
    }
    if speedups:
        every = ", ".join(map(str, speedups))
        pays = ", ".join(str(n) for n, number in speedups.items() if (number.low or 0) > 1)
        loses = ", ".join(str(n) for n, number in speedups.items() if (number.high or 1) < 1)
        yield f"of {every} requests at a time, the draft certainly pays at: {pays or 'none'}"
        yield f"  it certainly slows the server at: {loses or 'none'}"


def _ms(number: Number) -> str:
    if number.low is None or number.high is None:
        return f"{number.value * 1e3:.1f} ms"
    return f"{number.value * 1e3:.1f} [{number.low * 1e3:.1f}, {number.high * 1e3:.1f}] ms"
