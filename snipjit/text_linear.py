"""The printed form of LinearIR: ``print_linear`` writes it, ``parse_linear`` reads it back.

The grammar stands in ``linear_ir.py``. Line breaks and indentation are free when reading, ``;``
may separate statements, and ``#`` starts a comment: the text may be edited by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from snipjit.linear_ir import (
    STRIDE,
    Buffer,
    Expression,
    Join,
    LinearIR,
    Loop,
    LoopPort,
    Piece,
    Retry,
    Statement,
    Tensor,
    ValueType,
    retry,
)
from snipjit.loop_limits import Limit
from snipjit.text_tokens import Tokens, print_attrs

INDENT = "  "


def print_linear(lir: LinearIR) -> str:
    """The text of a LinearIR; ``parse_linear`` gives back an equal one."""
    return "\n".join(line for line, _ in _lines(lir)) + "\n"


def print_statement(statement: Statement) -> str:
    """The text of one statement with everything inside it."""
    return "\n".join(line for line, _ in _statement_lines(statement, 0))


def around(lir: LinearIR, fault: Statement, context: int = 6) -> str:
    """The printed lines around a statement, which is marked by ``>``: the end of error messages."""
    lines = list(_lines(lir))
    at = next((i for i, (_, owner) in enumerate(lines) if owner is fault), None)
    if at is None:
        return print_statement(fault)
    shown = range(max(0, at - context), min(len(lines), at + context + 1))
    return "\n".join(f"{'>' if i == at else ' '}{i + 1:5} | {lines[i][0]}" for i in shown)


def _lines(lir: LinearIR) -> Iterator[tuple[str, Statement | None]]:
    """Every line with the statement that it prints."""
    yield f"linear @{lir.name} lanes {' '.join(lir.lanes)} x {lir.width}", None
    for axis, size in lir.axes.items():
        yield f"axis {axis}" + ("" if size is None else f" = {size}"), None
    for tensor in lir.inputs:
        yield f"input {_tensor(tensor)}", None
    for tensor in lir.outputs:
        yield f"output {_tensor(tensor)}", None
    for scalar in lir.scalars:
        yield f"scalar %{scalar}", None
    for statement in lir.body:
        yield from _statement_lines(statement, 0)


def _statement_lines(statement: Statement, depth: int) -> Iterator[tuple[str, Statement | None]]:
    indent = INDENT * depth
    if isinstance(statement, Buffer):
        yield indent + _buffer(statement), statement
    elif isinstance(statement, Expression):
        yield indent + _expression(statement), statement
    elif isinstance(statement, Retry):
        yield f"{indent}retry %{statement.flag} {{", statement
        for inner in statement.body:
            yield from _statement_lines(inner, depth + 1)
        yield indent + "}", None
    else:
        for head, piece in zip(_heads(statement), statement.pieces, strict=True):
            yield f"{indent}{head} {{", statement
            for inner in piece.body:
                yield from _statement_lines(inner, depth + 1)
        yield indent + "}", None


def _heads(loop: Loop) -> list[str]:
    """What stands before each body of a loop."""
    if isinstance(loop, Join):
        return [f"join {loop.axis}{_ports(loop.pieces[0])}", "} last"]
    kind = "parallel" if loop.parallel else "for"
    first = f"{kind} {loop.axis}{_limits(loop)} step"
    heads = [first, *["} tail"] * (len(loop.pieces) - 1)]
    return [f"{head} {_piece(piece)}" for head, piece in zip(heads, loop.pieces, strict=True)]


def _limits(loop: Loop) -> str:
    texts = []
    for limit in loop.limits:
        sign = "-" if limit.offset < 0 else "+"
        of = f"{limit.of} " if limit.of else ""
        text = f"{limit.axis} {limit.sense} {of}{sign} {abs(limit.offset)}"
        text += "".join(f" + %{name}" for name in limit.plus)
        text += "".join(f" - %{name}" for name in limit.minus)
        texts.append(text + (f" when %{limit.when}" if limit.when else ""))
    return f" where {' and '.join(texts)}" if texts else ""


def _tensor(tensor: Tensor) -> str:
    dims = "".join(f"[{' '.join(dim)}]" for dim in tensor.dims)
    order = "".join(f" {dim}" for dim in tensor.order)
    return f"%{tensor.name} : {tensor.dtype}{dims}" + (f" order{order}" if order else "")


def _buffer(buffer: Buffer) -> str:
    extents = "".join(f"[{axis}:{extent}]" for axis, extent in buffer.extents.items())
    at = "" if buffer.offset is None else f" at {buffer.offset}"
    return f"buffer %{buffer.name} : {buffer.dtype}{extents}{_pairs(buffer.pairs)}{at}"


def _expression(e: Expression) -> str:
    output = "" if e.output is None else f"%{e.output} = "
    operands = "".join(f" %{name}" for name in e.inputs)
    return f"{output}{e.op}{operands}{print_attrs(e.attrs)} : {print_type(e.type)}"


def print_type(type: ValueType) -> str:
    """Element type, axes, and the axis of pairs: ``bf16[n m] pairs n``."""
    return f"{type.dtype}[{' '.join(type.axes)}]{_pairs(type.pairs)}"


def _pairs(axis: str | None) -> str:
    return "" if axis is None else f" pairs {axis}"


def _piece(piece: Piece) -> str:
    return f"{piece.step}{' masked' if piece.masked else ''}{_ports(piece)}"


def _ports(piece: Piece) -> str:
    words = ["", "moves"] if piece.ports else []
    for port in piece.ports:
        words += [f"%{port.tensor} by {port.ptr_increment}"]
        words += ["rewind"] if port.rewind else []
    return " ".join(words)


def parse_linear(text: str) -> LinearIR:
    """Read a printed LinearIR. Raises ParseError, which names the line."""
    tokens = Tokens(text)
    tokens.expect("linear")
    name = tokens.word("@name", "@")
    tokens.expect("lanes")
    lanes = [tokens.word("a lanes axis")]
    while not tokens.accept("x"):
        lanes.append(tokens.word("a lanes axis or 'x'"))
    lir = LinearIR(name, tuple(lanes), tokens.integer("the vector width"), {}, [], [], [], [])
    while _declaration(tokens, lir):
        pass
    lir.body = _block(tokens)
    if not tokens.done:
        raise tokens.expected("a statement")
    return lir


def _declaration(tokens: Tokens, lir: LinearIR) -> bool:
    """Read one line of the head; False where the body begins."""
    if tokens.accept("axis"):
        axis = tokens.word("an axis")
        lir.axes[axis] = tokens.integer("a size") if tokens.accept("=") else None
    elif tokens.accept("input"):
        lir.inputs.append(_parse_tensor(tokens))
    elif tokens.accept("output"):
        lir.outputs.append(_parse_tensor(tokens))
    elif tokens.accept("scalar"):
        lir.scalars.append(tokens.word("%scalar", "%"))
    else:
        return False
    return True


def _parse_tensor(tokens: Tokens) -> Tensor:
    name = tokens.word("%tensor", "%")
    tokens.expect(":")
    dtype, dims = tokens.dtype(), tokens.dims()
    order: list[int] = []
    if tokens.accept("order"):
        while tokens.peek().isdecimal():
            order.append(tokens.integer("a dim"))
    return Tensor(name, dtype, dims, tuple(order))


def _block(tokens: Tokens) -> list[Statement]:
    """Statements up to a closing brace (which stays) or the end."""
    body: list[Statement] = []
    while not tokens.done and tokens.peek() != "}":
        if tokens.accept("buffer"):
            body.append(_parse_buffer(tokens))
        elif tokens.peek() in ("for", "parallel"):
            body.append(_parse_loop(tokens))
        elif tokens.accept("join"):
            body.append(_parse_join(tokens))
        elif tokens.accept("retry"):
            flag = tokens.word("%value", "%")
            body.append(retry(flag, _braces(tokens)))
        else:
            body.append(_parse_expression(tokens))
    return body


def _parse_buffer(tokens: Tokens) -> Buffer:
    name = tokens.word("%buffer", "%")
    tokens.expect(":")
    buffer = Buffer(name, tokens.dtype(), {})
    while tokens.accept("["):
        axis = tokens.word("an axis")
        tokens.expect(":")
        buffer.extents[axis] = tokens.integer("an extent")
        tokens.expect("]")
    buffer.pairs = _parse_pairs(tokens)
    if tokens.accept("at"):
        buffer.offset = tokens.integer("an offset in bytes")
    return buffer


def _parse_loop(tokens: Tokens) -> Loop:
    parallel = tokens.next().text == "parallel"
    axis = tokens.word("an axis")
    limits = [_parse_limit(tokens)] if tokens.accept("where") else []
    while limits and tokens.accept("and"):
        limits.append(_parse_limit(tokens))
    tokens.expect("step")
    pieces = [_parse_piece(tokens)]
    while tokens.accept("tail"):
        pieces.append(_parse_piece(tokens))
    return Loop(axis, pieces, parallel, tuple(limits))


def _parse_join(tokens: Tokens) -> Join:
    axis = tokens.word("an axis")
    each = _parse_body(tokens, 1)
    tokens.expect("last")
    return Join(axis, [each, _parse_body(tokens, 1)])


def _parse_limit(tokens: Tokens) -> Limit:
    axis, sense = tokens.word("an axis"), tokens.word("'upto' or 'from'")
    if sense not in ("upto", "from"):
        raise tokens.refuse("a limit is 'upto' or 'from'")
    of = "" if tokens.peek() in ("+", "-") else tokens.word("an axis")
    sign = -1 if tokens.accept("-") else 1
    if sign > 0:
        tokens.expect("+")
    offset = sign * tokens.integer("an offset")
    scalars: dict[str, list[str]] = {"+": [], "-": []}
    while tokens.peek() in scalars:
        scalars[tokens.next().text].append(tokens.word("%scalar", "%"))
    when = tokens.word("%value", "%") if tokens.accept("when") else ""
    return Limit(axis, sense, of, offset, tuple(scalars["+"]), tuple(scalars["-"]), when)


def _parse_piece(tokens: Tokens) -> Piece:
    step = tokens.integer("a step")
    if step == 0:
        raise tokens.refuse("a step must be at least 1")
    return _parse_body(tokens, step, masked=tokens.accept("masked"))


def _parse_body(tokens: Tokens, step: int, masked: bool = False) -> Piece:
    ports: list[LoopPort] = []
    if tokens.accept("moves"):
        while tokens.peek() != "{":
            ports.append(_parse_port(tokens))
    return Piece(step, _braces(tokens), masked, ports)


def _braces(tokens: Tokens) -> list[Statement]:
    tokens.expect("{")
    body = _block(tokens)
    tokens.expect("}")
    return body


def _parse_port(tokens: Tokens) -> LoopPort:
    tensor = tokens.word("%tensor or '{'", "%")
    tokens.expect("by")
    increment = STRIDE if tokens.accept(STRIDE) else tokens.integer("an increment or 'stride'")
    return LoopPort(tensor, increment, tokens.accept("rewind"))


def _parse_expression(tokens: Tokens) -> Expression:
    output = None
    if tokens.peek().startswith("%"):
        output = tokens.word("%value", "%")
        tokens.expect("=")
    op = tokens.word("a statement")
    inputs = []
    while tokens.peek().startswith("%"):
        inputs.append(tokens.word("%operand", "%"))
    attrs = tokens.attrs()
    tokens.expect(":")
    type = ValueType(tokens.dtype(), tokens.axes(), _parse_pairs(tokens))
    return Expression(op, output, tuple(inputs), type, attrs)


def _parse_pairs(tokens: Tokens) -> str | None:
    return tokens.word("the axis of pairs") if tokens.accept("pairs") else None
