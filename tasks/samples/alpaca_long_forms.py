"""Instruction forms whose answers take several sentences: stories, letters, steps, reasons."""

from tasks.samples import alpaca_more_scenes as more
from tasks.samples import alpaca_scenes as scenes
from tasks.samples.alpaca_forms import Form

LONG = (
    Form(
        scenes.person,
        "[Write|Tell] a short story about {name}, a {job}[ from {town}|].",
        "{name} was a {job} in {town}. One [morning|evening], {she} [found|saw] a [small box|"
        "strange map|lost dog] near the [river|station]. {name} [took it home|"
        "showed it to {other}], and [they both laughed|{other} knew what to do]. [From that day on|"
        "Since then] they were [good friends|never bored].",
    ),
    Form(
        scenes.person,
        "[Write|Compose] a letter in which {name} applies for [a|the] job as a {job}.",
        "Dear {other},\nI am [writing about|applying for] the job as a {job} in {town}. I am {age} "
        "years old and [know the work well|like to work hard]. [My hobby is|In my free time I "
        "like] {hobby}. [Please write to|You can reach me at] {mail}.\n[Yours|Best wishes], {name}",
        "Age: {age}. Town: {town}. Hobby: {hobby}. Mail: {mail}. To: {other}.",
    ),
    Form(
        scenes.person,
        "Give {name} [three|some] tips for {hobby}[ in {town}|].",
        "1. [Start|Begin] with [easy things|the basics].\n2. [Practice|Do it] [every day|twice a "
        "week].\n3. [Join|Find] a club[ near you|] and [ask questions|make friends].",
    ),
    Form(
        scenes.country,
        "[Write|Compose] a postcard from {country}[ after {n} days there|].",
        "Hello from {country}! [Yesterday|Today] we [saw|visited] {capital} and [walked along|swam "
        "in] {river}. [For dinner|In the evening] we had {dish}. [The weather is fine|It rains a "
        "lot], and I [even saw|took a photo of] {beast}. [See you soon|I miss you]!",
    ),
    Form(
        scenes.words,
        "[Describe|Tell me about] [this|the] list of words.",
        "The list has {count} words. [It starts with|The first is] {first} and [at the end is|"
        "the last is] {last}. The longest word is {longest} and the shortest is {shortest}.",
        "{list}",
    ),
    Form(
        scenes.numbers,
        "[Add|Find the sum of] {a} and {b} [step by step|and explain it].",
        "[Start|Begin] with {a}. Adding {b} [gives|makes] {sum}. [So the answer is|The sum is] "
        "{sum}[, which is less than 200|].",
    ),
    Form(
        scenes.sentence,
        "[Write|Give|Put] the sentence [in|into] the past and the future, and [as|make it] a "
        "question.",
        "Past: {name} {past} {rest}.\nFuture: {name} will {base} {rest}.\n"
        "Question: Does {name} {base} {rest}?",
        "{present}.",
    ),
    Form(
        more.kinds,
        "[Explain|Say] which [word|thing] does not belong[ and why|].",
        "[The words {three}|All of {three}] are names of a {kind}, but {odd} is a kind of {other}. "
        "[So|That is why] {odd} does not belong.",
        "{mixed}",
    ),
    Form(
        more.units,
        "How many {little} make {amount} {large}? [Explain|Show your work].",
        "[Each of the {large} has|One of the {large} has] {factor} {little}. {amount} x {factor} = "
        "{converted}. [So the answer is|That makes] {converted} {little}.",
    ),
    Form(
        more.definition,
        "[Write|Make] an advertisement for a {thing}[ sold in {town}|].",
        "[Looking for|Do you need] something for {use}? [Try|Buy|Get] our new {thing}, {genus} "
        "[made to last|at a fair price]. [Visit us|Come to our shop] in [the town|the market] "
        "[today|this week]!",
    ),
    Form(
        more.steps,
        "[Tell|Explain to] {who} how to {task}[ in full sentences|].",
        "Dear {who}, {told} [That is all|Now you are done|It is quite easy].",
    ),
    Form(
        more.review,
        "[Answer|Reply to|Write back to] the customer.",
        "Dear customer,\n[thank you for your review|thanks for writing to us]. {reply}. [Please "
        "come back soon|Write to us at any time].\n[Your shop|The team]",
        "{text}",
    ),
    Form(
        more.letter,
        "Write a [short |]thank-you note to {other} for the {gift}, from {name}.",
        "Dear {other},\n[thank you|many thanks] for the [lovely|beautiful|nice] {gift}. [I like it "
        "very much|It made my day|It was very kind of you]. [We must meet soon|Come and see us].\n"
        "[Yours|Best wishes|Love], {name}",
    ),
    Form(
        more.letter,
        "[Invite|Write an invitation for] {other} to a {event} [on|next] {day} in {town}[, from "
        "{name}|].",
        "Dear {other},\n[please come|you are invited] to [our|my] {event} in {town} on {day}. [I "
        "hope|We hope] to see you[ there|]. [Bring a friend|Bring a {gift}] if you like.\n{name}",
    ),
    Form(
        more.letter,
        "[Write|Give] a [polite|kind] reply: {name} [cannot come|is ill] on {day}.",
        "Dear {other},\n[I am sorry, but|sadly] I cannot come to the {event} on {day}. [I am ill|I "
        "have to work|My train is late]. [Have fun|Enjoy it|Maybe next time].\n{name}",
        "From {other}: [Will|Can] you come to the {event}?",
    ),
    Form(
        more.clock,
        "A {what} starts at {start} and lasts {length} minutes. [Explain when it ends.|When does "
        "it end, and why?]",
        "The {what} starts at {start}. {length} minutes later it is {end}. [So it ends at|That is "
        "why the end is at] {end}.",
    ),
    Form(
        more.heights,
        "[Compare|Rank] the people[ by height|] and [explain|say who is the tallest].",
        "{tallest} is taller than {middle}, and {middle} is taller than {shortest}. [So|This means "
        "that] {tallest} is the tallest[ of the three|] and {shortest} the shortest.",
        "{told}",
    ),
    Form(
        more.shop,
        "[Write|Make] a bill for [these|the] items[ with the total|].",
        "{lines}\nTotal: ${total}\n[Thank you|Thanks] for your [visit|order]!",
        "{list}",
    ),
)
