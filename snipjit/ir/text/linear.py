"""The printed form of LinearIR, a line a statement; ``parse_linear.py`` reads it back.

The grammar stands in ``ir/linear_ir.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Loop, Piece, Statement, is_kind
from snipjit.ir.parts import Parts
from snipjit.ir.states import STATE_NAMES
from snipjit.ir.subgraph import Dim
from snipjit.ir.tensors import Buffer, Tensor
from snipjit.ir.text.tokens import print_attrs

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
        yield f"axis {axis}{'' if size is None else f' = {size}'}{_plan(lir, axis)}", None
    for tensor in lir.inputs:
        yield f"input {_tensor(tensor)}", None
    for tensor in lir.outputs:
        yield f"output {_tensor(tensor)}", None
    for scalar in lir.scalars:
        yield f"scalar %{scalar}", None
    for statement in lir.body:
        yield from _statement_lines(statement, 0)


def _plan(lir: LinearIR, axis: str) -> str:
    plan = lir.plans.get(axis)
    if plan is None:
        return ""
    return f" : {plan.role}" + "".join(f" {name} {size}" for name, size in plan.sizes.items())


def _statement_lines(statement: Statement, depth: int) -> Iterator[tuple[str, Statement | None]]:
    indent = INDENT * depth
    if isinstance(statement, Buffer):
        yield indent + _buffer(statement), statement
    elif isinstance(statement, Expression):
        yield indent + _expression(statement), statement
    else:
        for head, piece in zip(_heads(statement), statement.pieces, strict=True):
            yield f"{indent}{head} {{", statement
            for inner in piece.body:
                yield from _statement_lines(inner, depth + 1)
        yield indent + "}", None


def _heads(loop: Loop) -> list[str]:
    """What stands before each body of a loop."""
    if is_kind(loop, "retry"):
        return [f"retry %{loop.flag}"]
    if is_kind(loop, "once"):
        return [f"once {' '.join(loop.at)}"]
    if is_kind(loop, "join"):
        return [f"join {loop.axis}{_ports(loop.pieces[0])}", "} last"]
    kind = "parallel" if loop.parallel else "for"
    first = f"{kind} {loop.axis}{_limits(loop)}{_states(loop)}{' even' if loop.even else ''} step"
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


def _states(loop: Loop) -> str:
    texts = []
    for state in loop.states:
        named = ((name, getattr(state, name)) for name in STATE_NAMES)
        texts.append(
            f"%{state.value} {state.monoid}"
            + "".join(f" {name} %{value}" for name, value in named if value)
        )
    return f" carries {' and '.join(texts)}" if texts else ""


def _tensor(tensor: Tensor) -> str:
    dims = _dims(tensor.dims)
    order = "".join(f" {dim}" for dim in tensor.order)
    block = " block {} {}".format(*tensor.block) if tensor.block else ""
    order = f" order{order}" if order else ""
    steps = "".join(f" then {op} %{name}" for op, name in tensor.steps)
    return f"%{tensor.name} : {tensor.dtype}{dims}{order}{block}{_parts(tensor.parts)}{steps}"


def _parts(parts: Parts | None) -> str:
    if parts is None:
        return ""
    products = "".join(f" of {axis} {_dims((own,))}" for axis, own in parts.whole)
    known = "".join(f" with {part} = {size}" for part, size in parts.known)
    return f" parts {_dims(parts.dims)}{products}{known}"


def _dims(dims: tuple[Dim, ...]) -> str:
    return "".join(f"[{' '.join(dim)}]" for dim in dims)


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
