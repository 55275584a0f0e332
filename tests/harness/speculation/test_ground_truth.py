"""The prediction against the loop itself, on random Markov chains whose distributions are known.

Whatever target p and draft q are, the passes, drafted, tested and accepted tokens that one scoring
pass predicts must be those of 10^4 runs of speculative sampling. The loop is written here from the
definitions, and drafts as an engine does: it knows the length limit, not where the target ends.
Legend: R run, V vocabulary, G drafted token.
"""

import numpy as np
import pytest

from draftmark.speculation.blocks import BlockCounts, block_counts
from draftmark.store.acceptance_tables import Floats, Ints
from draftmark.types import AcceptanceTable

RUNS, WORDS, LIMIT, END = 10_000, 6, 24, 0
GAMMAS = [1, 2, 4, 8, 16]
COUNTS = ("passes", "drafted", "tested", "accepted")


class Chain:
    """A random law of the next word given the last `order` words, which may end the text."""

    def __init__(
        self, seed: int, *, order: int, temperature: float = 1.0, mix: float = 0.0
    ) -> None:
        generator = np.random.default_rng(seed)
        logits = generator.normal(0, 1.5, size=(WORDS**order, WORDS))
        logits[:, END] -= 1.5
        noise = generator.normal(0, 1.5, size=logits.shape)
        logits = (logits + mix * noise) / temperature
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        self.law = weights / weights.sum(-1, keepdims=True)

    def greedy(self) -> "Chain":
        """Turn the law into its likeliest word, for good: a deterministic draft."""
        self.law = np.eye(WORDS)[self.law.argmax(-1)]
        return self


class Draft:
    """Drafts by a chain; deeper in a block `fading` makes its law flatter, as a feature head's.

    `short`: after word w it drafts at most w words, as a lookup does that finds little or nothing.
    """

    def __init__(self, chain: Chain, *, fading: bool = False, short: bool = False) -> None:
        self.chain, self.fading, self.short = chain, fading, short

    def law(self, here_R: Ints, depth: int) -> Floats:
        flat = depth / (depth + 2) if self.fading else 0.0
        law_RV: Floats = (1 - flat) * self.chain.law[here_R] + flat / WORDS
        return law_RV

    def drafted(self, last_R: Ints, gamma: int) -> Ints:
        return np.minimum(last_R, gamma) if self.short else np.full_like(last_R, gamma)


def context(words_RT: Ints, order: int) -> Ints:
    index = np.zeros(len(words_RT), dtype=np.int64)
    for back in range(order, 0, -1):
        index = index * WORDS + words_RT[:, -back]
    return index


def sample(law_RV: Floats, generator: np.random.Generator) -> Ints:
    uniform = generator.random((len(law_RV), 1)) * law_RV.sum(-1, keepdims=True)
    return np.minimum((law_RV.cumsum(-1) <= uniform).sum(-1), WORDS - 1)


def loop_counts(p: Chain, q: Draft, order: int, gamma: int, seed: int) -> dict[str, Ints]:
    """Return the counts [R] of runs of speculative sampling (Leviathan et al.)."""
    generator = np.random.default_rng(seed)
    counts = {name: np.zeros(RUNS, dtype=np.int64) for name in COUNTS}
    lengths = np.zeros(RUNS, dtype=np.int64)
    tails = np.ones((RUNS, order), dtype=np.int64)  # every text starts after the same words
    alive = np.arange(RUNS)
    while len(alive):
        counts["passes"][alive] += 1
        words = tails[alive]
        accepting = np.ones(len(alive), dtype=bool)
        ended = np.zeros(len(alive), dtype=bool)
        emitted = np.zeros(len(alive), dtype=np.int64)
        room = np.minimum(q.drafted(words[:, -1], gamma), LIMIT - lengths[alive])
        counts["drafted"][alive] += room
        for depth in range(gamma + 1):
            here = context(words, order)
            target, draft = p.law[here], q.law(here, depth)
            drafted = sample(draft, generator)
            row = np.arange(len(alive))
            kept = generator.random(len(alive)) * draft[row, drafted] < target[row, drafted]
            word = np.where(kept, drafted, sample(np.maximum(target - draft, 1e-300), generator))
            bonus = depth >= room
            word = np.where(bonus, sample(target, generator), word)
            kept &= ~bonus
            going = accepting & ~ended & (lengths[alive] + emitted < LIMIT)
            counts["tested"][alive] += going & ~bonus
            counts["accepted"][alive] += going & kept
            words = np.where(going[:, None], np.column_stack([words, word])[:, 1:], words)
            emitted += going
            ended |= going & (word == END)
            accepting &= kept
        lengths[alive] += emitted
        tails[alive] = words
        alive = alive[~ended & (lengths[alive] < LIMIT)]
    return counts


