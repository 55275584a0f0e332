"""Checks, on the recorded decodes, that both arms of a speed measurement did the same work."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import groupby

from draftmark.config.sections import SpeedCondition
from draftmark.results import Severity
from draftmark.types import Decode, TimedDecode

_RUNS = {("target", 0), ("target", 1), ("draft", 0), ("draft", 1)}


def speed_faults(
    condition: SpeedCondition,
    timed: Sequence[TimedDecode],
    max_new_tokens: int,
    end_tokens: frozenset[int],
) -> list[tuple[Severity, str]]:
    """Return each fault of a speed measurement with its severity.

    In every block each arm must decode the same prompts twice; every text must end at its first
    end token, at a stop string or at the length limit. At temperature 0 texts of unequal length
    are an error: the arms did unequal work. Unequal tokens of equal length are a warning: times are
    valid, but the engine is not lossless, or rounding breaks ties differently.
    """
    in_order = sorted(timed, key=lambda item: item.block)
    blocks = groupby(in_order, lambda item: item.block)
    faults = [fault for number, block in blocks for fault in _block_faults(number, block)]
    ends = end_tokens if condition.length == "natural" else frozenset()
    for fault, applies in _length_faults(max_new_tokens, ends).items():
        wrong = [
            f"{item.arm} on {item.decode.example_id}" for item in timed if applies(item.decode)
        ]
        if wrong:
            faults.append(f"{len(wrong)} texts {fault}, first {wrong[0]}")
    if faults or condition.temperature:
        return [("error", fault) for fault in faults]
    if other := other_lengths(timed):
        what = "have other lengths with the draft than without at temperature 0"
        return [("error", f"{len(other)} texts {what}, first {other[0]}: no speedup is given")]
    if other := _unequal(timed, lambda decode: decode.token_ids):
        what = "are not the same in all runs at temperature 0"
        return [("warning", f"{len(other)} texts {what}, first {other[0]}")]
    return []


def other_lengths(timed: Sequence[TimedDecode]) -> list[str]:
    """Return the prompts whose texts differ in length between runs or arms."""
    return _unequal(timed, lambda decode: len(decode.token_ids))


def _unequal(timed: Sequence[TimedDecode], value: Callable[[Decode], Hashable]) -> list[str]:
    values: dict[str, set[Hashable]] = {}
    for item in timed:
        values.setdefault(item.decode.example_id, set()).add(value(item.decode))
    return [name for name, several in values.items() if len(several) > 1]


def _block_faults(number: int, block: Iterable[TimedDecode]) -> Iterator[str]:
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
    """Return the test of each length fault, by its description."""

    def has_end(token_ids: tuple[int, ...]) -> bool:
        return not end_tokens.isdisjoint(token_ids)

    return {
        f"are longer than {max_new_tokens} tokens": lambda d: len(d.token_ids) > max_new_tokens,
        "go on after an end token": lambda d: has_end(d.token_ids[:-1]),
        "stop before an end and the length limit": lambda d: (
            not (
                has_end(d.token_ids[-1:])
                or d.finish_reason == "stop_string"
                or len(d.token_ids) >= max_new_tokens
            )
        ),
    }
