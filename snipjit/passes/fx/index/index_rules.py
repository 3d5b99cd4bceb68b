"""What the ops of a mask make of indices and constants: a rule for each op.

A rule takes a node, its call, and a function that tells what is known of an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from torch import fx

from snipjit.ir.operations import ELEMENTWISE, kind_of
from snipjit.passes.fx.index.created import RANGES, creation
from snipjit.passes.fx.index.fills import FILLS, held
from snipjit.passes.fx.index.index_layouts import sources_of_dims
from snipjit.passes.fx.index.indices import WHOLE, Indices, checked, is_whole, padded
from snipjit.passes.fx.nodes.calls import Call
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    Size,
    is_one,
    is_tensor,
    literal,
    normal_dim,
    same,
    tensor,
)

Lookup = Callable[[Any], Indices | None]
Rule = Callable[[fx.Node, Call, Lookup], Indices | None]
_LAYOUTS = ("view", "unsqueeze", "expand")


def _truth(known: Indices | None) -> Indices | None:
    return replace(known, number=bool(known.number)) if known and known.is_constant else None


def created(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    """A fill or a range."""
    made = creation(node)
    start = of(made.value) if made is not None else None
    if made is None or start is None or any(start.factors):
        return None
    if tensor(node).dtype == torch.bool:
        truth = _truth(start)
        return replace(truth, factors=(0,) * tensor(node).dim()) if truth is not None else None
    if (made.is_range or tensor(node).dtype in WHOLE) and not is_whole(start.number):
        return None
    found = replace(start, factors=(1,) if made.is_range else (0,) * tensor(node).dim())
    return checked(found) if made.is_range else found


def moved(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    """A layout op: each dim is a dim of the operand, or new."""
    source = call.get("input")
    known = of(source)
    if known is None or not is_tensor(source):
        return None
    if known.is_constant:
        return replace(known, factors=(0,) * tensor(node).dim())
    try:
        dims = sources_of_dims(node)
    except RefusedError:
        return None
    lost = any(f for dim, f in enumerate(known.factors) if f and dim not in dims)
    factors = tuple(0 if dim is None else known.factors[dim] for dim in dims)
    return None if lost else replace(known, factors=factors)


# Elementwise ops; comparisons that every element decides alike are constants.


def _add(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    sign = -1 if call.op in ("sub", "rsub") else 1
    sides = [of(call.get(name)) for name in ("input", "other")]
    left, right = reversed(sides) if call.op == "rsub" else sides
    if left is None or right is None or call.get("alpha", 1) != 1:
        return None
    return left.plus(right, sign) if tensor(node).dtype in (*WHOLE, torch.float32) else None


def _neg(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    known = of(call.get("input"))
    return Indices((0,) * len(known.factors)).plus(known, -1) if known is not None else None


def _cast(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    known = of(call.get("input"))
    if known is None or tensor(node).dtype == torch.bool:
        return _truth(known)
    whole = tensor(node).dtype in WHOLE
    return known if not whole or is_whole(known.number) else None


def _compare(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    left, right = (of(call.get(name)) for name in ("input", "other"))
    if left is None or right is None:
        return None
    both_constant = left.is_constant and right.is_constant
    if both_constant:
        left, right = (_as_compared(call, side) for side in (left, right))
    difference = replace(left, number=left.number - right.number) if both_constant else None
    difference = left.plus(right, -1) if difference is None else difference
    if difference is None or difference.symbols or math.isnan(difference.number):
        return None
    least = difference.number if min(difference.factors, default=0) >= 0 else -math.inf
    most = difference.number if max(difference.factors, default=0) <= 0 else math.inf
    decided = _decided(call.op, least, most)
    rank = tensor(node).dim()
    return None if decided is None else Indices((0,) * rank, decided)


def _as_compared(call: Call, known: Indices) -> Indices:
    """A constant in the type in which the sides are compared; whole numbers stay as they are."""
    sides = [call.get(name) for name in ("input", "other")]
    types = [tensor(side).dtype for side in sides if is_tensor(side)]
    types = [dtype for dtype in types if dtype.is_floating_point]
    if not types and not any(isinstance(side, float) for side in sides):
        return known
    dtype = reduce(torch.promote_types, types) if types else torch.get_default_dtype()
    number = held(known.number, dtype)
    return known if number is None else replace(known, number=number)


def _decided(op: str, least: float, most: float) -> bool | None:
    """The truth of ``x op 0`` for all x from ``least`` to ``most``, None if it differs."""
    if op in ("lt", "le", "gt", "ge"):
        if op in ("gt", "ge"):
            op, least, most = ELEMENTWISE[op].mirrored, -most, -least
        always, never = (most < 0, least >= 0) if op == "lt" else (most <= 0, least > 0)
    else:
        always, never = least == most == 0, least > 0 or most < 0
        always, never = (never, always) if op == "ne" else (always, never)
    return True if always else False if never else None


def _logic(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    names = ("input",) if call.op == "not" else ("input", "other")
    if tensor(node).dtype != torch.bool:
        return None
    sides = [of(call.get(name)) for name in names]
    known = [bool(side.number) for side in sides if side is not None and side.is_constant]
    rank = tensor(node).dim()
    for absorbing, op in ((False, "and"), (True, "or")):
        if call.op == op and (absorbing in known or len(known) == 2):
            return Indices((0,) * rank, absorbing if absorbing in known else not absorbing)
    return Indices((0,) * rank, not known[0]) if call.op == "not" and known else None


def _where(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    test = of(call.get("condition"))
    if test is None or not test.is_constant:
        return None
    return of(call.get("input" if test.number else "other"))


# Further functions of the masks of packed sequences.


def _diff(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    """Of a range: its step; what is prepended must be one element, by a step before the first."""
    known, before = of(call.get("input")), call.get("prepend")
    dim = literal(call.get("dim", -1))
    if known is None or dim is None or call.get("n", 1) != 1 or call.get("append") is not None:
        return None
    dim = normal_dim(dim, len(known.factors))
    found = Indices((0,) * tensor(node).dim(), known.factors[dim])
    if before is None:
        return found
    first = of(before)
    distance = known.plus(first, -1) if first is not None else None
    if distance is None or not is_tensor(before) or not is_one(tensor(before).shape[dim]):
        return None
    # Along the dim the prepended element has the index 0.
    across = any(factor for d, factor in enumerate(distance.factors) if d != dim)
    return None if across or distance.symbols or distance.number != found.number else found


def _cumsum(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    known = of(call.get("input"))
    zero = known is not None and known.is_constant and known.number == 0
    return Indices((0,) * tensor(node).dim()) if zero else None


def _repeat(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    """Repeated along dims in which nothing changes."""
    known = of(call.get("input"))
    if known is None:
        return None
    shape, own = tensor(node).shape, tensor(call.get("input")).shape
    factors = padded(known.factors, len(shape))
    sizes: list[Size] = [*(1,) * (len(shape) - len(own)), *own]
    kept = all(not f or same(a, b) for f, a, b in zip(factors, sizes, shape, strict=True))
    return replace(known, factors=factors) if kept else None


def _index(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    return _gathered(node, call.get("input"), tuple(call.get("indices")), of)


def _getitem(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    index = call.get("index")
    index = index if isinstance(index, tuple) else (index,)
    if any(is_tensor(item) for item in index):
        return _gathered(node, call.get("input"), index, of)
    if len(index) > 0 and any(isinstance(item, slice) and item != slice(None) for item in index):
        return _sliced(call.get("input"), index, of)
    return moved(node, call, of)


def _sliced(source: Any, index: tuple[Any, ...], of: Lookup) -> Indices | None:
    """Slices from a literal start: the range begins later."""
    known = of(source)
    if known is None or not all(isinstance(item, slice) for item in index):
        return None
    number = known.number
    for item, factor in zip(index, known.factors, strict=False):
        start = item.start or 0
        if item.step not in (None, 1) or (factor and not (isinstance(start, int) and start >= 0)):
            return None
        number += start * factor if factor else 0
    return checked(replace(known, number=number))


def _gathered(node: fx.Node, source: Any, index: tuple[Any, ...], of: Lookup) -> Indices | None:
    """``x[i, j]`` of indices by indices: each factor times what stands in its place."""
    known = of(source)
    if known is None or len(index) != len(known.factors):
        return None
    if known.is_constant:
        return replace(known, factors=(0,) * tensor(node).dim())
    found: Indices | None = Indices((), known.number, known.symbols)
    for item, factor in zip(index, known.factors, strict=True):
        at = of(item) if is_tensor(item) else None
        # An index below 0 would count from the end.
        if at is None or at.symbols or at.number < 0 or min(at.factors, default=0) < 0:
            return None
        if factor and found is not None:
            found = found.plus(at, factor)
    return replace(found, factors=padded(found.factors, tensor(node).dim())) if found else None


def _slice(node: fx.Node, call: Call, of: Lookup) -> Indices | None:
    known = of(call.get("input"))
    start, dim = call.get("start") or 0, literal(call.get("dim", 0))
    if known is None or call.get("step", 1) != 1 or dim is None:
        return None
    factor = known.factors[dim]
    if factor and not (isinstance(start, int) and start >= 0):
        return None
    return checked(replace(known, number=known.number + factor * start)) if factor else known


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("add", "sub", "rsub"), _add),
    **dict.fromkeys((op for op in ELEMENTWISE if kind_of(op) == "comparison"), _compare),
    **dict.fromkeys(("and", "or", "not"), _logic),
    **dict.fromkeys(("where", "where_method"), _where),
    **dict.fromkeys((*FILLS, *RANGES, "scalar_tensor"), created),
    **dict.fromkeys(_LAYOUTS, moved),
    "neg": _neg,
    "cast": _cast,
    "getitem": _getitem,
    "slice": _slice,
    "diff": _diff,
    "cumsum": _cumsum,
    "repeat": _repeat,
    "index": _index,
}
