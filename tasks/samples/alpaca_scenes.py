"""What the Alpaca-shaped rows are about: each scene draws values that several forms share.

Every value that a form may print is computed here from those drawn, so it is right by construction.
"""

from random import Random
from typing import Any

from tasks.samples.wording import BOYS, GIRLS

Scene = dict[str, Any]
KINDS = {
    "fruit": ("apple", "banana", "cherry", "grape", "lemon", "melon", "peach", "plum"),
    "animal": ("badger", "camel", "donkey", "eagle", "fox", "goat", "horse", "lizard"),
    "tool": ("axe", "chisel", "drill", "hammer", "ladder", "pliers", "saw", "wrench"),
    "garment": ("belt", "coat", "dress", "glove", "hat", "jacket", "scarf", "shirt"),
    "vehicle": ("bicycle", "bus", "canoe", "ferry", "tractor", "train", "tram", "truck"),
}
NOUNS = tuple(noun for nouns in KINDS.values() for noun in nouns)
# base form, third person, past, and what is done
VERBS = (
    ("paint", "paints", "painted", "the fence"),
    ("write", "writes", "wrote", "a letter"),
    ("bake", "bakes", "baked", "a cake"),
    ("sing", "sings", "sang", "a song"),
    ("buy", "buys", "bought", "some bread"),
    ("fix", "fixes", "fixed", "the radio"),
    ("read", "reads", "read", "a map"),
    ("clean", "cleans", "cleaned", "the windows"),
    ("draw", "draws", "drew", "a castle"),
    ("carry", "carries", "carried", "the boxes"),
    ("grow", "grows", "grew", "tall roses"),
    ("find", "finds", "found", "a coin"),
)
PLACES = ("at home", "in the garden", "at school", "near the river", "in the park", "on the roof")
TIMES = ("every day", "on Mondays", "in summer", "at night", "after lunch")
# adjective, one that means the opposite, one that means much the same
ADJECTIVES = (
    ("happy", "sad", "glad"),
    ("big", "small", "large"),
    ("fast", "slow", "quick"),
    ("hard", "soft", "firm"),
    ("brave", "afraid", "bold"),
    ("rich", "poor", "wealthy"),
    ("loud", "quiet", "noisy"),
    ("cold", "hot", "chilly"),
    ("clever", "foolish", "smart"),
    ("old", "new", "ancient"),
    ("calm", "nervous", "peaceful"),
    ("strange", "normal", "odd"),
)
# invented country, its capital, river, language, dish, and beast
COUNTRIES = (
    ("Veloria", "Sarn", "the Ulm", "Velic", "plum soup", "the white heron"),
    ("Tamberland", "Ostwick", "the Grell", "Tambish", "smoked eel", "the red deer"),
    ("Quessa", "Port Anik", "the Solo", "Quessan", "fried beans", "the sea turtle"),
    ("Norrath Isle", "Hild", "the Frey", "Norric", "rye pancakes", "the gray seal"),
    ("Ambria", "Calonne", "the Vere", "Ambric", "lemon rice", "the golden hare"),
    ("Drushka", "Mirgrad", "the Volna", "Drush", "beet stew", "the brown bear"),
    ("Zembara", "Kito", "the Mwali", "Zemba", "corn bread", "the striped ox"),
    ("Ilvane", "Tesh", "the Orla", "Ilvi", "rose jam", "the mountain goat"),
    ("Portalba", "Ruvo", "the Lima", "Albano", "stuffed squid", "the blue crab"),
    ("Skellmark", "Thorsby", "the Brann", "Skellish", "dried cod", "the snow fox"),
)
JOBS = ("baker", "nurse", "pilot", "teacher", "farmer", "singer", "plumber", "dentist")
HOBBIES = ("chess", "swimming", "gardening", "painting", "fishing", "cooking", "hiking")
TOWNS = ("Ashmere", "Dunhollow", "Fernholt", "Greyport", "Larkham", "Norwick", "Stonebeck")


def words(rng: Random) -> Scene:
    """A list of different nouns and what can be said of it."""
    chosen = rng.sample(NOUNS, rng.randint(3, 6))
    return {
        "list": ", ".join(chosen),
        "sorted": ", ".join(sorted(chosen)),
        "reversed": ", ".join(reversed(chosen)),
        "by_length": ", ".join(sorted(chosen, key=len)),
        "upper": ", ".join(chosen).upper(),
        "count": len(chosen),
        "longest": max(chosen, key=len),
        "shortest": min(chosen, key=len),
        "first": chosen[0],
        "last": chosen[-1],
        "bullets": "\n".join(f"- {word}" for word in chosen),
        "numbered": "\n".join(f"{at}. {word}" for at, word in enumerate(chosen, 1)),
        "joined": f"{', '.join(chosen[:-1])} and {chosen[-1]}",
    }


def numbers(rng: Random) -> Scene:
    """A list of different numbers and what can be said of it."""
    chosen = rng.sample(range(2, 60), rng.randint(3, 5))
    evens = [num for num in chosen if num % 2 == 0]
    return {
        "list": ", ".join(map(str, chosen)),
        "ascending": ", ".join(map(str, sorted(chosen))),
        "descending": ", ".join(map(str, sorted(chosen, reverse=True))),
        "largest": max(chosen),
        "smallest": min(chosen),
        "evens": ", ".join(map(str, evens)) or "none",
        "a": chosen[0],
        "b": chosen[1],
        "sum": chosen[0] + chosen[1],
        "difference": max(chosen[:2]) - min(chosen[:2]),
        "parity": "odd" if chosen[0] % 2 else "even",
    }


def sentence(rng: Random) -> Scene:
    """Someone who does something somewhere, in several forms."""
    name = rng.choice((*GIRLS, *BOYS))
    base, third, past, thing = rng.choice(VERBS)
    place, time = rng.choice(PLACES), rng.choice(TIMES)
    present = f"{name} {third} {thing} {place} {time}"
    rest = f"{thing} {place} {time}"
    return {
        "name": name,
        "She": "She" if name in GIRLS else "He",
        "base": base,
        "third": third,
        "past": past,
        "thing": thing,
        "place": place,
        "time": time,
        "rest": rest,
        "present": present,
        "lower": present.lower(),
        "upper": present.upper(),
        "count": len(present.split()),
    }


def adjectives(rng: Random) -> Scene:
    """An adjective in a sentence, with its opposite and one that means the same."""
    word, opposite, same = rng.choice(ADJECTIVES)
    noun, name = rng.choice(NOUNS), rng.choice((*GIRLS, *BOYS))
    return {"word": word, "opposite": opposite, "same": same, "noun": noun, "name": name}


def country(rng: Random) -> Scene:
    """Facts about an invented country."""
    keys = ("country", "capital", "river", "language", "dish", "beast")
    return dict(zip(keys, rng.choice(COUNTRIES), strict=True)) | {"n": rng.randint(2, 90)}


def person(rng: Random) -> Scene:
    """Someone with an age, a town, a job, an address."""
    name, other = rng.sample((*GIRLS, *BOYS), 2)
    job, hobby, town = rng.choice(JOBS), rng.choice(HOBBIES), rng.choice(TOWNS)
    age = rng.randint(21, 79)
    mail = f"{name.lower()}{rng.randint(1, 99)}@{town.lower()}.example"
    she, her = ("she", "her") if name in GIRLS else ("he", "his")
    facts = {"name": name, "other": other, "job": job, "hobby": hobby, "town": town, "age": age}
    return facts | {"mail": mail, "she": she, "She": she.title(), "her": her, "Her": her.title()}
