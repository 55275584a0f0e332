"""Finds the program in a model's response, which may hold prose, tests, output and earlier tries.

The program is what defines the names that its checks read. The first rule that finds one counts:

- `whole_response`: the response is Python, once the marks [BEGIN] and [DONE] are cut off.
- `last_block`: the last block of code, as CommonMark defines blocks, that is Python and defines a
  checked name. The block counts whole: its own tests and printing run as well.
- `loose_lines`: the last lines of Python outside closed blocks that define a checked name: in
  prose, in a block that is never closed, or in a block that the prompt opened.
- `no_program`: no rule found one. The first fenced block, else the whole response, counts.

Definitions and imports of other blocks that the program reads are put before it (`with_helpers`).
Nothing is run here.
"""

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, takewhile

from markdown_it import MarkdownIt
from markdown_it.token import Token

RULES: Mapping[str, str] = {
    "whole_response": "the whole response is its program",
    "last_block": "its program is the last block of code that defines what is tested",
    "loose_lines": "its program stands outside closed blocks of code",
    "no_program": "no part of it defines what is tested",
    "with_helpers": "its program reads definitions of another block",
}
_MARKED = re.compile(r"(?:.*?\[BEGIN\])?(.*?)(?:\[DONE\].*)?", re.DOTALL)
_STATEMENT = re.compile(r"([ \t]*)(?:(?:async +)?def |class |import |from |@|[A-Za-z_]\w* *=[^=])")
_FENCE = re.compile("```|~~~")
# Rules of HTML are off: a line such as <answer> would hide the blocks below it.
_MARKDOWN = MarkdownIt("commonmark").disable(["html_block", "html_inline"])
_HELPERS = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign),
)
_BREAK = "```"  # no program holds this line
_CALM = (ast.Name, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Tuple, ast.Attribute)
_BUILT_IN = frozenset(dir(builtins))


@dataclass(frozen=True)
class Code:
    """A text that may be Python."""

    text: str

    @cached_property
    def statements(self) -> Sequence[ast.stmt]:
        """The statements; empty if the text is not Python."""
        return self._parsed[0] if self._parsed else []

    @cached_property
    def _parsed(self) -> tuple[Sequence[ast.stmt], symtable.SymbolTable] | None:
        """The statements and names of the text, or None if the text is not Python."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd literals
                statements = ast.parse(self.text).body
                return statements, symtable.symtable(self.text, "program", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    @property
    def _symbols(self) -> Sequence[symtable.Symbol]:
        """The names of the module."""
        return self._parsed[1].get_symbols() if self._parsed else []

    @cached_property
    def defined(self) -> frozenset[str]:
        """The names that the text defines, without those that it imports."""
        return frozenset(each.get_name() for each in self._symbols if each.is_assigned())

    @cached_property
    def bound(self) -> frozenset[str]:
        """The names that the text defines or imports."""
        return self.defined | {each.get_name() for each in self._symbols if each.is_imported()}

    @cached_property
    def read(self) -> frozenset[str]:
        """The names that the text reads and does not bind; some may be built in."""
        read = _global_reads(self._parsed[1]) if self._parsed else ()
        return frozenset(read) - self.bound

    def binds(self, names: frozenset[str]) -> bool:
        """True if the text binds one of some names, or may do so by a star import."""
        return bool(self.bound & names) or "import *" in self.text

    def is_program(self) -> bool:
        """True if the text is Python, and none of its statements could be a line of prose."""
        return bool(self.statements) and not any(map(_may_be_prose, self.statements))

    def helpers(self) -> Iterator["Code"]:
        """Yield the definitions, imports and assignments at the top level."""
        lines = self.text.splitlines(keepends=True)
        for each in self.statements:
            if isinstance(each, _HELPERS):
                above = [decorator.lineno for decorator in getattr(each, "decorator_list", ())]
                yield Code("".join(lines[min([each.lineno, *above]) - 1 : each.end_lineno]))


def _global_reads(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names that a scope, or a scope in it, reads from the module."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _global_reads(inner)


def _may_be_prose(statement: ast.stmt) -> bool:
    """True for statements such as `Done` and `Note: done`, which are Python by chance."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    return isinstance(statement, ast.Expr) and isinstance(statement.value, _CALM)


@dataclass(frozen=True)
class Found:
    """A program, and the rule that found it."""

    program: str
    rule: str
    with_helpers: bool = False

    def tally(self) -> dict[str, float]:
        """Return 0 or 1 for each of RULES."""
        used = {self.rule: 1.0, "with_helpers": float(self.with_helpers)}
        return {rule: used.get(rule, 0.0) for rule in RULES}


