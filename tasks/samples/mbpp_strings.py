"""Program families on strings, dictionaries and tuples."""

from tasks.samples.mbpp_lists import Family

STRINGS = (
    Family(
        "[count|number_of|num]_vowels",
        "count [the|all|all the] vowels in a[ given|] [string|word]",
        "word",
        (
            "return sum($x in 'aeiou' for $x in $word)",
            "$total = 0\nfor $x in $word:\n    if $x in 'aeiou':\n        $total += 1\n"
            "return $total",
        ),
        lambda word: sum(word.count(vowel) for vowel in "aeiou"),
    ),
    Family(
        "[remove|drop|delete]_[vowels|all_vowels]",
        "[remove|drop|delete] [the|all] vowels from a[ given|] [string|word]",
        "word",
        (
            "return ''.join($x for $x in $word if $x not in 'aeiou')",
            "for $x in 'aeiou':\n    $word = $word.replace($x, '')\nreturn $word",
        ),
        lambda word: word.translate({ord(vowel): None for vowel in "aeiou"}),
    ),
    Family(
        "[reverse|flip]_words",
        "reverse the [order of the |]words [in|of] a[ given|] [string|sentence]",
        "text",
        ("return ' '.join($text.split()[::-1])", "return ' '.join(reversed($text.split()))"),
        lambda text: " ".join(text.split()[at] for at in range(-1, -len(text.split()) - 1, -1)),
    ),
    Family(
        "[is|check]_palindrome",
        "[check|tell|find] [whether|if] a[ given|] [string|word] is a palindrome",
        "mirror",
        (
            "return $mirror == $mirror[::-1]",
            "for $i in range(len($mirror) // 2):\n    if $mirror[$i] != $mirror[-$i - 1]:\n"
            "        return False\nreturn True",
        ),
        lambda word: list(word) == list(reversed(word)),
    ),
    Family(
        "[remove|drop|delete]_[char|letter]",
        "[remove|drop|delete] [all|the] occurrences of a [letter|character] from a[ given|] string",
        "word letter",
        (
            "return $word.replace($letter, '')",
            "return ''.join($x for $x in $word if $x != $letter)",
        ),
        lambda word, letter: "".join(word.split(letter)),
    ),
    Family(
        "count_[char|letter|occurrences]",
        "count how often a [letter|character] [occurs|appears] in a[ given|] [string|word]",
        "word letter",
        ("return $word.count($letter)", "return sum(1 for $x in $word if $x == $letter)"),
        lambda word, letter: len(word.split(letter)) - 1,
    ),
    Family(
        "[first_letters|initials]",
        "[get|return|find] the first [letters|characters] of the words of a[ given|] sentence",
        "text",
        (
            "return ''.join($x[0] for $x in $text.split())",
            "$out = ''\nfor $x in $text.split():\n    $out += $x[0]\nreturn $out",
        ),
        lambda text: "".join(b for a, b in zip(" " + text, text, strict=False) if a == " "),
    ),
    Family(
        "[longest|find_longest]_word",
        "[find|get|return] the [first |]longest word in a[ given|] list of [words|strings]",
        "words",
        (
            "return max($words, key=len)",
            "$out = ''\nfor $x in $words:\n    if len($x) > len($out):\n        $out = $x\n"
            "return $out",
        ),
        lambda words: sorted(words, key=lambda word: -len(word))[0],
    ),
    Family(
        "[long|longer]_words",
        "[find|get|return] the words [with more than|longer than] {k} [letters|characters] in a "
        "list of words",
        "words",
        (
            "return [$x for $x in $words if len($x) > $k]",
            "return list(filter(lambda $x: len($x) > $k, $words))",
        ),
        lambda words, k: [word for word in words if word[k:]],
        (3, 5),
    ),
    Family(
        "[repeat|copy]_[word|string]",
        "repeat a[ given|] [word|string] {k} times with a [dash|hyphen] between the copies",
        "word",
        (
            "return '-'.join([$word] * $k)",
            "$out = $word\nfor _ in range($k - 1):\n    $out += '-' + $word\nreturn $out",
        ),
        lambda word, k: (word + "-") * (k - 1) + word,
        (2, 4),
    ),
    Family(
        "[capitalize|title]_words",
        "[capitalize|capitalise] [each|every] word [of|in] a[ given|] [string|sentence]",
        "text",
        ("return ' '.join($x.capitalize() for $x in $text.split())", "return $text.title()"),
        lambda text: " ".join(word[0].upper() + word[1:] for word in text.split(" ")),
    ),
    Family(
        "replace_[spaces|blanks]",
        "replace [all|the] [spaces|blanks] [in|of] a[ given|] [string|sentence] with [dashes|"
        "hyphens]",
        "text",
        ("return $text.replace(' ', '-')", "return '-'.join($text.split(' '))"),
        lambda text: text.translate({ord(" "): "-"}),
    ),
    Family(
        "[are|is|check]_[anagram|anagrams]",
        "[check|tell] [whether|if] two[ given|] [strings|words] are anagrams",
        "mirror other_mirror",
        (
            "return sorted($mirror) == sorted($other_mirror)",
            "for $x in $mirror + $other_mirror:\n"
            "    if $mirror.count($x) != $other_mirror.count($x):\n        return False\n"
            "return True",
        ),
        lambda one, other: "".join(sorted(one)) == "".join(sorted(other)),
    ),
    Family(
        "every_[nth|kth]_[char|letter]",
        "[get|return|take] every {k}th [letter|character] of a[ given|] string, from the first on",
        "word",
        (
            "return $word[::$k]",
            "return ''.join($word[$i] for $i in range(0, len($word), $k))",
        ),
        lambda word, k: "".join(letter for at, letter in enumerate(word) if not at % k),
        (2, 4),
    ),
)
TABLES = (
    Family(
        "[sum|total|add]_[values|prices]",
        "[find|compute|get] the [sum|total] of [all|the] values [of|in] a[ given|] dictionary",
        "table",
        (
            "return sum($table.values())",
            "$total = 0\nfor $x in $table:\n    $total += $table[$x]\nreturn $total",
        ),
        lambda table: sum(value for _, value in table.items()),
    ),
    Family(
        "[key_of_max|max_key|largest_key]",
        "find the key [with|of] the [largest|biggest|highest] value [in|of] a[ given|] dictionary",
        "table",
        (
            "return max($table, key=$table.get)",
            "$out = None\nfor $x in $table:\n    if $out is None or $table[$x] > $table[$out]:\n"
            "        $out = $x\nreturn $out",
        ),
        lambda table: sorted(table.items(), key=lambda item: -item[1])[0][0],
    ),
    Family(
        "[filter|keep]_[table|values|dict]",
        "keep only the entries of a[ given|] dictionary [with|that have] a value [above|over] {k}",
        "table",
        (
            "return {$x: $y for $x, $y in $table.items() if $y > $k}",
            "$out = {}\nfor $x in $table:\n    if $table[$x] > $k:\n        $out[$x] = $table[$x]\n"
            "return $out",
        ),
        lambda table, k: dict(item for item in table.items() if not item[1] <= k),
        (3, 12),
    ),
    Family(
        "[invert|swap|flip]_[dict|table]",
        "[swap|exchange] the keys and[ the|] values [of|in] a[ given|] dictionary",
        "table",
        (
            "return {$y: $x for $x, $y in $table.items()}",
            "$out = {}\nfor $x in $table:\n    $out[$table[$x]] = $x\nreturn $out",
        ),
        lambda table: dict(zip(table.values(), table, strict=True)),
    ),
    Family(
        "[count|tally]_[words|items]",
        "count how often each [word|item|element] [occurs|appears] in a[ given|] list",
        "repeats",
        (
            "return {$x: $repeats.count($x) for $x in $repeats}",
            "$out = {}\nfor $x in $repeats:\n    $out[$x] = $out.get($x, 0) + 1\nreturn $out",
        ),
        lambda items: {item: sum(item == other for other in items) for item in items},
    ),
    Family(
        "[sort_by_second|sort_pairs]",
        "sort a[ given|] list of [pairs|tuples] by [the|their] second [element|value]",
        "pairs",
        (
            "return sorted($pairs, key=lambda $x: $x[1])",
            "$out = list($pairs)\n$out.sort(key=lambda $x: $x[1])\nreturn $out",
        ),
        lambda pairs: [pair for num in range(50) for pair in pairs if pair[1] == num],
    ),
    Family(
        "[pairs_to_dict|make_dict|to_dict]",
        "[convert|turn] a[ given|] list of [pairs|tuples] into a dictionary",
        "pairs",
        ("return dict($pairs)", "return {$x: $y for $x, $y in $pairs}"),
        lambda pairs: {pair[0]: pair[1] for pair in pairs},
    ),
    Family(
        "second_[elements|items|values]",
        "[get|return|list] the second [elements|values|items] of a[ given|] list of [pairs|tuples]",
        "pairs",
        ("return [$x[1] for $x in $pairs]", "return [$y for $x, $y in $pairs]"),
        lambda pairs: [value for _, value in pairs],
    ),
    Family(
        "[add|plus]_to_tuple",
        "add {k} to [each|every] [element|number|value] of a[ given|] tuple",
        "tup",
        ("return tuple($x + $k for $x in $tup)", "return tuple([$x + $k for $x in $tup])"),
        lambda tup, k: tuple(map(k.__add__, tup)),
        (2, 30),
    ),
    Family(
        "[reverse|flip]_tuple",
        "[reverse|flip] a[ given|] tuple[ of numbers|]",
        "tup",
        ("return $tup[::-1]", "return tuple(reversed($tup))"),
        lambda tup: tuple(tup[-at - 1] for at in range(len(tup))),
    ),
)
