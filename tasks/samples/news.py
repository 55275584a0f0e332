"""Generates invented news with summaries, in the columns of CNN/Daily Mail and XSum.

A CNN/Daily Mail article opens with what happened. An XSum document never says it in one sentence:
that is left to the summary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from random import Random
from typing import Any

from draftmark.tasks.samples.expressions import Rule, draw_values
from draftmark.tasks.samples.wording import NAMES, fill_text, read_templates


@dataclass(frozen=True)
class Story:
    """A kind of news; `templates/news.toml` explains the fields."""

    facts: Mapping[str, Rule]
    lead: str
    core: Sequence[str]
    more: Sequence[str]
    highlights: Sequence[str]
    summary: str


TEMPLATES = read_templates("news")
STORIES = [Story(**story) for story in TEMPLATES["stories"]]


def generate_cnn_dm_rows(seed: int) -> Iterator[dict[str, str]]:
    """Yield rows without end, the same for the same seed; an article has 75 to 130 words."""
    rng = Random(seed)
    while True:
        story = rng.choice(STORIES)
        values = draw_cast(story, rng=rng)
        opening = f"{values['town']} ({rng.choice(('Daily Courier', 'Harbor News'))}) -- "
        sentences = [story.lead, *choose_sentences(story, rng=rng)]
        article = opening + " ".join(fill_text(text, values, rng=rng) for text in sentences)
        lines = story.highlights[: rng.choice((2, 3, 3))]
        highlights = "\n".join(f"{fill_text(line, values, rng=rng)}." for line in lines)
        digest = sha1(article.encode()).hexdigest()
        yield {"article": article, "highlights": highlights, "id": digest}


def generate_xsum_rows(seed: int) -> Iterator[dict[str, str]]:
    """Yield rows without end, the same for the same seed; a document has 55 to 110 words."""
    rng = Random(seed)
    while True:
        story = rng.choice(STORIES)
        values = draw_cast(story, rng=rng)
        sentences = choose_sentences(story, rng=rng)
        document = "\n".join(fill_text(text, values, rng=rng) for text in sentences)
        summary = fill_text(story.summary, values, rng=rng)
        number = int(sha1(document.encode()).hexdigest(), 16) % 10**8
        yield {"document": document, "summary": summary, "id": f"{number:08}"}


def draw_cast(story: Story, *, rng: Random) -> dict[str, Any]:
    """Draw a story's people, places, times and numbers."""
    pools = TEMPLATES["pools"] | NAMES
    return draw_values({**TEMPLATES["cast"], **story.facts}, pools, rng=rng)


def choose_sentences(story: Story, *, rng: Random) -> list[str]:
    """Choose the sentences of a body: the core, a few more with a quotation, and the setting."""
    number = rng.choice((3, 4))
    more = [story.more[index] for index in sorted(rng.sample(range(len(story.more)), number))]
    more.insert(rng.randint(0, number), rng.choice(TEMPLATES["quotes"]))
    return [*story.core, *more, rng.choice(TEMPLATES["settings"])]
