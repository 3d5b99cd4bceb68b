"""Reading the printed form of LinearIR; the grammar stands in ``ir/linear_ir.py``.

Line breaks and indentation are free, ``;`` may separate statements, and ``#`` starts a comment: the
text may be edited by hand.
"""

from __future__ import annotations

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import (
    STRIDE,
    LinearIR,
    Loop,
    LoopKind,
    LoopPort,
    Piece,
    Statement,
    once,
    retry,
)
from snipjit.ir.loop_limits import Limit
from snipjit.ir.parts import Parts
from snipjit.ir.schedule import ROLES, SIZES, AxisPlan
from snipjit.ir.states import STATE_NAMES, State
from snipjit.ir.tensors import Buffer, Tensor
from snipjit.ir.text.tokens import Tokens


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
        if tokens.accept(":"):
            lir.plans[axis] = _parse_plan(tokens)
    elif tokens.accept("input"):
        lir.inputs.append(_parse_tensor(tokens))
    elif tokens.accept("output"):
        lir.outputs.append(_parse_tensor(tokens))
    elif tokens.accept("scalar"):
        lir.scalars.append(tokens.word("%scalar", "%"))
    else:
        return False
    return True


def _parse_plan(tokens: Tokens) -> AxisPlan:
    name, sizes = tokens.word("a role"), dict[str, int]()
    role = next((role for role in ROLES if role == name), None)
    if role is None:
        raise tokens.refuse(f"a role is one of {', '.join(ROLES)}")
    while tokens.peek() in SIZES:
        name = tokens.next().text
        sizes[name] = tokens.integer(f"the size {name}")
    return AxisPlan(role, **sizes)


def _parse_tensor(tokens: Tokens) -> Tensor:
    name = tokens.word("%tensor", "%")
    tokens.expect(":")
    dtype, dims = tokens.dtype(), tokens.dims()
    order: list[int] = []
    if tokens.accept("order"):
        while tokens.peek().isdecimal():
            order.append(tokens.integer("a dim"))
    block = None
    if tokens.accept("block"):
        block = tokens.word("an axis"), tokens.integer("its neighbours")
    parts, steps = _parse_parts(tokens), []
    while tokens.accept("then"):
        steps.append((tokens.word("a function"), tokens.word("%operand", "%")))
    return Tensor(name, dtype, dims, tuple(order), block, parts, tuple(steps))


def _parse_parts(tokens: Tokens) -> Parts | None:
    if not tokens.accept("parts"):
        return None
    dims, whole = tokens.dims(), []
    while tokens.accept("of"):
        whole.append((tokens.word("an axis"), tokens.axes()))
    known: list[tuple[str, int]] = []
    while tokens.accept("with"):
        part = tokens.word("a part")
        tokens.expect("=")
        known.append((part, tokens.integer("its size")))
    return Parts(dims, tuple(whole), tuple(known))


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
        elif tokens.accept("once"):
            at = []
            while tokens.peek() != "{":
                at.append(tokens.word("an axis"))
            body.append(once(tuple(at), _braces(tokens)))
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
    kind: LoopKind = "parallel" if tokens.next().text == "parallel" else "for"
    axis = tokens.word("an axis")
    limits = [_parse_limit(tokens)] if tokens.accept("where") else []
    while limits and tokens.accept("and"):
        limits.append(_parse_limit(tokens))
    states = [_parse_state(tokens)] if tokens.accept("carries") else []
    while states and tokens.accept("and"):
        states.append(_parse_state(tokens))
    even = tokens.accept("even")
    tokens.expect("step")
    pieces = [_parse_piece(tokens)]
    while tokens.accept("tail"):
        pieces.append(_parse_piece(tokens))
    return Loop(axis, pieces, kind, tuple(limits), tuple(states), even=even)


def _parse_state(tokens: Tokens) -> State:
    value, monoid = tokens.word("%value", "%"), tokens.word("a monoid")
    names: dict[str, str] = {}
    while tokens.peek() in STATE_NAMES:
        name = tokens.next().text
        names[name] = tokens.word("%value", "%")
    return State(value, monoid, **names)


def _parse_join(tokens: Tokens) -> Loop:
    axis = tokens.word("an axis")
    each = _parse_body(tokens, 1)
    tokens.expect("last")
    return Loop(axis, [each, _parse_body(tokens, 1)], "join")


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
