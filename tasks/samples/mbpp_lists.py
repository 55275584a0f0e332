"""Program families of the project's own, the raw material of the MBPP-shaped rows; here on lists.

A family takes arguments of named kinds (`mbpp_rows.KINDS`). In names and texts `[x|y]` is a choice
of wording and `{k}` the constant; in bodies `$kind` is the parameter of that kind, `$x`, `$y`,
`$i`, `$out` and `$total` are local names, `$f` is the function and `$k`
the constant. `expect` computes what a test asserts
from the arguments and, where there is one, the constant: written apart from the bodies, on purpose.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, pairwise


@dataclass(frozen=True)
class Family:
    """Programs that do one thing: how it is asked, and bodies that do it in different ways."""

    name: str
    text: str
    takes: str
    bodies: tuple[str, ...]
    expect: Callable[..., object]
    k: tuple[int, int] | None = None


LISTS = (
    Family(
        "[sum|total|add]_multiples[_of_{k}|]",
        "[find|compute|get] the [sum|total] of [all|the] multiples of {k} in a[ given|] list",
        "ints",
        (
            "return sum($x for $x in $ints if $x % $k == 0)",
            "$total = 0\nfor $x in $ints:\n    if $x % $k == 0:\n        $total += $x\n"
            "return $total",
        ),
        lambda nums, k: sum(num for num in nums if num // k * k == num),
        (2, 9),
    ),
    Family(
        "count_[above|over|greater]",
        "count the [numbers|elements|values] [greater|larger] than {k} in a[ given|] list",
        "ints",
        (
            "return sum(1 for $x in $ints if $x > $k)",
            "return len([$x for $x in $ints if $x > $k])",
            "$total = 0\nfor $x in $ints:\n    if $x > $k:\n        $total += 1\nreturn $total",
        ),
        lambda nums, k: len(nums) - len([num for num in nums if num <= k]),
        (2, 15),
    ),
    Family(
        "[keep|filter|take]_[small|below|under]",
        "[keep|return|find] [only |]the [numbers|elements] [less|smaller] than {k} in a list",
        "ints",
        (
            "return [$x for $x in $ints if $x < $k]",
            "$out = []\nfor $x in $ints:\n    if $x < $k:\n        $out.append($x)\nreturn $out",
        ),
        lambda nums, k: [num for num in nums if num + 1 <= k],
        (5, 19),
    ),
    Family(
        "[multiply|scale|times]_[list|all|by_{k}]",
        "multiply [each|every] [number|element|value] of a[ given|] list by {k}",
        "ints",
        (
            "return [$x * $k for $x in $ints]",
            "return list(map(lambda $x: $x * $k, $ints))",
            "$out = []\nfor $x in $ints:\n    $out.append($x * $k)\nreturn $out",
        ),
        lambda nums, k: [sum([num] * k) for num in nums],
        (2, 12),
    ),
    Family(
        "[add|plus]_[{k}|to_each|to_all]",
        "add {k} to [each|every] [number|element|value] [of|in] a[ given|] list",
        "ints",
        (
            "return [$x + $k for $x in $ints]",
            "$out = []\nfor $x in $ints:\n    $out.append($x + $k)\nreturn $out",
        ),
        lambda nums, k: [num - -k for num in nums],
        (2, 30),
    ),
    Family(
        "[second|next]_[largest|biggest|max]",
        "find the second [largest|biggest|highest] [number|element|value] in a[ given|] list",
        "ints",
        (
            "return sorted($ints)[-2]",
            "$out = list($ints)\n$out.remove(max($out))\nreturn max($out)",
        ),
        lambda nums: sorted(nums, reverse=True)[1],
    ),
    Family(
        "[max_min_diff|spread|find_range]",
        "[find|compute] the difference between the [largest|biggest] and the smallest "
        "[number|element|value] of a[ given|] list",
        "ints",
        (
            "return max($ints) - min($ints)",
            "$out = sorted($ints)\nreturn $out[-1] - $out[0]",
        ),
        lambda nums: max(one - other for one in nums for other in nums),
    ),
    Family(
        "[remove|drop|delete]_[duplicates|repeats]",
        "[remove|drop|delete] the [duplicates|repeated elements] [from|of|in] a[ given|] list and "
        "keep the order",
        "repeats",
        (
            "return list(dict.fromkeys($repeats))",
            "$out = []\nfor $x in $repeats:\n    if $x not in $out:\n        $out.append($x)\n"
            "return $out",
        ),
        lambda nums: [num for at, num in enumerate(nums) if num not in nums[:at]],
    ),
    Family(
        "rotate_[left|list|by_{k}]",
        "rotate a[ given|] list to the left by {k} [places|positions|steps]",
        "ints",
        (
            "return $ints[$k:] + $ints[:$k]",
            "$out = list($ints)\nfor _ in range($k):\n    $out.append($out.pop(0))\nreturn $out",
        ),
        lambda nums, k: [nums[(at + k) % len(nums)] for at in range(len(nums))],
        (1, 3),
    ),
    Family(
        "[drop|skip|all_but]_first",
        "[get|return|find] [the|all] [elements|numbers|values] of a[ given|] list [except|but] the "
        "first {k}",
        "ints",
        ("return $ints[$k:]", "return [$x for $i, $x in enumerate($ints) if $i >= $k]"),
        lambda nums, k: list(reversed(list(reversed(nums))[: len(nums) - k])),
        (1, 3),
    ),
    Family(
        "[chunk|split|divide]_[list|in_parts]",
        "[split|divide|cut] a[ given|] list into [chunks|parts|pieces] of [size|length] {k}",
        "ints",
        (
            "return [$ints[$i:$i + $k] for $i in range(0, len($ints), $k)]",
            "$out = []\nwhile $ints:\n    $out.append($ints[:$k])\n    $ints = $ints[$k:]\n"
            "return $out",
        ),
        lambda nums, k: [nums[at : at + k] for at in range(len(nums)) if at % k == 0],
        (2, 3),
    ),
    Family(
        "[running|cumulative]_[sum|total]",
        "[find|compute|get] the [running|cumulative] [sums|totals] of a[ given|] list",
        "ints",
        (
            "$out = []\n$total = 0\nfor $x in $ints:\n    $total += $x\n    $out.append($total)\n"
            "return $out",
            "return [sum($ints[:$i + 1]) for $i in range(len($ints))]",
        ),
        lambda nums: [sum(nums[: at + 1]) for at, _ in enumerate(nums)],
    ),
    Family(
        "[swap|exchange]_[ends|first_last]",
        "[swap|exchange|interchange] the first and[ the|] last [element|number|value] of a[ given|]"
        " list",
        "ints",
        (
            "$ints[0], $ints[-1] = $ints[-1], $ints[0]\nreturn $ints",
            "return [$ints[-1]] + $ints[1:-1] + [$ints[0]]",
        ),
        lambda nums: nums[-1:] + nums[1:-1] + nums[:1],
    ),
    Family(
        "[index|position]_of_[max|largest]",
        "find the [index|position] of the [largest|biggest] [number|element] in a[ given|] list",
        "ints",
        (
            "return $ints.index(max($ints))",
            "$out = 0\nfor $i in range(len($ints)):\n    if $ints[$i] > $ints[$out]:\n"
            "        $out = $i\nreturn $out",
        ),
        lambda nums: max(range(len(nums)), key=lambda at: (nums[at], -at)),
    ),
    Family(
        "[add|sum]_[lists|pairwise]",
        "add two[ given|] lists [element by element|elementwise|position by position]",
        "triple other_triple",
        (
            "return [$x + $y for $x, $y in zip($triple, $other_triple)]",
            "$out = []\nfor $i in range(len($triple)):\n"
            "    $out.append($triple[$i] + $other_triple[$i])\nreturn $out",
        ),
        lambda one, other: [one[at] + other[at] for at in range(3)],
    ),
    Family(
        "[common|shared]_[elements|items|numbers]",
        "find the common [elements|numbers] of two[ given|] lists in [sorted|ascending] order",
        "small small_too",
        (
            "return sorted(set($small) & set($small_too))",
            "return sorted([$x for $x in $small if $x in $small_too])",
        ),
        lambda one, other: [num for num in range(10) if num in one and num in other],
    ),
    Family(
        "flatten[_list|_lists|]",
        "[flatten|join|turn] a[ given|] list of lists into [one|a single|a flat] list",
        "grid",
        (
            "return [$x for $y in $grid for $x in $y]",
            "$out = []\nfor $y in $grid:\n    $out.extend($y)\nreturn $out",
        ),
        lambda grid: [*chain.from_iterable(grid)],
    ),
    Family(
        "[is|check]_sorted",
        "[check|tell|find] [whether|if] a[ given|] list is sorted in [ascending|increasing] order",
        "ordered",
        (
            "return $ordered == sorted($ordered)",
            "for $i in range(len($ordered) - 1):\n    if $ordered[$i] > $ordered[$i + 1]:\n"
            "        return False\nreturn True",
        ),
        lambda nums: all(one <= other for one, other in pairwise(nums)),
    ),
    Family(
        "[product|multiply]_[list|numbers]",
        "[find|compute|get] the product of [all|the] [numbers|elements|values] [in|of] a list",
        "small",
        (
            "$total = 1\nfor $x in $small:\n    $total *= $x\nreturn $total",
            "if not $small:\n    return 1\nreturn $small[0] * $f($small[1:])",
        ),
        math.prod,
    ),
    Family(
        "sum_of_[powers|power_{k}]",
        "[find|compute|get] the sum of the {k}th powers of the [numbers|elements] [in|of] a list",
        "small",
        (
            "return sum($x ** $k for $x in $small)",
            "$total = 0\nfor $x in $small:\n    $total += $x ** $k\nreturn $total",
        ),
        lambda nums, k: sum(math.prod([num] * k) for num in nums),
        (4, 5),
    ),
)