def find_program(response: str, checks: str) -> Found:
    """Return the program of a response that `checks` test; the response has no thinking."""
    tested = Code(checks).read
    whole = Code(_MARKED.fullmatch(response)[1])  # type: ignore[index]  # it matches any text
    blocks = [Code(text) for text in code_blocks(response)]
    loose = [Code(text) for text in _loose_texts(response)]
    rules = {
        "whole_response": [whole] if whole.is_program() else [],
        "last_block": blocks,
        "loose_lines": loose,
    }
    for rule, codes in rules.items():
        defining = [index for index, code in enumerate(codes) if code.defined & tested]
        if defining:
            program = codes[defining[-1]]
            helpers = _helpers(program, tested, codes, defining[-1])
            return Found(_joined(helpers, program), rule, bool(helpers))
    fenced = (token.content for token in _MARKDOWN.parse(response) if token.type == "fence")
    return Found(next(fenced, whole.text), "no_program")


def join_programs(above: str, below: str) -> str:
    """Return a program below another one; imports of `__future__` stay at the start."""
    return _joined([above], Code(below))


def _joined(helpers: Sequence[str], program: Code) -> str:
    """Return a program below its helpers; imports of `__future__` stay at its start."""
    ends = [
        each.end_lineno or 0
        for each in program.statements
        if isinstance(each, ast.ImportFrom) and each.module == "__future__"
    ]
    lines, start = program.text.split("\n"), max(ends, default=0)
    return "\n".join([*lines[:start], *helpers, *lines[start:]])


def _helpers(program: Code, tested: frozenset[str], codes: Sequence[Code], place: int) -> list[str]:
    """Return what other codes define and the program reads, in the order of the response.

    A name that several define is taken from the nearest code before the program, else after it.
    """
    others = [*reversed(range(place)), *range(place + 1, len(codes))]
    candidates = {
        (index, number): helper
        for index in others
        for number, helper in reversed([*enumerate(codes[index].helpers())])
    }
    kept: dict[tuple[int, int], Code] = {}
    bound, read = program.bound | _BUILT_IN, program.read | tested
    while missing := read - bound:
        place_of = [key for key, each in candidates.items() if each.binds(missing)]
        if not place_of:
            break
        helper = kept[place_of[0]] = candidates.pop(place_of[0])
        bound, read = bound | helper.bound, read | helper.read
    return [kept[key].text for key in sorted(kept)]


def code_blocks(text: str) -> Iterator[str]:
    """Yield the blocks of code; those in a block that is not Python, instead of that block."""
    for token in _MARKDOWN.parse(text):
        if token.type in ("fence", "code_block"):
            nests = _FENCE.search(token.content) and not Code(token.content).statements
            yield from list(code_blocks(token.content) if nests else ()) or [token.content]


def _loose_texts(response: str) -> Iterator[str]:
    """Yield spans of code, then runs of lines of Python outside closed blocks."""
    tokens, lines = _MARKDOWN.parse(response), response.replace("\r\n", "\n").split("\n")
    for span in chain.from_iterable(token.children or () for token in tokens):
        if span.type == "code_inline":
            yield span.content
    for token in tokens:
        if token.type == "fence" and token.map and _is_closed(token):
            first, end = token.map
            lines[first:end] = [_BREAK] * (end - first)
    yield from _runs(lines)


def _is_closed(token: Token) -> bool:
    first, end = token.map or (0, 0)
    return end - first == len(token.content.splitlines()) + 2


def _runs(lines: Sequence[str]) -> Iterator[str]:
    """Yield the longest runs of whole statements of Python, without their indentation."""
    start = 0
    while start < len(lines):
        match = _STATEMENT.match(lines[start])
        run = _longest_program(lines[start:], match[1]) if match else []
        if run:
            yield "\n".join(run)
        start += max(len(run), 1)


def _longest_program(lines: Sequence[str], indent: str) -> list[str]:
    """Return the most leading lines of one indentation that are a program; empty if none are."""
    block = list(takewhile(lambda line: line.startswith(indent) or not line.strip(), lines))
    block = [line.removeprefix(indent) for line in block]
    ends = [end for end, line in enumerate(block) if end and line[:1].strip()]
    for end in reversed([*ends, len(block)]):
        if Code("\n".join(block[:end])).is_program():
            return block[:end]
    return []
