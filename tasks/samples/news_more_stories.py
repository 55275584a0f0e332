"""The second half of the invented news, and `STORIES`, the whole list."""

from tasks.samples import news_stories as first
from tasks.samples.news_stories import Story

LIBRARY = Story(
    {"n": (3, 30), "place": ("library", "swimming pool", "youth club", "theater")},
    "[People|Residents] in {town} [have saved|saved] their {place} from [closing|closure].",
    (
        "The council wanted to close the {place} in {town} to save ${n}0,000[ a year|].",
        "More than {crowd} people signed a petition [against the plan|started by {who}].",
        "On {day} the council [voted|decided] to keep it open.",
    ),
    (
        "The {place} on {road} is {years} years old.",
        "Volunteers will run it for {few} days a week.",
        "Councillor {who2} said the town had [made itself heard|spoken clearly].",
        "A [party|concert] will be held there in {month}.",
    ),
    (
        "{town} {place} stays open",
        "More than {crowd} people signed a petition",
        "Council had wanted to save ${n}0,000",
    ),
    "Plans to close a {place} in {town} have been dropped after a petition by {crowd} people.",
)
FERRY = Story(
    {"n": (30, 300), "boat": ("Sea Lark", "Northern Star", "Silver Tern", "Lady Ann")},
    "{n} passengers were stuck on the ferry {boat} off {town} on {day}.",
    (
        "The {boat} left {town} at {hour} on {day} with {n} passengers.",
        "Its engine [failed|stopped|caught fire] after {few} miles[ at sea|].",
        "A [tug|fishing boat|lifeboat] [pulled|towed] it back to the harbor.",
    ),
    (
        "Captain {who} said [nobody|no one] had been in danger.",
        "Passengers were given [free tickets|a hot meal|their money back].",
        "The ferry is {years} years old and was repaired in {month}.",
        "Sailings will [start|begin] again in {weeks} days.",
    ),
    (
        "{n} passengers stuck on ferry off {town}",
        "The engine of the {boat} [failed|stopped|caught fire]",
        "A boat [pulled|towed] it back to the harbor",
    ),
    "A ferry with {n} [people|passengers] on board has been towed back to {town}.",
)
PRIZE = Story(
    {"n": (9, 17), "made": ("a solar oven", "a robot arm", "a rain alarm", "a talking map")},
    "A pupil aged {n} from {town} won a national science prize for {made}.",
    (
        "{who}, {n}, built {made} in the [garage|kitchen] at home in {town}.",
        "The judges [gave|handed] the national science prize to {last} on {day}.",
        "It comes with ${few},000 [for the school|and a trip to {town2}].",
    ),
    (
        "The work took {weeks} weeks and [used|needed] only old parts.",
        "Teacher {who2} said the whole school was [proud|delighted].",
        "More than {crowd} pupils [took part|entered].",
        "{last} wants to [study physics|become an engineer|sell the idea].",
    ),
    (
        "{who} wins national science prize",
        "The pupil from {town} built {made}",
        "The prize comes with ${few},000",
    ),
    "A pupil from {town} who built {made} at home has won a national prize.",
)
DOG = Story(
    {"n": (10, 90), "dog": ("Biscuit", "Pepper", "Rolo", "Tinker", "Maple")},
    "A dog named {dog} [came home|was found] {weeks} weeks after it ran away in {town}.",
    (
        "{dog} ran away from a [garden|farm] in {town} [during a storm|last {month}].",
        "[A walker|A driver|A farmer] found the dog {n} miles away, near {town2}, on {day}.",
        "Owner {who} [had|had almost] given up hope after {weeks} weeks.",
    ),
    (
        "{dog} had lost [weight|a collar] but was [well|in good health].",
        "The family had put up {crowd} posters.",
        "A vet on {road} read the chip and called {last} at {hour}.",
        "{dog}, who is {few} years old, slept all the way home.",
    ),
    (
        "{dog} the dog is found after {weeks} weeks",
        "It ran away in {town}",
        "Dog was {n} miles away, near {town2}",
    ),
    "A dog that ran away in {town} has been found {n} miles away after {weeks} weeks.",
)
FESTIVAL = Story(
    {"n": (5, 50), "what": ("music", "food", "film", "kite", "book")},
    "The {what} festival in {town} was [called off|canceled] because of [storms|strong winds].",
    (
        "The {town} {what} festival was to [start|begin] on {day} with {n} [acts|guests].",
        "[Storms|Strong winds] [blew down|damaged] the main tent at {hour}.",
        "Organizer {who} said everyone would [get|have] their money back.",
    ),
    (
        "About {crowd} tickets had been sold.",
        "It is the first time in {years} years that it is not held.",
        "Hotels on {road} [lost|reported the loss of] {weeks} bookings.",
        "A smaller event may [follow|be held] in {month}.",
    ),
    (
        "{town} {what} festival is [called off|canceled]",
        "[Storms|Winds] damaged the main tent",
        "Visitors will get their money back",
    ),
    "A {what} festival in {town} has been [called off|canceled] after its main tent was damaged.",
)
POWER = Story(
    {"n": (2, 30), "cause": ("a fallen tree", "a swan", "a digger", "lightning")},
    "{n},000 homes in {town} lost power on {day} because of {cause}.",
    (
        "Lights went out in {town} at {hour} on {day}.",
        "Engineers found that {cause} had [cut|damaged] a line near {road}.",
        "Power came back to the {n},000 homes after {few} hours.",
    ),
    (
        "Two schools and a clinic had to [close|use candles].",
        "The company [said sorry|apologized] and will pay each home ${weeks}.",
        "{who} said trains to {town2} were [late|stopped] too.",
        "It was the {few}th power cut since {month}.",
    ),
    (
        "{n},000 homes lose power in {town}",
        "Engineers [blame|find that] {cause}[ for it| did it]",
        "Power came back after {few} hours",
    ),
    "Power is back in {town} after {cause} left {n},000 homes in the dark.",
)
RUNNER = Story(
    {"n": (18, 79), "race": ("marathon", "mountain race", "bicycle tour", "lake swim")},
    "{who}, {n}, won the {town} {race} in record time on {day}.",
    (
        "{crowd} people [took part|started] in the {race} in {town} on {day}.",
        "{who}, who is {n}, [finished|came in] first, {few} minutes ahead of {who2}.",
        "It was a record for the race, which is held [every|each] {month}.",
    ),
    (
        "{last} trains for {weeks} hours a week[ on {road}|].",
        "The old record had stood for {years} years.",
        "[Rain|Heat] made the [last|first] miles [hard|slow].",
        "The winner gave the prize money to a [hospital|school].",
    ),
    (
        "{who} wins {town} {race}",
        "The winner, {n}, sets a record",
        "{who2} came in {few} minutes later",
    ),
    "{who} has set a record at the {race} in {town}.",
)
CLINIC = Story(
    {"n": (10, 80), "ward": ("children's ward", "skin clinic", "heart center", "birth center")},
    "The hospital in {town} will [get|build] a {ward} with {n} beds.",
    (
        "The {town} hospital [has|had] waited {years} years for a {ward}.",
        "On {day} the [region|government] [agreed|promised] to pay ${few} million for it.",
        "It will have {n} beds and [open|be ready] in {month}.",
    ),
    (
        "Patients now have to travel to {town2}.",
        "Doctor {who} said it would [save lives|cut waiting times].",
        "About {weeks} nurses will be hired.",
        "It will stand on {road}, where a car park is now.",
    ),
    (
        "{town} hospital gets {ward}",
        "It will have {n} beds",
        "The [work|building] will cost ${few} million",
    ),
    "A {ward} with {n} beds is to be built at the hospital in {town}.",
)
COURT = Story(
    {"n": (20, 900), "firm": ("Brisco Paints", "Halden Foods", "Tarn Paper", "Ostara Farms")},
    "{firm} was fined ${n},000 for [polluting|poisoning] a river near {town}.",
    (
        "[Waste|Oil] from a plant of {firm} ran into a river near {town} last {month}.",
        "More than {crowd} fish [died|were killed].",
        "A judge [fined the company|told the company to pay] ${n},000 on {day}.",
    ),
    (
        "The company [admitted|denied] that a [tank|pipe] had leaked for {few} days.",
        "{who}, who fishes there, said the river would need {years} years.",
        "Swimming is still [banned|not allowed] at {road}.",
        "A spokesman said {weeks} new filters had been [bought|fitted].",
    ),
    (
        "{firm} is fined ${n},000",
        "[Waste|Oil] ran into a river near {town}",
        "More than {crowd} fish died",
    ),
    "A company that [killed|poisoned] fish in a river near {town} has been fined ${n},000.",
)

STORIES = (
    *(value for value in vars(first).values() if isinstance(value, Story)),
    *(LIBRARY, FERRY, PRIZE, DOG, FESTIVAL, POWER, RUNNER, CLINIC, COURT),
)
