"""The second half of the word-problem templates, and `TEMPLATES`, the whole list."""

from tasks.samples import gsm8k_templates as first
from tasks.samples.gsm8k_templates import Step, Template

AGES = Template(
    {"a": (4, 12), "b": (2, 4), "c": (3, 15)},
    (
        "{name} is {a} years old. {other} is {b} times as old as {name}. How old will {other} be "
        "in {c} years?",
        "{other} is {b} times as old as {name}, who is {a}. What [is|will be] the age of {other} "
        "{c} years from now?",
    ),
    (
        Step("d", "[a * b|b * a]", "[Now |Today |]{other} is {work} years old."),
        Step("e", "[d + c|c + d]", "In {c} years [{other}|{she2}] will be {work}[ years old|]."),
    ),
)
GARDEN = Template(
    {"a": (3, 6), "b": (4, 8), "c": (2, 8), "d": (2, 3)},
    (
        "{name} plants {a} rows of {b} {plant} plants. {c} of the plants die and each of the "
        "others is sold for ${d}. How much does {name} [earn|make]?",
        "In {her} garden, {name} grows {b} {plant} plants in each of {a} rows. [Rabbits|Birds] eat "
        "{c} plants. If {she} sells the rest at ${d} each, how much money does {she} get?",
    ),
    (
        Step("e", "[a * b|b * a]", "{name} [plants|grows|starts with] {work} plants."),
        Step("f", "e - c", "[Then|After that|Of these] {work} plants [are left|remain]."),
        Step("g", "[f * d|d * f]", "{name} [sells them for|earns|gets] {cash}[ in total|]."),
    ),
)
TANK = Template(
    {"a": (60, 99), "b": (3, 8), "c": (2, 7), "d": (5, 20)},
    (
        "A tank holds {a} gallons of water. It leaks {b} gallons an hour for {c} hours, and then "
        "{name} pours in {d} gallons. How many gallons are in the tank?",
        "{name} has a [barrel|tank] with {a} gallons of water and uses {b} gallons per hour. After "
        "{c} hours {she} adds {d} gallons. How much water is there now?",
    ),
    (
        Step("e", "[b * c|c * b]", "In {c} hours [the tank loses|it loses] {work} gallons."),
        Step("f", "a - e", "[This leaves|Then it has|So there are] {work} gallons."),
        Step(
            "g", "[f + d|d + f]", "[At the end|Now|Finally] there are {work} gallons[ of water|]."
        ),
    ),
)
TICKETS = Template(
    {"a": (7, 12), "b": (3, 6), "m": (2, 5), "n": (2, 7)},
    (
        "Tickets to the [zoo|museum|fair] cost ${a} for adults and ${b} for children. {name} buys "
        "{m} adult tickets and {n} child tickets. How much does {she} pay?",
        "{name} takes {m} adults and {n} children to a [play|show]. An adult pays ${a} and a child "
        "pays ${b}. What is the total cost?",
    ),
    (
        Step("c", "[m * a|a * m]", "The adult[s pay| tickets cost] {cash}."),
        Step("d", "[n * b|b * n]", "The child[ren pay| tickets cost] {cash}."),
        Step("e", "[c + d|d + c]", "[In total|So|Altogether], {name} [pays|spends] {cash}."),
    ),
)
COLLECTION = Template(
    {"a": (10, 40), "b": (2, 6), "c": (3, 9), "d": (2, 9)},
    (
        "{name} has {a} {thing}. {She} buys {b} packs of {c} {thing} and gives {d} {thing} to "
        "{other}. How many {thing} does {she} have [now|in the end]?",
        "After {name} bought {b} packs with {c} {thing} in each, {she} put them with {her} other "
        "{a} {thing}. Then {she} lost {d}. How many {thing} [remain|are left]?",
    ),
    (
        Step("e", "[b * c|c * b]", "[The packs hold|{name} buys|{name} gets] {work} {thing}."),
        Step("f", "[a + e|e + a]", "[Then|Now|With these] {she} has {work}[ {thing}|]."),
        Step("g", "f - d", "[In the end|Finally|So] {name} has {work} {thing}[ left|]."),
    ),
)
SCORES = Template(
    {"t": (8, 20), "b": (2, 9)},
    (
        "{name} scores {a} points in the first game and {b} points more in the second game. In the "
        "third, {she} scores half as many as in the second. How many points [is that|in total]?",
        "In round one {name} gets {a} points. In round two {she} gets {b} more than that, and in "
        "round three half of round two. What is the total score?",
    ),
    (
        Step("c", "[a + b|b + a]", "[Second|Next], {name} [scores|gets|has] {work} points."),
        Step("d", "c / 2", "[Third|Last], {she} [scores|gets|has] {work} points."),
        Step("e", "a + c + d", "[The total is|In all that is|{name} scores] {work} points."),
    ),
    given={"a": "t * 2 - b"},
)
BUS = Template(
    {"a": (30, 60), "b": (4, 15), "c": (3, 19), "d": (2, 9)},
    (
        "A [bus|train] leaves with {a} people. At the first stop {b} get off and {c} get on. At "
        "the next stop {d} get off. How many people are on [it|board] now?",
        "{name} drives a bus with {a} people. {b} people leave at the park, {c} board at the "
        "[mall|bank] and {d} leave at the school. How many people are still on the bus?",
    ),
    (
        Step("e", "a - b", "[After the first|At first] {b} leave, there are {work} people."),
        Step("f", "[e + c|c + e]", "[Then|With the new ones|Next] there are {work}[ people|]."),
        Step("g", "f - d", "[In the end|Finally|So] {work} people are [on board|on it|left]."),
    ),
)
COUPON = Template(
    {"k": (1, 3), "b": (5, 12), "j": (1, 4)},
    (
        "{name} and {other} buy {a} {gear} at ${b} each. They use a coupon for ${c} off and split "
        "the cost [equally|evenly]. How much does each pay?",
        "{gear} are ${b} each. {name} orders {a} of them with a ${c} discount and shares the bill "
        "equally with {other}. How [much|many dollars] does {name} pay?",
    ),
    (
        Step("d", "[a * b|b * a]", "[The {gear} cost|The full price is] {cash}."),
        Step("e", "d - c", "[With the coupon|After the discount], [it|that] is {cash}."),
        Step("f", "e / 2", "[Each pays|So each pays|{name} pays] {cash}."),
    ),
    given={"a": "k * 2", "c": "j * 2"},
)
PRACTICE = Template(
    {"a": (10, 30), "b": (15, 45)},
    (
        "{name} practices {sport} for {a} minutes on each of 5 weekdays and {b} minutes on each of "
        "the 2 weekend days. How many minutes does {she} practice [a week|in all]?",
        "On every weekday {name} does {a} minutes of {sport}. On Saturday and on Sunday {she} does "
        "{b} minutes. How many minutes of {sport} is that in a week?",
    ),
    (
        Step(
            "c", "[5 * a|a * 5]", "[On weekdays|From Monday to Friday] {she} does {work} minutes."
        ),
        Step("d", "[2 * b|b * 2]", "[On|Over] the weekend {she} does {work} minutes."),
        Step("e", "[c + d|d + c]", "[In total|So|In a week], {name} does {work} minutes."),
    ),
)
SHELVES = Template(
    {"b": (2, 6), "m": (3, 12), "c": (2, 15)},
    (
        "{name} puts {a} {gear} on {b} shelves, the same number on each. Later {she} adds {c} more "
        "to each shelf. How many {gear} are on one shelf?",
        "A [shop|store] has {a} {gear} spread evenly on {b} shelves. {name} brings {c} more {gear} "
        "for each shelf. How many are on each shelf [then|now]?",
    ),
    (
        Step("d", "a / b", "[Each shelf has|At first each shelf has|One shelf has] {work} {gear}."),
        Step("e", "[d + c|c + d]", "[Then|Now|After that] each [shelf|one] has {work} {gear}."),
    ),
    given={"a": "b * m"},
)

TEMPLATES = (
    *(value for value in vars(first).values() if isinstance(value, Template)),
    *(AGES, GARDEN, TANK, TICKETS, COLLECTION, SCORES, BUS, COUPON, PRACTICE, SHELVES),
)
