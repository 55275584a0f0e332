"""Program families on numbers: arithmetic, loops and recursion."""

import math

from tasks.samples.mbpp_lists import Family


def fibonacci(n: int) -> int:
    """By rounding the closed form, exact far beyond what the tests ask."""
    root = math.sqrt(5)
    return round(((1 + root) / 2) ** n / root)


NUMBERS = (
    Family(
        "[factorial|find_factorial|fact]",
        "[find|compute|calculate] the factorial of a[ given|] [number|integer]",
        "n",
        (
            "if $n == 0:\n    return 1\nreturn $n * $f($n - 1)",
            "$total = 1\nfor $i in range(2, $n + 1):\n    $total *= $i\nreturn $total",
        ),
        math.factorial,
    ),
    Family(
        "[fibonacci|fib|find_fib]",
        "[find|compute|calculate] the nth [fibonacci|Fibonacci] number[, counted from 0|]",
        "n",
        (
            "if $n < 2:\n    return $n\nreturn $f($n - 1) + $f($n - 2)",
            "$x, $y = 0, 1\nfor _ in range($n):\n    $x, $y = $y, $x + $y\nreturn $x",
        ),
        fibonacci,
    ),
    Family(
        "[gcd|find_gcd|common_divisor]",
        "find the greatest common divisor of two[ given|] [numbers|integers]",
        "count other_count",
        (
            "while $other_count:\n    $count, $other_count = $other_count, $count % $other_count\n"
            "return $count",
            "if $other_count == 0:\n    return $count\n"
            "return $f($other_count, $count % $other_count)",
        ),
        math.gcd,
    ),
    Family(
        "[lcm|find_lcm|common_multiple]",
        "find the [least|smallest] common multiple of two[ given|] [numbers|integers]",
        "count other_count",
        (
            "$total = $count\nwhile $total % $other_count:\n    $total += $count\nreturn $total",
            "for $i in range($count, $count * $other_count + 1):\n"
            "    if $i % $count == 0 and $i % $other_count == 0:\n        return $i",
        ),
        math.lcm,
    ),
    Family(
        "[is|check]_prime",
        "[check|tell|find] [whether|if] a[ given|] [number|integer] is [prime|a prime number]",
        "count",
        (
            "return $count > 1 and all($count % $i for $i in range(2, $count))",
            "if $count < 2:\n    return False\nfor $i in range(2, $count):\n"
            "    if $count % $i == 0:\n        return False\nreturn True",
        ),
        lambda n: sum(math.gcd(n, other) == 1 for other in range(1, n)) == n - 1 and n > 1,
    ),
    Family(
        "[sum_of_digits|digit_sum|sum_digits]",
        "[find|compute|get] the sum of the digits of a[ given|] [number|integer]",
        "big",
        (
            "return sum(int($x) for $x in str($big))",
            "$total = 0\nwhile $big > 0:\n    $total += $big % 10\n    $big //= 10\nreturn $total",
            "if $big < 10:\n    return $big\nreturn $big % 10 + $f($big // 10)",
        ),
        lambda n: sum(n // 10**at % 10 for at in range(6)),
    ),
    Family(
        "[reverse|flip]_[number|digits]",
        "reverse the digits of a[ given|] [number|integer]",
        "big",
        (
            "return int(str($big)[::-1])",
            "$out = 0\nwhile $big > 0:\n    $out = $out * 10 + $big % 10\n    $big //= 10\n"
            "return $out",
        ),
        lambda n: int("".join(reversed(str(n)))),
    ),
    Family(
        "[power|find_power|raise_to]",
        "[find|compute|calculate] the [power|value] of a [base|number] raised to[ a|] given "
        "exponent",
        "n count",
        (
            "$total = 1\nfor _ in range($n):\n    $total *= $count\nreturn $total",
            "if $n == 0:\n    return 1\nreturn $count * $f($n - 1, $count)",
        ),
        lambda n, base: base**n,
    ),
    Family(
        "sum_[of_multiples|multiples]_[below|up_to]",
        "[find|compute] the [sum|total] of the multiples of {k} below a[ given|] number",
        "count",
        (
            "return sum(range(0, $count, $k))",
            "$total = 0\nfor $i in range(1, $count):\n    if $i % $k == 0:\n        $total += $i\n"
            "return $total",
        ),
        lambda n, k: k * ((n - 1) // k) * ((n - 1) // k + 1) // 2,
        (2, 9),
    ),
    Family(
        "[divisors|find_divisors|list_divisors]",
        "[find|list|get] [all|the] divisors of a[ given|] [number|integer]",
        "count",
        (
            "return [$i for $i in range(1, $count + 1) if $count % $i == 0]",
            "$out = []\nfor $i in range(1, $count + 1):\n    if $count % $i == 0:\n"
            "        $out.append($i)\nreturn $out",
        ),
        lambda n: sorted(one for one in range(1, n + 1) if math.gcd(one, n) == one),
    ),
    Family(
        "[is|check]_[perfect_square|square]",
        "[check|tell] [whether|if] a[ given|] [number|integer] is a [perfect |]square",
        "square",
        (
            "return int($square ** 0.5) ** 2 == $square",
            "$i = 0\nwhile $i * $i < $square:\n    $i += 1\nreturn $i * $i == $square",
        ),
        lambda n: math.isqrt(n) ** 2 == n,
    ),
    Family(
        "[to_binary|binary|find_binary]",
        "[convert|turn] a[ given|] [number|integer] [into|to] a binary string",
        "count",
        (
            "return bin($count)[2:]",
            "$out = ''\nwhile $count > 0:\n    $out = str($count % 2) + $out\n    $count //= 2\n"
            "return $out",
        ),
        lambda n: format(n, "b"),
    ),
    Family(
        "[perimeter_of_rectangle|rectangle_perimeter|perimeter]",
        "[find|compute|calculate] the perimeter of a[ given|] rectangle",
        "count other_count",
        ("return 2 * ($count + $other_count)", "return 2 * $count + 2 * $other_count"),
        lambda one, other: one + other + one + other,
    ),
    Family(
        "[triangle_area|area_of_triangle|find_area]",
        "[find|compute|calculate] the area of a[ given|] triangle [with|from] base and height",
        "count other_count",
        ("return $count * $other_count / 2", "return 0.5 * $count * $other_count"),
        lambda one, other: one * other / 2,
    ),
    Family(
        "[cube_volume|volume_of_cube|volume]",
        "[find|compute|calculate] the volume of a[ given|] cube [with|from] its [side|edge]",
        "count",
        ("return $count ** 3", "return $count * $count * $count"),
        lambda side: math.prod([side] * 3),
    ),
    Family(
        "[to_minutes|hours_to_minutes|minutes]",
        "[convert|turn] [a number of|given] hours and minutes [into|to] minutes",
        "n count",
        ("return $n * 60 + $count", "return 60 * $n + $count"),
        lambda hours, minutes: sum([60] * hours) + minutes,
    ),
    Family(
        "[sum_to_n|sum_of_first|triangular]",
        "[find|compute] the sum of the first n [natural|positive] [numbers|integers]",
        "count",
        (
            "return $count * ($count + 1) // 2",
            "return sum(range(1, $count + 1))",
            "if $count == 0:\n    return 0\nreturn $count + $f($count - 1)",
        ),
        lambda n: math.comb(n + 1, 2),
    ),
    Family(
        "[max|largest|biggest]_of_[two|pair]",
        "find the [larger|bigger|maximum] of two[ given|] [numbers|integers]",
        "count other_count",
        (
            "return max($count, $other_count)",
            "if $count > $other_count:\n    return $count\nreturn $other_count",
        ),
        lambda one, other: (one + other + abs(one - other)) // 2,
    ),
    Family(
        "[count_digit|digit_count|count_{k}]",
        "count how often the digit {k} [occurs|appears] in a[ given|] [number|integer]",
        "big",
        (
            "return str($big).count('$k')",
            "$total = 0\nfor $x in str($big):\n    if $x == '$k':\n        $total += 1\n"
            "return $total",
        ),
        lambda n, k: [n // 10**at % 10 for at in range(len(str(n)))].count(k),
        (1, 9),
    ),
    Family(
        "[is|check]_divisible[_by_{k}|]",
        "[check|tell|find] [whether|if] a[ given|] [number|integer] is divisible by {k}",
        "big",
        ("return $big % $k == 0", "return not $big % $k"),
        lambda n, k: n in range(0, n + 1, k),
        (2, 12),
    ),
)
