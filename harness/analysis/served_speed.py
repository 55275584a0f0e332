"""Timed requests of a measured server -> speed numbers, in the form of an engine's.

A condition's batch size is the number of requests at a time, its times are the client's.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from draftmark.analysis import statistics
from draftmark.analysis.served_counts import served_counts
from draftmark.analysis.speeds import ARMS, DEFINITIONS, ratios_of_blocks, speed_key
from draftmark.config.sections import SpeedCondition
from draftmark.results import Number
from draftmark.store.served_records import ServedRequest
from draftmark.store.speed_records import TimedRun
from draftmark.types import Arm, conversation_of

_CLIENT = {
    "speedup": "time of the server without a draft / time of the one with it, per token, as the "
    "client measured; median over blocks, n = blocks",
    "first_token_s": "seconds from a request to its first text, as the client measured",
    "token_s": "seconds for each token after those of the first text, as the client measured",
    "same_length": "share of prompts whose replies are of one length in all runs of both servers",
}


def served_ratios(requests: Sequence[ServedRequest], runs: Sequence[TimedRun]) -> list[float]:
    """Return each block's ratio: time per token without a draft / with it."""
    tokens: dict[tuple[int, Arm], int] = defaultdict(int)
    for request in requests:
        if request.total_s is not None:
            tokens[request.block, request.arm] += request.num_tokens
    return ratios_of_blocks(tokens, runs)


def served_speed_numbers(
    condition: SpeedCondition, requests: Sequence[ServedRequest], runs: Sequence[TimedRun]
) -> dict[str, Number]:
    """Return the numbers of a condition, by their keys; `requests` are those of the condition."""
    return {
        speed_key(name, condition.label): number
        for name, number in _numbers(condition, requests, runs)
    }


def _numbers(
    condition: SpeedCondition, requests: Sequence[ServedRequest], runs: Sequence[TimedRun]
) -> Iterator[tuple[str, Number]]:
    timed = [request for request in requests if request.total_s is not None]
    both = {request.arm for request in timed} == set(ARMS)
    same = list(_same_lengths(timed))
    if both and condition.temperature == 0:
        yield "same_length", statistics.estimate_share(same, _CLIENT["same_length"])
    if both and (condition.temperature > 0 or all(same)):
        ratios = served_ratios(timed, runs)
        yield "speedup", statistics.median_ratio(ratios, _CLIENT["speedup"])
    for arm in ARMS:
        for name, number in _times([request for request in timed if request.arm == arm]):
            yield f"{name}[arm={arm}", number
    if (counts := served_counts(requests)) and (passes := counts.columns["passes"]).any():
        tops = {"counted_block_efficiency": "tokens", "counted_drafted": "drafted"}
        for name, top in tops.items():
            if top in counts.columns:
                sums = counts.columns[top], passes
                yield name, statistics.estimate_ratio(*sums, DEFINITIONS[name], statistics.POSITIVE)


def _times(requests: Sequence[ServedRequest]) -> Iterator[tuple[str, Number]]:
    first = [(request.example_id, request.first_token_s or 0.0, 1) for request in requests]
    later = [
        (item.example_id, (item.total_s or 0.0) - (item.first_token_s or 0.0), item.later_tokens)
        for item in requests
        if item.later_tokens
    ]
    for name, values in (("first_token_s", first), ("token_s", later)):
        if values:
            sums = _by_prompt(values)
            yield name, statistics.estimate_ratio(*sums, _CLIENT[name], statistics.POSITIVE)


def _by_prompt(values: Sequence[tuple[str, float, int]]) -> tuple[list[float], list[float]]:
    """Return the sums of seconds and of tokens of each prompt."""
    sums: dict[str, list[float]] = {}
    for name, seconds, tokens in values:
        total = sums.setdefault(conversation_of(name), [0.0, 0.0])
        total[0] += seconds
        total[1] += tokens
    return [total[0] for total in sums.values()], [total[1] for total in sums.values()]


def _same_lengths(requests: Sequence[ServedRequest]) -> Iterator[float]:
    """Yield for each prompt 1 if all of its replies have one length, else 0."""
    lengths: Mapping[str, set[int]] = defaultdict(set)
    for request in requests:
        lengths[request.example_id].add(request.num_tokens)
    yield from (float(len(each) == 1) for each in lengths.values())
