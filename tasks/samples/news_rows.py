"""Seeded generators of invented news with summaries, in the columns of CNN/Daily Mail and XSum.

The former's articles open with what happened; the latter's tell it without ever saying it in one
sentence, which is what the summary does.
"""

from collections.abc import Iterator
from hashlib import sha1
from random import Random
from typing import Any

from tasks.samples.news_more_stories import STORIES
from tasks.samples.news_stories import Story
from tasks.samples.wording import BOYS, GIRLS, draw, fill

SURNAMES = (
    *("Brasken", "Cordell", "Dunmere", "Harrowin", "Karrick", "Lindqvale", "Morrant", "Ostrel"),
    *("Pellam", "Quillon", "Sabler", "Tolvane", "Venlock", "Wendlow", "Yarrick"),
)
TOWNS = (
    *("Ashmere", "Brightwater", "Calder Bay", "Dunhollow", "Eastmarsh", "Fernholt", "Greyport"),
    *("Hollin", "Kestrel Point", "Larkham", "Marlow Sands", "Norwick", "Oakenshaw", "Port Ellery"),
    *("Redford Mill", "Stonebeck", "Thornbury Cross", "Westering"),
)
CAST = {
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "month": ("January", "March", "April", "May", "June", "July", "August", "October", "November"),
    "hour": ("6am", "8am", "9:30am", "noon", "4pm", "7:30pm", "10pm", "midnight"),
    "road": ("Mill Lane", "Station Road", "Harbor Street", "Queen Street", "Chapel Hill"),
    "crowd": ("200", "350", "500", "800", "1,200", "2,500", "4,000"),
    "few": (4, 9),
    "weeks": (4, 20),
    "years": (11, 90),
    "age": (19, 88),
    "people": (3, 95),
}
QUOTES = (
    '"I have never seen anything like it," said {witness}, {age}, who lives nearby.',
    '"It is all that [people|we] talk about here," said {witness}, a [shopkeeper|baker|driver].',
    '"[Nobody|No one] expected this," {witness}, {age}, told [reporters|the local radio].',
    '"We will remember this [day|week]," said {witness}, a [neighbor|local teacher].',
)
SETTINGS = (
    "{town}, a town of {people},000 people, is {years} miles [north|south|east|west] of {town2}.",
    "[Last {month}|Earlier this year], {town} was in the news when [a ship ran aground|snow fell|"
    "the king came to visit|wolves were seen there].",
    "{town} is [best |]known for its [apples|cheese|lace|boats|honey|clocks].",
    "The story was first [reported|told] by the {town2} [Gazette|Herald|Post].",
)


def cnn_dm_rows(seed: int) -> Iterator[dict[str, Any]]:
    """Articles of 75 to 130 words with highlights, without end; one seed, always the same ones."""
    rng = Random(seed)
    while True:
        story = rng.choice(STORIES)
        words = cast(story, rng=rng)
        opening = f"{words['town']} ({rng.choice(('Daily Courier', 'Harbor News'))}) -- "
        told = body(story, num_more=rng.choice((3, 4)), rng=rng)
        article = opening + written((story.lead, *told), words=words, rng=rng, between=" ")
        lines = story.highlights[: rng.choice((2, 3, 3))]
        highlights = "\n".join(f"{fill(line, words=words, rng=rng)}." for line in lines)
        yield {
            "article": article,
            "highlights": highlights,
            "id": sha1(article.encode()).hexdigest(),
        }


def xsum_rows(seed: int) -> Iterator[dict[str, Any]]:
    """Documents of 55 to 110 words with a summary, without end; one seed, always the same ones."""
    rng = Random(seed)
    while True:
        story = rng.choice(STORIES)
        words = cast(story, rng=rng)
        told = body(story, num_more=rng.choice((3, 4)), rng=rng)
        document = written(told, words=words, rng=rng, between="\n")
        summary = fill(story.summary, words=words, rng=rng)
        number = int(sha1(document.encode()).hexdigest(), 16) % 10**8
        yield {"document": document, "summary": summary, "id": f"{number:08}"}


def cast(story: Story, *, rng: Random) -> dict[str, Any]:
    """The values of one story: people, places, times, numbers; no two people or places alike."""
    firsts, lasts = rng.sample((*GIRLS, *BOYS), 3), rng.sample(SURNAMES, 3)
    who, who2, witness = (f"{one} {last}" for one, last in zip(firsts, lasts, strict=True))
    town, town2 = rng.sample(TOWNS, 2)
    people = {"who": who, "last": lasts[0], "who2": who2, "witness": witness}
    return people | {"town": town, "town2": town2} | draw(CAST | dict(story.facts), rng=rng)


def body(story: Story, *, num_more: int, rng: Random) -> tuple[str, ...]:
    """The sentences that tell a story, some more in their order, a quotation, and the setting."""
    kept = sorted(rng.sample(range(len(story.more)), num_more))
    more = [story.more[index] for index in kept]
    more.insert(rng.randint(0, num_more), rng.choice(QUOTES))
    return (*story.core, *more, rng.choice(SETTINGS))


def written(sentences: tuple[str, ...], *, words: dict[str, Any], rng: Random, between: str) -> str:
    """The sentences with their wordings chosen and their fields filled."""
    return between.join(fill(sentence, words=words, rng=rng) for sentence in sentences)
