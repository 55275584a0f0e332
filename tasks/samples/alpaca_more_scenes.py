"""The second half of the scenes of the Alpaca-shaped rows."""

from random import Random

from tasks.samples.alpaca_scenes import KINDS, NOUNS, TOWNS, Scene
from tasks.samples.wording import BOYS, GIRLS

# an invented language, Tolan: its adjectives follow the noun
TOLAN_NOUNS = {
    **{"house": "domi", "river": "vaso", "bird": "piri", "moon": "luma", "tree": "orro"},
    **{"bread": "pano", "friend": "amiku", "road": "strata", "fire": "foku", "fish": "piku"},
}
TOLAN_ADJECTIVES = {
    **{"red": "ruka", "big": "gran", "old": "veti", "good": "bona", "small": "mini"},
    **{"white": "alba", "cold": "frosi", "new": "nova"},
}
# what is measured in, how many smaller units one of the larger has
UNITS = (
    ("kilometers", "meters", 1000),
    ("kilograms", "grams", 1000),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("weeks", "days", 7),
    ("days", "hours", 24),
    ("dozens", "pieces", 12),
    ("meters", "centimeters", 100),
    ("feet", "inches", 12),
    ("yards", "feet", 3),
)
GENERA = {
    "kettle": ("a pot", "boiling water"),
    "compass": ("an instrument", "finding north"),
    "ladder": ("a frame with steps", "reaching high places"),
    "anchor": ("a heavy hook", "holding a ship in place"),
    "pillow": ("a soft cushion", "resting the head"),
    "bridge": ("a structure", "crossing a river"),
    "lantern": ("a lamp in a case", "giving light outdoors"),
    "needle": ("a thin pointed tool", "sewing cloth"),
    "whistle": ("a small pipe", "making a loud sound"),
    "bucket": ("an open container", "carrying water"),
    "scale": ("a device", "weighing things"),
    "tent": ("a shelter of cloth", "sleeping outdoors"),
}
STEPS = {
    "make tea": ("Boil the water", "Put a tea bag in a cup", "Pour in the water and wait"),
    "plant a tree": ("Dig a deep hole", "Set the roots in it", "Fill it with soil and water it"),
    "wash a car": ("Rinse off the dirt", "Rub it with soap and a sponge", "Rinse and dry it"),
    "mail a letter": ("Write the address", "Put on a stamp", "Drop it in a mailbox"),
    "boil an egg": (
        "Put the egg in a pot of water",
        "Boil it for eight minutes",
        "Cool and peel it",
    ),
    "paint a wall": ("Cover the floor", "Stir the paint", "Roll it on in even strokes"),
    "make toast": ("Slice the bread", "Put it in the toaster", "Spread butter on it"),
    "fix a flat tire": ("Take off the wheel", "Patch the hole", "Pump it up again"),
}
PRAISE = ("It works very well", "I love it", "It was worth every cent", "I use it every day")
BLAME = ("It broke after a week", "I want my money back", "It never worked", "It is far too loud")
GOODS = ("toaster", "lamp", "backpack", "radio", "kettle", "camera", "chair", "phone")
GIFTS = ("book", "scarf", "teapot", "plant", "puzzle", "photo album", "cake", "game")
EVENTS = ("birthday", "wedding", "picnic", "concert", "dinner", "school play")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
RHYMES = (
    ("cat", "hat"),
    ("moon", "spoon"),
    ("tree", "bee"),
    ("night", "light"),
    ("goat", "boat"),
    ("star", "jar"),
    ("rain", "train"),
    ("house", "mouse"),
    ("king", "ring"),
    ("cake", "lake"),
)


def kinds(rng: Random) -> Scene:
    """Three things of one kind, one of another, and both in two groups."""
    kind, other = rng.sample(sorted(KINDS), 2)
    members, odd = rng.sample(KINDS[kind], 3), rng.choice(KINDS[other])
    mixed = rng.sample([*members, odd], 4)
    return {
        "kind": kind,
        "other": other,
        "odd": odd,
        "mixed": ", ".join(mixed),
        "three": ", ".join(members),
        "group": ", ".join(word for word in mixed if word in members),
        "one": members[0],
    }


def tolan(rng: Random) -> Scene:
    """A noun with an adjective and its translation."""
    noun, adjective = rng.choice(sorted(TOLAN_NOUNS)), rng.choice(sorted(TOLAN_ADJECTIVES))
    noun2, adjective2 = rng.choice(sorted(TOLAN_NOUNS)), rng.choice(sorted(TOLAN_ADJECTIVES))
    return {
        "english": f"the {adjective} {noun} and the {adjective2} {noun2}",
        "tolan": f"ha {TOLAN_NOUNS[noun]} {TOLAN_ADJECTIVES[adjective]} "
        f"ne ha {TOLAN_NOUNS[noun2]} {TOLAN_ADJECTIVES[adjective2]}",
    }


