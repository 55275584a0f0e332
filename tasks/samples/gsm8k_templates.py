"""Word-problem templates of the project's own, the raw material of the GSM8K-shaped rows.

In every text `[x|y]` is a choice of wording and `{field}` a value. A step's line holds its sum
once, as `{work}` (`3*4 = <<3*4=12>>12`) or, in dollars, as `{cash}` (`$3*4 = $<<3*4=12>>12`).
"""

from dataclasses import dataclass, field

POOLS = {
    "thing": ("stickers", "marbles", "cards", "beads", "coins", "shells", "stamps", "pencils"),
    "food": ("muffins", "cookies", "rolls", "pies", "pancakes", "buns", "tarts"),
    "fruit": ("apples", "plums", "pears", "lemons", "peaches", "figs", "melons"),
    "gear": ("lamps", "books", "shirts", "hats", "mugs", "games", "scarves"),
    "sport": ("swimming", "chess", "piano", "tennis", "drums", "yoga"),
    "plant": ("tomato", "pepper", "bean", "squash", "cucumber"),
}


@dataclass(frozen=True)
class Step:
    """One line of an answer: `result` is named and computed, left to right, by `formula`."""

    result: str
    formula: str
    line: str


@dataclass(frozen=True)
class Template:
    """A family of problems: number ranges, numbers made from them, phrasings, and the solution."""

    ranges: dict[str, tuple[int, int]]
    questions: tuple[str, ...]
    steps: tuple[Step, ...]
    given: dict[str, str] = field(default_factory=dict)


