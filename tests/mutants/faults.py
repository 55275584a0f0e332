"""Small faults to plant in a Python file: another operator, another constant, a condition inverted.

A fault replaces one piece of the source text, so that the rest of the file stays as it is.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
_COMPUTED: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "/",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitOr: "&",
    ast.BitAnd: "|",
}
_CALLED = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "floor": "ceil",
    "ceil": "floor",
    "minimum": "maximum",
    "maximum": "minimum",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
    "cumsum": "cumprod",
    "cumprod": "cumsum",
    "argmax": "argmin",
    "mean": "sum",
    "exp": "expm1",
    "log": "log1p",
    "sorted": "list",
    "clamp": "add",
}


@dataclass(frozen=True)
class Fault:
    """A piece of source text at [start, end) and what replaces it."""

    line: int
    start: int
    end: int
    old: str
    new: str

    def plant(self, source: str) -> str:
        """Return the source with the fault."""
        return source[: self.start] + self.new + source[self.end :]


def faults_of(source: str) -> list[Fault]:
    """Return the faults of a file, in order; type annotations and doc strings have none."""
    places = _Places(source)
    found = [fault for node in _code(ast.parse(source)) for fault in _of_node(node, places)]
    return sorted(set(found), key=lambda fault: (fault.start, fault.end, fault.new))


class _Places:
    """Offsets of syntax nodes in the source text."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines = source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a line and a column in bytes."""
        text = self.lines[line - 1].encode()[:column].decode()
        return self.starts[line - 1] + len(text)

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Return [start, end) of an expression."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.offset(node.lineno, node.col_offset)
        return start, self.offset(node.end_lineno, node.end_col_offset)

    def fault(self, start: int, end: int, new: str) -> Fault:
        """Return the fault that replaces [start, end)."""
        line = self.source.count("\n", 0, start) + 1
        return Fault(line, start, end, self.source[start:end], new)

    def between(self, left: ast.expr, right: ast.expr, new: str) -> Fault:
        """Return the fault that replaces the operator between two expressions."""
        start, end = self.span(left)[1], self.span(right)[0]
        text = self.source[start:end]
        core = text.strip(" \n\\()")
        begin = start + text.index(core)
        return self.fault(begin, begin + len(core), new)


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield nodes that run: without annotations, doc strings and imports."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "type_params", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Import | ast.ImportFrom):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if isinstance(child, ast.JoinedStr):  # its parts have no places in the source
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":  # of zip: a check
                continue
            yield child
            yield from _code(child)


def _of_node(node: ast.AST, places: _Places) -> Iterator[Fault]:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
            yield places.between(left, right, _COMPARED[type(operator)])
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        yield places.between(node.left, node.right, _COMPUTED[type(node.op)])
    elif isinstance(node, ast.BoolOp):
        other = "or" if isinstance(node.op, ast.And) else "and"
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield places.between(left, right, other)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        start, end = places.span(node)
        if places.source[start:end] == "-1":  # the last axis, often of two; -2 is a fault
            return
        yield places.fault(start, start + (1 if isinstance(node.op, ast.USub) else 4), "")
    elif isinstance(node, ast.Constant | ast.Call):
        yield from _of_word(node, places)
    elif isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
        yield from _of_condition(node.test, places)


def _of_condition(test: ast.expr, places: _Places) -> Iterator[Fault]:
    if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
        if isinstance(test, ast.Name) and test.id == "TYPE_CHECKING":
            return
        start, end = places.span(test)
        yield places.fault(start, end, f"not ({places.source[start:end]})")


def _of_word(node: ast.Constant | ast.Call, places: _Places) -> Iterator[Fault]:
    return _of_call(node, places) if isinstance(node, ast.Call) else _of_constant(node, places)


def _of_constant(node: ast.Constant, places: _Places) -> Iterator[Fault]:
    start, end = places.span(node)
    value = node.value
    if isinstance(value, bool):
        yield places.fault(start, end, str(not value))
    elif isinstance(value, int):
        yield places.fault(start, end, str(value + 1))
    elif isinstance(value, float):
        yield places.fault(start, end, f"{value * 1.1:.12g}" if value else "1.0")


def _of_call(node: ast.Call, places: _Places) -> Iterator[Fault]:
    name = node.func
    word = name.id if isinstance(name, ast.Name) else getattr(name, "attr", "")
    if word in _CALLED:
        _, end = places.span(name)
        yield places.fault(end - len(word), end, _CALLED[word])
