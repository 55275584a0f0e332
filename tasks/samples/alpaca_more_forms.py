"""The second half of the instruction forms, and `SHORT`, all with short answers."""

from tasks.samples import alpaca_forms as first
from tasks.samples import alpaca_more_scenes as more
from tasks.samples import alpaca_scenes as scenes
from tasks.samples.alpaca_forms import Form

FACTS = (
    Form(
        scenes.country,
        "[What is the capital of {country}?|Name the capital of {country}.|"
        "Which city is the capital of {country}?]",
        "[The capital of {country} is {capital}.|It is {capital}.]",
    ),
    Form(
        scenes.country,
        "[Which|What] language [is spoken|do people speak] in {country}?",
        "[People in {country} speak {language}.|They speak {language} there.]",
    ),
    Form(
        scenes.country,
        "[Write|Give me] [some|three] [sentences|facts] about {country}.",
        "{country} [lies on {river}|is a country on {river}]. Its capital is {capital}. [Visitors "
        "like its {dish}|It is known for {dish}] and {beast} is its national animal.",
    ),
    Form(
        scenes.country,
        "[Suggest|Recommend] a {n}-day [trip|holiday] in {country}.",
        "[Start|Begin] in {capital}, [the capital|where most people live]. [Then|After that] "
        "follow {river} by boat for {n} days. [Try|Do not miss] the {dish}.",
    ),
    Form(
        scenes.country,
        "[Answer from the text|Read the text]: [what is the river called|which river is it on]?",
        "[The river is {river}.|It is {river}.]",
        "{country} has {n} million people. Its capital, {capital}, lies on {river}. The "
        "national dish is {dish}.",
    ),
    Form(
        scenes.person,
        "[Find|Extract|Give] the email address.",
        "{mail}",
        "{name} works as a {job} in {town}. [Write to|Mail|Contact] {mail} [for|with] questions.",
    ),
    Form(
        scenes.person,
        "[Write|Give] [this|the text] as JSON with [the keys |]name, age and town.",
        '{{"name": "{name}", "age": {age}, "town": "{town}"}}',
        "{name} is a {job} from {town}[, aged {age}| who is {age}].",
    ),
    Form(
        scenes.person,
        "[Write|Compose] a short introduction [of|for] {name}, a {job} from {town}.",
        "This is {name}[, a {job} from {town}|, who works as a {job} in {town}]. [{She} likes|In "
        "{her} free time {she} enjoys] {hobby}[ and good food|| and music].",
    ),
    Form(
        scenes.person,
        "[Describe|Summarize] the person in one sentence.",
        "{name} is a {age}-year-old {job} from {town} who [likes|enjoys] {hobby}.",
        "Name: {name}\nAge: {age}\nJob: {job}\nTown: {town}\nHobby: {hobby}",
    ),
    Form(
        scenes.person,
        "[Say|Tell me] how old {name} is and what {her} job is.",
        "{name} is a {job} of {age} years.",
        "{name}, {age}, and {other} live in {town}. {name} is a {job} and {other} likes {hobby}.",
    ),
)
MORE = (
    Form(
        more.kinds,
        "Which word does not [belong|fit][ with the others|]?",
        "[{odd} does not belong, since it is no {kind}.|It is {odd}. The others are {kind}s.]",
        "{mixed}",
    ),
    Form(
        more.kinds,
        "[Classify|Sort] the words [into|as] {kind}s and {other}s.",
        "{kind}s: {group}. {other}s: {odd}.",
        "{mixed}",
    ),
    Form(
        more.kinds,
        "[What do these things have in common?|Say what the three have in common.]",
        "[They are all {kind}s.|Each of them is a kind of {kind}.]",
        "{three}",
    ),
    Form(
        more.kinds,
        "[Which|What] kind is a {one}: {kind} or {other}?",
        "[The kind is {kind}.|{kind}|It is of the kind {kind}.]",
    ),
    Form(
        more.tolan,
        "Translate [the phrase |this |]into Tolan.",
        "{tolan}",
        "{english}",
    ),
    Form(
        more.tolan,
        "[What does this Tolan phrase mean?|Translate this from Tolan into English.]",
        "{english}",
        "{tolan}",
    ),
    Form(
        more.units,
        "[Convert|Change|Turn] {amount} {large} [to|into] {little}.",
        "[{amount} {large} are {converted} {little}.|{amount} x {factor} = {converted} {little}.]",
    ),
    Form(
        more.units,
        "How many {little} are [there |]in {amount} {large}?",
        "[There are {converted} {little} in {amount} {large}.|{converted} {little}.]",
    ),
    Form(
        more.definition,
        "[Define|Explain] the word '{thing}'[ in one sentence|].",
        "A {thing} is {genus} [used for|for] {use}.",
    ),
    Form(
        more.definition,
        "What [do you|does one] call {genus} [for|used for] {use}?",
        "[It is|That is] a {thing}.",
    ),
    Form(
        more.definition,
        "[Why|For what] does {name} [in|from] {town} [need|want] a {thing}?",
        "{name} [needs|wants] a {thing} for {use}.",
    ),
    Form(
        more.steps,
        "[Explain|Tell {who}|Describe] how to {task}[ in three steps|].",
        "1. {one}.\n2. {two}.\n3. {three}.",
    ),
    Form(
        more.steps,
        "{who} wants to {task}. [Put the steps|Arrange the steps] in the right order.",
        "1. {one}.\n2. {two}.\n3. {three}.",
        "{mixed}",
    ),
    Form(
        more.review,
        "[Classify|Label] the [review|opinion] as positive or negative.",
        "[{feeling}|The review is {feeling}.]",
        "{text}",
    ),
    Form(
        more.review,
        "How many stars, 1 or 5, [would this customer give|does this review deserve]?",
        "[The customer {feels}|This review is {feeling}], so {stars}.",
        "{text}",
    ),
    Form(
        more.clock,
        "[When|At what time] does a {what} end that starts at {start} and lasts {length} minutes?",
        "[It ends at|The {what} ends at] {end}.",
    ),
    Form(
        more.clock,
        "[Which|What] day [comes|is] [right |]after {day}[, and which before it|]?",
        "{next} comes after {day}, and {previous} before it.",
    ),
    Form(
        more.heights,
        "Who is the tallest[, and who is the shortest|]?",
        "{tallest} is the tallest and {shortest} is the shortest.",
        "{told}",
    ),
    Form(
        more.heights,
        "[List|Name] the people [by height, tallest first|from tall to short].",
        "{tallest}, {middle}, {shortest}",
        "{told}",
    ),
    Form(more.spelling, "Spell[ out|] the word '{word}'[ letter by letter|].", "{letters}"),
    Form(
        more.spelling,
        "[Write|Spell] the word '{word}' backwards.",
        "[{backwards}|Backwards it is {backwards}.]",
    ),
    Form(
        more.spelling,
        "How many letters [and vowels |]does '{word}' have?",
        "'{word}' has {count} letters[,| and] {vowels} of them vowels.",
    ),
    Form(
        more.spelling,
        "Which comes first in [the dictionary|alphabetical order], '{word}' or '{other}'?",
        "'{earlier}' comes before '{later}'.",
    ),
    Form(
        more.shop,
        "[Which item is the cheapest, and which the most expensive?|Name the cheapest and the most "
        "expensive item.]",
        "The {cheapest} is the cheapest and the {dearest} is the most expensive.",
        "{list}",
    ),
    Form(
        more.shop,
        "[Put|Write|Show] each [item|price] on a line of its own.",
        "{lines}",
        "{list}",
    ),
    Form(more.shop, "[Sort|Order] the items by price, cheapest first.", "{by_price}", "{list}"),
    Form(
        more.rhyme,
        "[Write|Make] a [two-line rhyme|short rhyme|couplet] about {name} and a {word}.",
        "[{name} once had|Little {name} found|Then {name} saw] a {word},\n[and put it|then left it|"
        "and hid it] near a {other}.",
    ),
    Form(
        more.rhyme,
        "[Find|Give {name}|Tell me] a word that rhymes with '{word}'.",
        "['{other}' rhymes with '{word}'.|{other}]",
    ),
)
SHORT = (*first.LISTS, *first.SENTENCES, *FACTS, *MORE)
