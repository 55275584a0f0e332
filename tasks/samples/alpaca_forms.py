"""Instruction forms of the project's own, the raw material of the Alpaca-shaped rows.

In every text `[x|y]` is a choice of wording and `{field}` a value of the form's scene.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tasks.samples import alpaca_scenes as scenes
from tasks.samples.alpaca_scenes import Scene


@dataclass(frozen=True)
class Form:
    """One kind of instruction, the input that goes with it (often none), and what is answered."""

    scene: Callable[[Random], Scene]
    instruction: str
    output: str
    input: str = ""


LISTS = (
    Form(
        scenes.words,
        "[Sort|Arrange|Put] the [following |]words [in alphabetical order|alphabetically].",
        "{sorted}",
        "{list}",
    ),
    Form(
        scenes.words,
        "[Reverse|Turn around] the order of [these|the] words.",
        "{reversed}",
        "{list}",
    ),
    Form(
        scenes.words,
        "[Order|Sort] [the|these] words by [their |]length, shortest first.",
        "{by_length}",
        "{list}",
    ),
    Form(
        scenes.words,
        "[Write|Convert|Change] [these|the] words [in|to] capital letters.",
        "{upper}",
        "{list}",
    ),
    Form(
        scenes.words,
        "How many words are [there |]in [this|the] list?",
        "[There are {count} words in the list.|The list has {count} words.|{count} words.]",
        "{list}",
    ),
    Form(
        scenes.words,
        "Which [of these words|word] is the longest[, and which is the shortest|]?",
        "The longest word is {longest} and the shortest is {shortest}.",
        "{list}",
    ),
    Form(
        scenes.words,
        "[Turn|Make|Convert] the [list|words] into [a bulleted list|bullet points].",
        "{bullets}",
        "{list}",
    ),
    Form(
        scenes.words,
        "[Number|Make a numbered list of] [these|the] [items|words].",
        "{numbered}",
        "{list}",
    ),
    Form(
        scenes.words,
        "[Write|Make] [one|a] sentence that [names|uses] [all|each] of [these|the] words.",
        "[I saw|She drew|They asked for|We need] the {joined}.",
        "{list}",
    ),
    Form(
        scenes.words,
        "What are the first and[ the|] last words [of|in] the list?",
        "[The first word is {first} and the last is {last}.|First: {first}. Last: {last}.]",
        "{list}",
    ),
    Form(
        scenes.numbers,
        "[Sort|Arrange|Put] [these|the] numbers [in ascending order|from smallest to largest].",
        "{ascending}",
        "{list}",
    ),
    Form(
        scenes.numbers,
        "[Sort|Arrange|Put] [these|the] numbers [in descending order|from largest to smallest].",
        "{descending}",
        "{list}",
    ),
    Form(
        scenes.numbers,
        "[Find|Pick|Name] the [largest|biggest] [of these numbers|number].",
        "[The largest number is|It is] {largest}.",
        "{list}",
    ),
    Form(
        scenes.numbers,
        "[List|Find|Pick][ all|] the even numbers.",
        "[Even numbers|The even numbers are]: {evens}.",
        "{list}",
    ),
    Form(
        scenes.numbers,
        "[What is {a} + {b}?|Add {a} and {b}.|Find the sum of {a} and {b}.]",
        "[{a} + {b} = {sum}|The sum of {a} and {b} is {sum}.|The answer is {sum}.]",
    ),
    Form(
        scenes.numbers,
        "What is the difference [between|of] {a} and {b}?",
        "[The difference is|It is] {difference}.",
    ),
    Form(
        scenes.numbers,
        "[Tell me whether|Say if|Decide whether] {a} is [even or odd|an even or an odd number].",
        "{a} is an {parity} number.",
    ),
)
SENTENCES = (
    Form(
        scenes.sentence,
        "[Rewrite|Put|Change] the sentence [in|into] the past tense.",
        "{name} {past} {rest}.",
        "{present}.",
    ),
    Form(
        scenes.sentence,
        "[Rewrite|Put|Change] the sentence [in|into] the future tense.",
        "{name} will {base} {rest}.",
        "{present}.",
    ),
    Form(
        scenes.sentence,
        "[Turn|Change|Make] the [sentence|statement] into a question.",
        "Does {name} {base} {rest}?",
        "{present}.",
    ),
    Form(
        scenes.sentence,
        "[Make|Rewrite] the sentence [negative|in the negative].",
        "{name} does not {base} {rest}.",
        "{present}.",
    ),
    Form(
        scenes.sentence,
        "[Fix|Correct] the [grammar|mistake] in [this|the] sentence.",
        "{name} {third} {rest}.",
        "{name} {base} {rest}.",
    ),
    Form(
        scenes.sentence,
        "[Find|Name|Identify] the subject and[ the|] verb [of|in] the sentence.",
        "[Subject: {name}. Verb: {third}.|The subject is {name} and the verb is {third}.]",
        "{present}.",
    ),
    Form(
        scenes.sentence,
        "[Where|In what place] does this happen, and [when|at what time]?",
        "It happens {place}, {time}.",
        "{present}.",
    ),
    Form(
        scenes.sentence,
        "[Count the words in this sentence.|How many words are in the sentence?]",
        "The sentence has {count} words.",
        "{present}.",
    ),
    Form(
        scenes.sentence,
        "[Write|Put] the sentence in [capitals|capital letters|upper case].",
        "{upper}.",
        "{present}.",
    ),
    Form(
        scenes.sentence,
        "[Replace|Swap] the name [with|by] a pronoun.",
        "{She} {third} {rest}.",
        "{present}.",
    ),
    Form(
        scenes.sentence,
        "[Shorten|Cut down] [the|this] sentence.",
        "{name} {third} {thing}.",
        "{present}.",
    ),
    Form(
        scenes.adjectives,
        "[Give an antonym|Name the opposite|Give the opposite] of [the word |]'{word}'.",
        "[The opposite of {word} is {opposite}.|{opposite}|An antonym of {word} is {opposite}.]",
    ),
    Form(
        scenes.adjectives,
        "[Replace the adjective with|Change the adjective to] a synonym.",
        "{name} saw the {same} {noun}.",
        "{name} saw the {word} {noun}.",
    ),
    Form(
        scenes.adjectives,
        "[Replace the adjective with|Change the adjective to] its opposite.",
        "{name} saw the {opposite} {noun}.",
        "{name} saw the {word} {noun}.",
    ),
    Form(
        scenes.adjectives,
        "[Use|Put] the [word|adjective] '{word}' in a sentence about a {noun}.",
        "[The {noun} was very {word}.|{name} has a {word} {noun}.|I never saw a {noun} so {word}.]",
    ),
)
