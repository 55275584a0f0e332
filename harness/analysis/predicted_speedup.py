"""What a speed run says a drafted token costs, and the speedup that scoring predicts with it.

For runs of one text at a time, where no part was timed by itself (`cost_model`). The
unit is a plain pass of the target, timed in the same block. Beyond its passes, the draft's arm
takes c + w for each drafted token (`expected_speedup`): that is read from its decoding. A
block is predicted with the cost that the *other* blocks had, and with the passes that the
acceptance tables expect for its prompts, so that no block predicts itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from draftmark.analysis import statistics
from draftmark.results import Number
from draftmark.speculation.blocks import REFERENCE, Convention, block_counts
from draftmark.types import AcceptanceTable, Decode, Round, TimedDecode

DEFINITION = (
    "time of the target alone / predicted time with the draft, prefill included: expected passes "
    "and drafted tokens of the same prompts, at the cost that drafted tokens had in the other "
    "blocks; geometric mean over blocks, n = blocks"
)


@dataclass(frozen=True)
class _Block:
    """A block: seconds of the target alone, what the draft's arm did, what was expected of it."""

    prefill_s: float
    decode_s: float
    pass_s: float  # a plain pass
    excess: float  # what the draft's arm took beyond its passes, in plain passes
    drafted: int
    expected_passes: float = 0.0
    expected_drafted: float = 0.0

    def predicted(self, cost: float) -> float:
        passes = self.expected_passes + cost * self.expected_drafted
        return (self.prefill_s + self.decode_s) / (self.prefill_s + self.pass_s * passes)


def drafting_cost(timed: Sequence[TimedDecode], convention: Convention = REFERENCE) -> float | None:
    """Return c + w in plain passes, at least 0, and 0 if nothing was drafted.

    None if nothing was timed, or the engine counted no passes.
    """
    blocks = [_block(block, convention) for block in _by_block(timed, convention)]
    return _cost(blocks) if blocks else None


def predicted_speedup(
    timed: Sequence[TimedDecode],
    tables: Sequence[AcceptanceTable],
    num_speculative_tokens: int,
    convention: Convention = REFERENCE,
) -> Number | None:
    """Return the predicted speedup of a speed run, with a t interval on the logs of its blocks.

    `convention`: how its engine counts. None for fewer than two blocks, or if a prompt of the run
    was not scored.
    """
    wanted = {item.decode.example_id for item in timed}
    tables = [table for table in tables if table.example_id in wanted]
    if len(tables) < len(wanted) or not tables:
        return None
    counts = block_counts(tables, num_speculative_tokens, convention)
    rates = {
        table.example_id: (passes / max(tokens, 1), drafted / max(tokens, 1))
        for table, passes, drafted, tokens in zip(
            tables, counts.passes_B, counts.drafted_B, counts.tokens_B, strict=True
        )
    }
    blocks = [_block(block, convention, rates) for block in _by_block(timed, convention)]
    if len(blocks) < 2:
        return None
    speedups = [
        block.predicted(_cost([*blocks[:index], *blocks[index + 1 :]]))
        for index, block in enumerate(blocks)
    ]
    value, low, high = statistics.log_ratio_interval(speedups)
    return Number(value, low, high, len(blocks), DEFINITION)


def _by_block(timed: Sequence[TimedDecode], convention: Convention) -> list[list[TimedDecode]]:
    """Return the blocks in which passes of both arms were timed; none if none was counted."""
    numbers = sorted({item.block for item in timed})
    blocks = [[item for item in timed if item.block == number] for number in numbers]
    made = [{item.arm for item in block if _timed(item.decode, convention)} for block in blocks]
    return [block for block, arms in zip(blocks, made, strict=True) if len(arms) == 2]


def _in_prefill(decode: Decode, convention: Convention) -> int:
    """Return how many of a text's passes its prefill's time holds.

    One where the first token came with prefill and is a block's: the first pass reads the prompt.
    """
    together = decode.first_token_s == decode.prefill_s
    return int(together and not convention.prefill_emits_first)


def _timed(decode: Decode, convention: Convention) -> Sequence[Round]:
    """Return the rounds whose time is that of decoding, not of prefill."""
    return decode.rounds[_in_prefill(decode, convention) :]


def _block(
    block: Sequence[TimedDecode],
    convention: Convention,
    rates: Mapping[str, tuple[float, float]] | None = None,
) -> _Block:
    alone = [item.decode for item in block if item.arm == "target"]
    mine = [item.decode for item in block if item.arm == "draft"]
    decode_s = sum(decode.decode_s for decode in alone)
    pass_s = decode_s / sum(len(_timed(decode, convention)) for decode in alone)
    excess = sum(decode.decode_s / pass_s - len(_timed(decode, convention)) for decode in mine)
    expected = [
        (tokens * passes - _in_prefill(decode, convention), tokens * drafted)
        for decode in mine
        for tokens in [len(decode.token_ids) - int(convention.prefill_emits_first)]
        for passes, drafted in [(rates or {}).get(decode.example_id, (0.0, 0.0))]
    ]
    return _Block(
        prefill_s=sum(decode.prefill_s for decode in alone),
        decode_s=decode_s,
        pass_s=pass_s,
        excess=excess,
        drafted=sum(round_.drafted for decode in mine for round_ in _timed(decode, convention)),
        expected_passes=sum(passes for passes, _ in expected),
        expected_drafted=sum(drafted for _, drafted in expected),
    )


def _cost(blocks: Sequence[_Block]) -> float:
    drafted = sum(block.drafted for block in blocks)
    return max(0.0, sum(block.excess for block in blocks) / drafted) if drafted else 0.0