BAKING = Template(
    {"a": (3, 9), "b": (4, 9), "c": (3, 11)},
    (
        "{name} bakes {a} trays of {food} with {b} {food} on each tray. {She} gives {c} of them to "
        "{other}. How many {food} does {name} have [left|now]?",
        "There are {b} {food} on [each|every] tray and {name} fills {a} trays. If {other} eats {c} "
        "{food}, how many {food} are left?",
    ),
    (
        Step("d", "[a * b|b * a]", "{name} [bakes|makes|starts with] {work} {food}[ in total|]."),
        Step("e", "d - c", "[After that|Then|So] [{she}|{name}] has {work} {food} [left|now]."),
    ),
)
SAVINGS = Template(
    {"a": (5, 12), "b": (3, 8), "c": (5, 20), "d": (4, 14)},
    (
        "{name} saves ${a} [a|every|each] week for {b} weeks. {Her} [aunt|uncle|neighbor] gives "
        "{him} ${c} more. Then {she} spends ${d} on {gear}. How much money does {name} have left?",
        "For {b} weeks, {name} puts ${a} a week in a jar. {She} adds ${c} from {her} birthday and "
        "takes out ${d} to buy {thing}. How [much is|many dollars are] in the jar?",
    ),
    (
        Step("e", "[a * b|b * a]", "[In {b} weeks|First], {name} [saves|puts away] {cash}."),
        Step("f", "[e + c|c + e]", "[With the gift|Then] {she} has {cash}[ in all|]."),
        Step("g", "f - d", "After [spending|paying] ${d}, {name} has {cash}[ left|]."),
    ),
)
PICKING = Template(
    {"a": (8, 40), "b": (2, 7)},
    (
        "{name} picks {a} {fruit}. {other} picks twice as many {fruit} as {name}, but drops {b} of "
        "them. How many {fruit} do they have [together|in total|altogether]?",
        "At the farm {name} gathers {a} {fruit} and {other} gathers double that. If {other} then "
        "loses {b} {fruit}, how many {fruit} do the two [have|bring home]?",
    ),
    (
        Step("c", "[a * 2|2 * a]", "{other} [picks|gathers|starts with] {work} {fruit}."),
        Step("d", "c - b", "[After the loss|Then], {other} [has|keeps] {work}[ {fruit}|]."),
        Step("e", "[a + d|d + a]", "[Together|In total|So] they have {work} {fruit}."),
    ),
)
SHARING = Template(
    {"a": (2, 6), "k": (2, 5), "m": (2, 4)},
    (
        "{name} has {a} boxes with {b} {thing} in each. {She} shares all the {thing} equally among "
        "{k} friends. How many {thing} does each friend get?",
        "{name} opens {a} boxes of {b} {thing} and [splits|divides] them evenly between {k} "
        "[cousins|classmates]. How many {thing} does each one [get|receive]?",
    ),
    (
        Step("c", "[a * b|b * a]", "[There are|{name} has] {work} {thing}[ in all|]."),
        Step("d", "c / k", "[Each one|So each|Each person] [gets|receives] {work} {thing}."),
    ),
    given={"b": "k * m"},
)
SHOPPING = Template(
    {"a": (2, 6), "b": (2, 8), "c": (2, 5), "d": (2, 9)},
    (
        "{name} buys {a} {food} for ${b} each and {c} {gear} for ${d} each. {She} pays with $100. "
        "How much change does {name} get?",
        "At the [market|store], {food} cost ${b} each and {gear} cost ${d} each. {name} takes {a} "
        "{food} and {c} {gear} and hands over $100. [What is {her}|How much is the] change?",
    ),
    (
        Step("e", "a * b", "[The {food} cost|{name} pays for the {food}] {cash}."),
        Step("f", "c * d", "[The {gear} cost|{name} pays for the {gear}] {cash}."),
        Step("g", "[e + f|f + e]", "[Together that is|The total is|In all it costs] {cash}."),
        Step("h", "100 - g", "[The change is|So {she} gets back|{name} gets] {cash}."),
    ),
)
READING = Template(
    {"h": (20, 50), "c": (5, 18)},
    (
        "{name} has a book of {p} pages. On [Monday|Friday] {she} reads half of it and the next "
        "day {she} reads {c} pages. How many pages are left?",
        "A book has {p} pages. {name} reads half of the book, then {c} more pages. How many pages "
        "does {she} still have to read?",
    ),
    (
        Step("d", "p / 2", "[First|On the first day], {name} reads {work} pages."),
        Step("e", "[d + c|c + d]", "[In total|So far|Then] {she} has read {work} pages."),
        Step("f", "p - e", "[There are|{name} has|That leaves] {work} pages[ left| to read|]."),
    ),
    given={"p": "h * 2"},
)
WAGES = Template(
    {"a": (6, 12), "b": (2, 6), "c": (2, 6), "d": (3, 19)},
    (
        "{name} earns ${a} an hour. {She} works {b} hours on Saturday and {c} hours on Sunday, "
        "then spends ${d} on [lunch|a gift]. How much does {she} have left?",
        "{name} worked {b} hours on Monday and {c} hours on Tuesday for ${a} per hour. After "
        "paying {other} ${d}, how much [money does|does] {name} keep?",
    ),
    (
        Step("e", "[b + c|c + b]", "{name} [works|worked] {work} hours[ in all|]."),
        Step("f", "[e * a|a * e]", "[For this|So] {she} [earns|earned|makes] {cash}."),
        Step("g", "f - d", "[{name}|Then {she}] has {cash} [left|after paying]."),
    ),
)
COMMUTE = Template(
    {"a": (2, 9), "b": (3, 6), "c": (3, 15)},
    (
        "{name} [bikes|walks] {a} miles to work and {a} miles back, {b} days a week. On Sunday "
        "{she} goes {c} miles more. How many miles is that [a|each] week?",
        "The school is {a} miles from home. {name} rides there and back {b} days a week and also "
        "runs {c} miles on the weekend. How many miles does {name} cover?",
    ),
    (
        Step("d", "[a * 2|2 * a|a + a]", "[Each day|Every day|There and back] is {work} miles."),
        Step("e", "[d * b|b * d]", "[In {b} days|That week], {name} [goes|covers] {work} miles."),
        Step("f", "[e + c|c + e]", "[In total|With the rest|So] {she} goes {work} miles."),
    ),
)