def units(rng: Random) -> Scene:
    """An amount in a larger and in a smaller unit."""
    large, little, factor = rng.choice(UNITS)
    amount = rng.randint(2, 40)
    return {
        "large": large,
        "little": little,
        "factor": factor,
        "amount": amount,
        "converted": amount * factor,
    }


def definition(rng: Random) -> Scene:
    """A thing, what it is, what it is for, and somebody who has one."""
    thing = rng.choice(sorted(GENERA))
    genus, use = GENERA[thing]
    name, place = rng.choice((*GIRLS, *BOYS)), rng.choice(TOWNS)
    return {"thing": thing, "genus": genus, "use": use, "name": name, "town": place}


def steps(rng: Random) -> Scene:
    """Three steps of a task."""
    task = rng.choice(sorted(STEPS))
    one, two, three = STEPS[task]
    low = [step[0].lower() + step[1:] for step in STEPS[task]]
    mixed = "; ".join(rng.sample(low, 3))
    who = rng.choice((*GIRLS, *BOYS))
    told = f"first {low[0]}. Then {low[1]}. Finally, {low[2]}."
    listed = {"one": one, "two": two, "three": three, "mixed": mixed, "told": told}
    return {"task": task, "who": who} | listed


def review(rng: Random) -> Scene:
    """A customer's opinion, good or bad."""
    good = rng.random() < 0.5
    first, second = rng.sample(PRAISE if good else BLAME, 2)
    return {
        "text": f"I bought this {rng.choice(GOODS)} in {rng.choice(TOWNS)}. {first}. {second}.",
        "feeling": "positive" if good else "negative",
        "feels": "is happy" if good else "is not happy",
        "stars": 5 if good else 1,
        "reply": "We are glad that it serves you"
        if good
        else "We are sorry and will send your money back",
    }


def letter(rng: Random) -> Scene:
    """Two people, a gift, an event and its day."""
    name, other = rng.sample((*GIRLS, *BOYS), 2)
    return {
        "name": name,
        "other": other,
        "gift": rng.choice(GIFTS),
        "event": rng.choice(EVENTS),
        "day": rng.choice(DAYS),
        "town": rng.choice(TOWNS),
    }


def clock(rng: Random) -> Scene:
    """A start, a length in minutes, and the end, on a clock of 24 hours."""
    start, length = rng.randrange(6 * 60, 18 * 60, 5), rng.randrange(10, 180, 5)
    day = rng.randrange(7)
    return {
        "start": f"{start // 60}:{start % 60:02}",
        "length": length,
        "end": f"{(start + length) // 60}:{(start + length) % 60:02}",
        "day": DAYS[day],
        "next": DAYS[(day + 1) % 7],
        "previous": DAYS[day - 1],
        "what": rng.choice(("film", "concert", "lesson", "match", "train ride")),
    }


def heights(rng: Random) -> Scene:
    """Three people of different heights, told in a chain."""
    tallest, middle, shortest = rng.sample((*GIRLS, *BOYS), 3)
    high, mid, low = sorted(rng.sample(range(140, 200), 3), reverse=True)
    facts = [f"{middle} is {mid} cm tall", f"{tallest} is {high} cm", f"{shortest} is {low} cm"]
    told = ". ".join(rng.sample(facts, 3))
    return {"told": f"{told}.", "tallest": tallest, "middle": middle, "shortest": shortest}


def spelling(rng: Random) -> Scene:
    """A word and its letters."""
    word, other = rng.sample(NOUNS, 2)
    return {
        "word": word,
        "other": other,
        "letters": "-".join(word),
        "backwards": word[::-1],
        "count": len(word),
        "vowels": sum(letter in "aeiou" for letter in word),
        "initial": word[0],
        "earlier": min(word, other),
        "later": max(word, other),
    }


def shop(rng: Random) -> Scene:
    """Three goods with different prices."""
    goods, prices = rng.sample(GOODS, 3), rng.sample(range(3, 60), 3)
    pairs = [*zip(prices, goods, strict=True)]
    return {
        "list": ", ".join(f"{good} ${price}" for price, good in pairs),
        "lines": "\n".join(f"{good}: ${price}" for price, good in pairs),
        "cheapest": min(pairs)[1],
        "dearest": max(pairs)[1],
        "total": sum(prices),
        "by_price": ", ".join(good for _, good in sorted(pairs)),
    }


def rhyme(rng: Random) -> Scene:
    """Two words that rhyme, and somebody to tell of."""
    word, other = rng.choice(RHYMES)
    return {"word": word, "other": other, "name": rng.choice((*GIRLS, *BOYS))}
