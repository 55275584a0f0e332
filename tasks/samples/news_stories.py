"""Invented news, the raw material of the rows shaped like CNN/Daily Mail and XSum.

In every text `[x|y]` is a choice of wording and `{field}` a value: one of the story's own `facts`,
or of the cast that all stories share (`news_rows.CAST`). Nobody and no place in it is real.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Story:
    """One kind of news.

    `lead` says in one sentence what happened; `core` tells it in sentences that hold every fact
    of `highlights` and `summary`; `more` are sentences that may be left out.
    """

    facts: Mapping[str, Any]
    lead: str
    core: tuple[str, ...]
    more: tuple[str, ...]
    highlights: tuple[str, ...]
    summary: str


FIRE = Story(
    {"building": ("bakery", "warehouse", "barn", "hotel", "paint shop"), "n": (12, 60)},
    "A [large |big |]fire [destroyed|gutted|tore through] a {building} in {town} on {day}.",
    (
        "[Flames|Smoke] [broke out|was seen|spread] at the {building} in {town} [shortly|just] "
        "after {hour} on {day}.",
        "About {n} firefighters [worked|fought] for {few} hours to [put it out|stop the blaze].",
        "[No one|Nobody] was [hurt|injured], but the roof [fell in|collapsed].",
    ),
    (
        "[Neighbors|Residents] were told to keep their windows [closed|shut].",
        "Fire chief {last} said the cause was [not yet known|being investigated].",
        "The {building} was built {years} years ago[ and employed {few} people|].",
        "{road} [stayed closed|was closed] until the [next morning|evening].",
    ),
    (
        "Fire [destroys|guts] {building} in {town}",
        "{n} firefighters [worked|fought] for {few} hours",
        "[No one|Nobody] was [hurt|injured]",
    ),
    "About {n} firefighters have [tackled|fought] a [blaze|fire] at a {building} in {town}.",
)
BRIDGE = Story(
    {"n": (2, 40), "thing": ("bridge", "tunnel", "tram line", "cycle path")},
    "A new {thing} that cost ${n} million opened in {town} on {day}.",
    (
        "[Hundreds|Dozens] of people [came|turned out] to see the {thing} in {town} on {day}.",
        "It [cost|took] ${n} million[ to build|] and {few} years of work.",
        "Mayor {who} [cut the ribbon|opened it] at {hour}.",
    ),
    (
        "It [links|joins] the old harbor with the [northern|southern|eastern] part of town.",
        "Planners expect {crowd} people to use it [every|each] day.",
        "The work was late by {weeks} weeks because of [heavy rain|a lack of steel].",
        "Shops on {road} hope for more [visitors|customers].",
    ),
    (
        "${n} million {thing} opens in {town}",
        "Mayor {last} [cuts the ribbon|opens it] after {few} years of work",
        "It opened on {day}",
    ),
    "The mayor of {town} has opened a {thing} [that cost|worth] ${n} million.",
)
FLOOD = Story(
    {"n": (20, 90), "river": ("Arle", "Tamsin", "Wend", "Corrow")},
    "[Heavy|Hours of heavy] rain [flooded|put water into] {n} homes in {town} on {day}.",
    (
        "The river {river} burst its banks in {town} [shortly|just] after {hour} on {day}.",
        "Water [ran into|entered|filled] {n} homes, and {few} roads were [closed|blocked].",
        "[Families|Residents] spent the night in [a school|a sports hall|the town hall].",
    ),
    (
        "It was the worst flood for {years} years, [officials|experts] said.",
        "Volunteers handed out [blankets and soup|dry clothes|hot drinks].",
        "[Forecasters|The weather service] expect[ed|] more rain by the [weekend|evening].",
        "{who}, who lives on {road}, lost [a car|a piano|all the furniture].",
    ),
    (
        "{n} homes are flooded in {town}",
        "River {river} burst its banks on {day}",
        "[Families|Residents] spent the night [in shelters|away from home]",
    ),
    "[About|Some] {n} homes in {town} have been flooded after the river {river} burst its banks.",
)
RESCUE = Story(
    {"n": (2, 9), "mount": ("Mount Brack", "Grey Fell", "the Torrin hills", "Eagle Ridge")},
    "{n} hikers were [rescued|saved] from {mount} near {town} on {day}.",
    (
        "The {n} hikers [got lost|lost their way] on {mount} in [thick fog|deep snow] on {day}.",
        "A [helicopter|team with dogs] from {town} [found|reached] them after {few} hours.",
        "They were [cold|tired] but [well|unhurt].",
    ),
    (
        "One of them, {who}, had called for help at {hour}.",
        "Rescuers [warned|advised] walkers to [carry a map|check the weather|take a light].",
        "It was the team's {weeks}th call this year.",
        "The group had [set out|left] from a hut on {road}.",
    ),
    (
        "{n} hikers are [rescued|saved] from {mount}",
        "They [got lost|lost their way] on {day}",
        "A team from {town} found them after {few} hours",
    ),
    "{n} hikers who [got lost|lost their way] on {mount} have been found [safe|alive and well].",
)
THEFT = Story(
    {"n": (10, 90), "thing": ("silver cup", "gold ring", "painting", "violin", "clock")},
    "Thieves [stole|took] a {thing} worth ${n},000 from a museum in {town}.",
    (
        "The {thing}, worth ${n},000, was [stolen|taken] from the {town} museum on {day}.",
        "[Two|Three] people [broke|smashed] a window at {hour} and fled in a [van|gray car].",
        "Police [arrested|held] a suspect {few} days later.",
    ),
    (
        "Director {who} said the {thing} was {years} years old.",
        "The alarm had been [switched off|out of order] for {weeks} weeks.",
        "Officers [asked|appealed to] anyone who was on {road} to come forward.",
        "The museum will [stay closed|be closed] until further notice.",
    ),
    (
        "{thing} worth ${n},000 is stolen in {town}",
        "The thieves fled after they broke a window",
        "Police [arrest|hold] a suspect {few} days later",
    ),
    "A [suspect has|man has] been arrested after a {thing} was stolen from a museum in {town}.",
)
FACTORY = Story(
    {"n": (40, 400), "product": ("bicycles", "toys", "glass", "furniture", "shoes", "tiles")},
    "A factory that makes {product} will [close|shut] in {town}, with the loss of {n} jobs.",
    (
        "Workers at the {product} factory in {town} [heard|learned] the news on {day}.",
        "The owners said {n} jobs would go because of [high|rising] [costs|energy prices].",
        "The site will [close|shut] in {weeks} weeks.",
    ),
    (
        "The factory has made {product} for {years} years.",
        "Union leader {who} called it [a sad day|a hard blow] for the town.",
        "The council [promised|offered] to help with [training|new jobs].",
        "Sales fell [sharply|by half] last year, the company said.",
    ),
    (
        "{n} jobs go as {town} factory [closes|shuts]",
        "Owners blame [costs|prices]",
        "The site will [close|shut] in {weeks} weeks",
    ),
    "A {product} factory in {town} is to [close|shut] and {n} [people|workers] will lose their "
    "jobs.",
)
MAYOR = Story(
    {"n": (51, 79), "promise": ("cheaper buses", "new parks", "more homes", "safer streets")},
    "{who} was elected mayor of {town} with {n} percent of the vote on {day}.",
    (
        "[Voters|People] in {town} went to the polls on {day}.",
        "{who}, a former [teacher|nurse|farmer], won {n} percent of the vote.",
        "{last} [promised|pledged] {promise}[ for all|].",
    ),
    (
        "The new mayor will take office in {weeks} weeks.",
        "The loser, {who2}, [called|rang] to congratulate the winner.",
        "Turnout was the highest for {years} years.",
        "Supporters [danced|sang] on {road} until {hour}.",
    ),
    (
        "{who} is elected mayor of {town}",
        "{last} won {n} percent of the vote",
        "New mayor [promises|pledges] {promise}",
    ),
    "{who} will be the [next|new] mayor of {town} after [a clear|an] election win.",
)
MATCH = Story(
    {"n": (2, 6), "m": (0, 1), "team": ("Rovers", "United", "Athletic", "Wanderers")},
    "{town} {team} beat {town2} {n}-{m} on {day} to reach the cup final.",
    (
        "{town} {team} [were|looked] the better side against {town2} on {day}.",
        "{who} scored [twice|two goals] in the [first|second] half, and it ended {n}-{m}.",
        "{team} will play in the cup final in {weeks} weeks.",
    ),
    (
        "A crowd of {crowd} [watched|saw] the game.",
        "Coach {who2} [praised|thanked] the [young players|defense|fans].",
        "It is the club's first final for {years} years.",
        "{town2} had a player sent off after {few} minutes.",
    ),
    (
        "{town} {team} beat {town2} {n}-{m}",
        "{who} scored [twice|two goals]",
        "{team} reach the cup final",
    ),
    "{who} scored [twice|two goals] as {town} {team} beat {town2} to [reach|get to] the cup final.",
)
DISCOVERY = Story(
    {"n": (3, 30), "animal": ("frog", "beetle", "lizard", "bat", "spider")},
    "Scientists [have found|found] a new kind of {animal} in a forest near {town}.",
    (
        "The {animal} is [only|just] {n} millimeters long and [lives|was found] near {town}.",
        "{who} of the University of {town2} [saw|spotted] it [on a walk|by chance] last {month}.",
        "It had [never|not] been described before.",
    ),
    (
        "The team [spent|needed] {few} years to be sure that it was new.",
        "It will be named after the [river|valley|village] where it was found.",
        "Fewer than {crowd} are thought to be [alive|left].",
        "The forest may now [become a park|be protected].",
    ),
    (
        "New kind of {animal} is found near {town}",
        "It is {n} millimeters long",
        "{who} [saw|spotted] it last {month}",
    ),
    "A {animal} that is [only|just] {n} millimeters long has been discovered near {town}.",
)
