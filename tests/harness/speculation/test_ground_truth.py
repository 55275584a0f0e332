"""The prediction against the loop itself, on random Markov chains whose laws are known.

Whatever target p and draft q are, the passes that one scoring pass predicts must be those that
10^4 runs of speculative sampling take. Legend: R run, V vocabulary, G drafted token.
"""

import numpy as np
import pytest

from draftmark.speculation.blocks import block_counts
from draftmark.store.acceptance_tables import Floats, Ints
from draftmark.types import AcceptanceTable

RUNS, WORDS, LIMIT, END = 10_000, 6, 24, 0
GAMMAS = [1, 2, 4, 8, 16]


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


def loop_passes(p: Chain, q: Draft, order: int, gamma: int, seed: int) -> Ints:
    """Return the target passes [R] of runs of speculative sampling (Leviathan et al.)."""
    generator = np.random.default_rng(seed)
    passes = np.zeros(RUNS, dtype=np.int64)
    lengths = np.zeros(RUNS, dtype=np.int64)
    tails = np.ones((RUNS, order), dtype=np.int64)  # every text starts after the same words
    alive = np.arange(RUNS)
    while len(alive):
        passes[alive] += 1
        words = tails[alive]
        accepting = np.ones(len(alive), dtype=bool)
        ended = np.zeros(len(alive), dtype=bool)
        emitted = np.zeros(len(alive), dtype=np.int64)
        room = q.drafted(words[:, -1], gamma)
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
            words = np.where(going[:, None], np.column_stack([words, word])[:, 1:], words)
            emitted += going
            ended |= going & (word == END)
            accepting &= kept
        lengths[alive] += emitted
        tails[alive] = words
        alive = alive[~ended & (lengths[alive] < LIMIT)]
    return passes


def predicted_passes(p: Chain, q: Draft, order: int, gamma: int, seed: int) -> Floats:
    """Return the expected passes [R] given texts that the target writes on its own."""
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
        left_S = length - np.arange(length)
        none_S = np.zeros(length)
        drafted_S = np.minimum(drafted_RS[run, :length], left_S)
        tables.append(
            AcceptanceTable(str(run), accept_RSD[run, :length], drafted_S, none_S, none_S)
        )
    return block_counts(tables, gamma).passes_B


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
def test_predicted_passes_are_those_that_the_loop_takes(name: str) -> None:
    order, p, q = CHAINS[name]
    for gamma in GAMMAS:
        counted = loop_passes(p, q, order, gamma, seed=10 + gamma)
        predicted = predicted_passes(p, q, order, gamma, seed=20 + gamma)
        error = np.sqrt((counted.var() + predicted.var()) / RUNS)
        ratio = counted.var() / predicted.var()
        print(
            f"{name}, gamma {gamma}: loop {counted.mean():.3f}, predicted "
            f"{predicted.mean():.3f}, standard error {error:.3f}, variance ratio {ratio:.2f}"
        )
        assert abs(counted.mean() - predicted.mean()) < 3 * error
        # Texts differ in length, which is most of the spread here; given the text there is less.
        assert predicted.var() < 1.1 * counted.var()
