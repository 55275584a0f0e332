"""Whether the two arms of a speed measurement ran on the same terms, read from their decodes."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from draftmark.config.sections import SpeedCondition
from draftmark.results import Severity
from draftmark.store.speed_records import Measurement
from draftmark.types import Decode, TimedDecode

_RUNS = {("target", 0), ("target", 1), ("draft", 0), ("draft", 1)}


def of_measurement(
    under: SpeedCondition, measured: Measurement, *, max_new_tokens: int, end_tokens: frozenset[int]
) -> Iterator[tuple[Severity, str]]:
    """Yield what is wrong with a measurement of speed, and how much it matters.

    Other tokens of the same lengths at temperature 0 are a warning: times hold, but the engine is
    not lossless, or its rounding decides ties.
    """
    greedy = under.temperature == 0
    ends = end_tokens if under.length == "natural" else frozenset()
    found = faults(measured.decodes, max_new_tokens=max_new_tokens, end_tokens=ends, greedy=greedy)
    yield from (("error", fault) for fault in found)
    if greedy and not found and (other := other_tokens(measured.decodes)):
        what = "are not the same in all runs at temperature 0"
        yield "warning", f"{len(other)} texts {what}, first {other[0]}"


def faults(
    timed: Sequence[TimedDecode],
    *,
    max_new_tokens: int,
    end_tokens: frozenset[int],
    greedy: bool = False,
) -> list[str]:
    """Return what differs between the arms, or is against the length policy, in words.

    In every block each arm decodes the same prompts twice; every text ends at its first end token
    or stop string, or else at the length limit. At temperature 0 (`greedy`) both arms' texts have
    the same lengths: else the draft's arm had other work to do.
    """
    in_order = sorted(timed, key=lambda item: item.block)
    blocks = {number: list(block) for number, block in groupby(in_order, lambda item: item.block)}
    found = [fault for number, block in blocks.items() for fault in _of_block(number, block)]
    for fault, is_so in _length_faults(max_new_tokens, end_tokens).items():
        wrong = [f"{item.arm} on {item.decode.example_id}" for item in timed if is_so(item.decode)]
        if wrong:
            found.append(f"{len(wrong)} texts {fault}, first {wrong[0]}")
    if greedy and not found and (other := other_lengths(timed)):
        found.append(
            f"{len(other)} texts have other lengths with the draft than without at temperature 0, "
            f"first {other[0]}: no speedup is given"
        )
    return found


def other_lengths(timed: Sequence[TimedDecode]) -> list[str]:
    """Return the prompts whose texts, over all runs of both arms, are not all of one length."""
    lengths: dict[str, set[int]] = {}
    for item in timed:
        lengths.setdefault(item.decode.example_id, set()).add(len(item.decode.token_ids))
    return [name for name, several in lengths.items() if len(several) > 1]


def other_tokens(timed: Sequence[TimedDecode]) -> list[str]:
    """Return the prompts whose texts, over all runs of both arms, are not all the same."""
    texts: dict[str, set[tuple[int, ...]]] = {}
    for item in timed:
        texts.setdefault(item.decode.example_id, set()).add(item.decode.token_ids)
    return [name for name, several in texts.items() if len(several) > 1]


def _of_block(number: int, block: Sequence[TimedDecode]) -> Iterator[str]:
    runs: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for item in block:
        prompt = (item.decode.example_id, item.decode.num_prompt_tokens)
        runs.setdefault((item.arm, item.repeat), []).append(prompt)
    if runs.keys() != _RUNS:
        names = ", ".join(f"{arm} {repeat + 1}" for arm, repeat in sorted(runs))
        yield f"block {number} has the runs {names}, not two of each arm"
    if len({tuple(prompts) for prompts in runs.values()}) > 1:
        yield f"block {number} has other prompts in one run than in another"


def _length_faults(
    max_new_tokens: int, end_tokens: frozenset[int]
) -> dict[str, Callable[[Decode], bool]]:
    """Return each way to break the length policy with its test."""

    def goes_on(decode: Decode) -> bool:
        return bool(end_tokens.intersection(decode.token_ids[:-1]))

    def stops_early(decode: Decode) -> bool:
        ended = end_tokens.intersection(decode.token_ids[-1:])
        ended_so = bool(ended) or decode.finish_reason == "stop_string"
        return not ended_so and len(decode.token_ids) < max_new_tokens

    return {
        f"are longer than {max_new_tokens} tokens": lambda d: len(d.token_ids) > max_new_tokens,
        "go on after an end token": goes_on,
        "stop before an end and the length limit": stops_early,
    }
