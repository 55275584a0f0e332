"""Finds the program in a model's response, which may hold prose, tests, output and earlier tries.

The program is what defines the names that its checks read. The first rule that finds one counts:

- `whole_response`: the response is Python, once the marks [BEGIN] and [DONE] are cut off.
- `last_block`: the last block of code, as CommonMark defines blocks, that is Python and defines a
  checked name; a block that is marked as another language, or HTML, if no other does. The block
  counts whole: its own tests and printing run as well.
- `loose_lines`: the last lines of Python outside closed blocks that define a checked name: in
  prose, in a block that is never closed, or in a block that the prompt opened.
- `no_program`: no rule found one. The first fenced block, else the whole response, counts.

Definitions and imports of other blocks that the program reads are put before it (`with_helpers`).
Nothing is run here.
"""

import ast
import builtins
import doctest
import html
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
_HTML = re.compile(r"<pre[^>]*>\s*<code[^>]*>(.*?)</code>\s*</pre>", re.DOTALL | re.IGNORECASE)
# What models leave in a block beside its program: the name of the language, the authors' marks, a
# fence behind the last statement, and prose below that fence.
_LEFT = re.compile(
    r"\A\s*(?:python3?|py)[ \t]*\n|^\[(?:BEGIN|DONE)\]$|(?s:```[ \t]*$.*)", re.MULTILINE
)
# Rules of HTML are off: a line such as <answer> would hide the blocks below it.
_MARKDOWN = MarkdownIt("commonmark").disable(["html_block", "html_inline"])
_HELPERS = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign),
)
_BREAK = "```"  # no program holds this line
_CALM = (ast.Name, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Tuple, ast.List, ast.Attribute)
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
        """The names that the text defines, without those that it imports, uses or sketches."""
        assigned = frozenset(each.get_name() for each in self._symbols if each.is_assigned())
        return assigned - self._used - frozenset(_sketched(self.statements))

    @cached_property
    def _used(self) -> frozenset[str]:
        """The names that an assignment reads before any definition, as in `add = add(1, 2)`."""
        defined, used = set[str](), set[str]()
        for each in self.statements:
            names = _names(each, ast.Store) | {getattr(each, "name", "")}
            if isinstance(each, ast.Assign):
                used |= names & _names(each.value, ast.Load) - defined
            defined |= names
        return frozenset(used)

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


def _names(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    """Return the names in a statement or expression that it reads, or that it stores."""
    names = (each for each in ast.walk(node) if isinstance(each, ast.Name))
    return {each.id for each in names if isinstance(each.ctx, context)}


def _sketched(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield the names of functions that do nothing; a later function may have the same name."""
    functions = {each.name: each for each in statements if isinstance(each, ast.FunctionDef)}
    for name, function in functions.items():
        if all(isinstance(each, ast.Pass) or _is_constant(each) for each in function.body):
            yield name


def _is_constant(statement: ast.stmt) -> bool:
    """True for a doc string and for `...`."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


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
    tested, response = Code(checks).read, response.removeprefix("\ufeff")
    whole = Code(_MARKED.fullmatch(response)[1])  # type: ignore[index]  # it matches any text
    blocks = list(_blocks(response))
    rules = (
        ("whole_response", [whole] if whole.is_program() else []),
        ("last_block", [Code(text) for language, text in blocks if _is_python(language)]),
        ("last_block", [Code(text) for _, text in blocks]),
        ("last_block", [Code(html.unescape(text)) for text in _HTML.findall(response)]),
        ("loose_lines", [Code(text) for text in _loose_texts(response)]),
    )
    for rule, codes in rules:
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
    yield from (block for _, block in _blocks(text))


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language of each block, as it is marked, and its code."""
    for token in _MARKDOWN.parse(text):
        if token.type in ("fence", "code_block"):
            nests = _FENCE.search(token.content) and not Code(token.content).statements
            inner = list(_blocks(token.content)) if nests else []
            yield from inner or [(token.info, _without_marks(token.content))]


def _is_python(language: str) -> bool:
    return not language.strip() or "py" in language.lower()


def _without_marks(block: str) -> str:
    """Return a block without what models leave beside its program, or as it is if it has none."""
    for text in (block, _LEFT.sub("", block), _typed(block)):
        if Code(text).is_program():
            return text
    return block


def _typed(block: str) -> str:
    """Return what was typed at the prompts `>>>` of a block."""
    try:
        return "".join(each.source for each in doctest.DocTestParser().get_examples(block))
    except ValueError:  # prompts that are not indented alike
        return ""


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
    """Return the most leading lines of one indentation that are a program; empty if none are.

    A fence ends them, whatever its indentation.
    """
    block = list(takewhile(lambda line: line.startswith(indent) or not line.strip(), lines))
    block = [line.removeprefix(indent) for line in block]
    starts = (line[:1].strip() or _FENCE.match(line.strip()) for line in block)
    ends = [end for end, begins in enumerate(starts) if end and begins]
    for end in reversed([*ends, len(block)]):
        if Code("\n".join(block[:end])).is_program():
            return block[:end]
    return []