def predicted_counts(p: Chain, q: Draft, order: int, gamma: int, seed: int) -> BlockCounts:
    """Return the expected counts [R] given texts that the target writes on its own."""
    generator = np.random.default_rng(seed)
    words = np.ones((RUNS, order), dtype=np.int64)
    accepts, lengths = [], np.full(RUNS, LIMIT)
    drafted = []
    for position in range(LIMIT):
        here = context(words, order)
        word = sample(p.law[here], generator)
        chance_p = p.law[here, word]
        deep = [q.law(here, depth)[np.arange(RUNS), word] for depth in range(gamma)]
        accepts.append(np.minimum(1.0, np.stack(deep, axis=1) / chance_p[:, None]))
        drafted.append(q.drafted(words[:, -1], gamma))
        lengths = np.where((word == END) & (lengths == LIMIT), position + 1, lengths)
        words = np.column_stack([words, word])[:, 1:]
    # accept of a text's position at each depth [R, T, D] -> of each start at each depth [R, S, D]
    accept_RTD = np.pad(np.stack(accepts, axis=1), ((0, 0), (0, gamma), (0, 0)))
    accept_RSD = np.stack([accept_RTD[:, d : d + LIMIT, d] for d in range(gamma)], axis=2)
    drafted_RS = np.stack(drafted, axis=1)
    tables = []
    for run, length in enumerate(lengths):
        none_S, here = np.zeros(length), (run, slice(length))
        table = AcceptanceTable(
            str(run), accept_RSD[here], drafted_RS[here], none_S, none_S, limit=LIMIT
        )
        tables.append(table)
    return block_counts(tables, gamma)


CHAINS = {
    "order 1": (1, Chain(1, order=1), Draft(Chain(1, order=1, mix=0.7))),
    "order 2": (2, Chain(2, order=2), Draft(Chain(2, order=2, mix=0.7))),
    "colder target": (1, Chain(3, order=1, temperature=0.5), Draft(Chain(3, order=1, mix=0.5))),
    "hotter target": (1, Chain(4, order=1, temperature=2.0), Draft(Chain(4, order=1, mix=0.5))),
    "deterministic draft": (1, Chain(5, order=1), Draft(Chain(5, order=1, mix=0.5).greedy())),
    "unrelated draft": (1, Chain(6, order=1), Draft(Chain(60, order=1))),
    "depth-dependent draft": (2, Chain(7, order=2), Draft(Chain(7, order=2, mix=0.4), fading=True)),
    "short deterministic draft": (
        1,
        Chain(8, order=1),
        Draft(Chain(8, order=1, mix=0.4).greedy(), short=True),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_predicted_counts_are_those_of_the_loop(name: str) -> None:
    order, p, q = CHAINS[name]
    for gamma in GAMMAS:
        counted = loop_counts(p, q, order, gamma, seed=10 + gamma)
        predicted = predicted_counts(p, q, order, gamma, seed=20 + gamma)
        for what in COUNTS:
            counted_R, predicted_R = counted[what], getattr(predicted, f"{what}_B")
            error = np.sqrt((counted_R.var() + predicted_R.var()) / RUNS)
            ratio = counted_R.var() / predicted_R.var()
            print(
                f"{name}, gamma {gamma}: {what} {counted_R.mean():.3f}, predicted "
                f"{predicted_R.mean():.3f}, standard error {error:.3f}, variance ratio {ratio:.2f}"
            )
            assert abs(counted_R.mean() - predicted_R.mean()) < 3.5 * error  # 160 comparisons
        # Texts differ in length, which is most of the spread here; given the text there is less.
        assert predicted.passes_B.var() < 1.1 * counted["passes"].var()
