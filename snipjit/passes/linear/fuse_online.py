"""FuseOnline: two loops become one when sums over exponentials can follow a running maximum.

The algebra is that of online softmax (Milakov and Gimelshein, arXiv:1805.02867; Dao,
arXiv:2307.08691): an accumulator that is linear in ``exp(x - max)`` stays right when the maximum
moves from ``a`` to ``b`` if it is multiplied by ``exp(a - b)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from snipjit.ir.linear_ir import Expression, LinearIR, Loop, Piece, Statement, ValueType
from snipjit.ir.operations import ELEMENTWISE, EXPONENTIALS, MAXIMA
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class FuseOnline(Pass):
    """A legality rule of loop fusion: replace a finished maximum by its running form.

    The second loop may use the maximum of the first only as ``exp(x - max)``, and only through
    operations that commute with scaling a row, into sums. Anything else keeps its two loops.
    Other results of the first loop, maxima among them, stay as they are if the second reads none.
    A row that has seen only -inf subtracts 0 instead of its maximum while the loop runs, so that
    it can still recover; afterwards ``max - max`` puts back the NaN that -inf - -inf would give,
    unless there was nothing to take the maximum of.

    Before:  %x = fill {value=-inf} ; %l = fill {value=0.0}
             for n step 128 { %s = … ; %x.part = reduce %s ; %x = larger %x %x.part }
             for n step 128 { %s.1 = … ; %c = sub %s.1 %x ; %p = exp %c
                              %l.part = reduce %p ; %l = add %l %l.part }
    After:   %x = fill {value=-inf} ; %l = fill {value=0.0} ; %x.last = fill {value=0.0}
             for n step 128 {
               %s = … ; %x.part = reduce %s
               %x.new = larger %x %x.part
               %x.safe = where (%x.new == -inf) 0 %x.new
               %x.scale = exp (%x - %x.safe) ; %x = %x.new ; %x.last = %x.new
               %c = sub %s %x.safe ; %p = exp %c
               %l = mul %l %x.scale ; %l.part = reduce %p ; %l = add %l %l.part }
             %x.nan = sub %x.last %x.last ; %l = add %l %x.nan
    """

    def run(self, lir: LinearIR) -> LinearIR:
        """Fuse every pair of neighbouring loops that allows it."""
        lir.body = _rewrite(lir.body)
        return lir


def _rewrite(body: list[Statement]) -> list[Statement]:
    for statement in body:
        if isinstance(statement, Loop):
            for piece in statement.pieces:
                piece.body = _rewrite(piece.body)
    loops = [i for i, statement in enumerate(body) if isinstance(statement, Loop)]
    for first, second in itertools.pairwise(loops):
        fused = _fuse(body[:first], body[first], body[first + 1 : second], body[second])
        if fused is not None:
            return _rewrite(body[:first] + fused + body[second + 1 :])
    return body


@dataclass
class _Chain:
    """What the second loop does with the maximum: names of values, by what they are.

    aliases  the maximum
    shifted  x - max
    scaled   linear in exp(x - max): sums that must be scaled when the maximum moves
    exposed  depend on the maximum itself, which may be infinite
    zeros    constants 0
    base     the exponential that is taken, which rescales sums as well, and its attributes
    attrs
    """

    maximum: str
    aliases: set[str] = field(default_factory=set)
    shifted: set[str] = field(default_factory=set)
    scaled: set[str] = field(default_factory=set)
    exposed: set[str] = field(default_factory=set)
    zeros: set[str] = field(default_factory=set)
    base: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def admit(self, e: Expression) -> bool:
        """Take in the next expression; False if it breaks the algebra."""
        tainted = self.aliases | self.shifted | self.scaled
        if not tainted.intersection(e.inputs):
            return True
        assert e.output is not None or e.op == "store"
        if e.output is None:
            return False
        first, rest = e.inputs[0], set(e.inputs[1:])
        if e.op == "sub" and first not in tainted and rest <= self.aliases:
            self.shifted.add(e.output)
        elif e.op in EXPONENTIALS and first in self.shifted and self.base in ("", e.op):
            self.base, self.attrs = e.op, e.attrs
            self.scaled.add(e.output)
        elif not self._is_linear(e):
            return False
        else:
            self.scaled.add(e.output)
        if (e.op == "sub" and self.maximum in rest) or self.exposed.intersection(e.inputs):
            self.exposed.add(e.output)
        return True

    def _is_linear(self, e: Expression) -> bool:
        other = (self.aliases | self.shifted).intersection(e.inputs)
        updates = e.output in e.inputs and e.op not in ("add", "brgemm", "fma")
        if other or updates:
            return False
        if e.op in ("brgemm", "fma"):
            one = (e.inputs[0] in self.scaled) != (e.inputs[1] in self.scaled)
            return one and e.inputs[2:3] in ((), (e.output,))
        if e.op == "reduce":
            return bool(e.attrs["monoid"] == "sum")
        if e.op not in ELEMENTWISE:
            return False
        if e.op == "where" and self.exposed.intersection(e.inputs):
            return False  # what it leaves out of a hidden row would come back as NaN
        # An accumulator is scaled where it stands; zeros are as they were.
        scaled = {i for i, name in enumerate(e.inputs) if name in self.scaled}
        fits = scaled | {i for i, n in enumerate(e.inputs) if n == e.output or n in self.zeros}
        return any(scaled <= {*of} <= fits for of in ELEMENTWISE[e.op].linear)


def _fuse(
    outer: list[Statement], first: Statement, between: list[Statement], second: Statement
) -> list[Statement] | None:
    assert isinstance(first, Loop)
    assert isinstance(second, Loop)
    if first.axis != second.axis or first.step != second.step:
        return None
    maxima = [
        e.output
        for e in first.body
        if isinstance(e, Expression) and e.op in MAXIMA and e.inputs[0] == e.output
    ]
    constants = _constants([*outer, *between], second)
    chains = (_analyse(maximum or "", constants, between, second) for maximum in maxima)
    chain = next((chain for chain in chains if chain is not None and chain.shifted), None)
    if chain is None or _other_results(first, chain, between, second):
        return None
    before = [e for e in between if isinstance(e, Expression) and e.op == "fill"]
    after = [e for e in between if e not in before]
    body = _fused_body(first, second, chain)
    if chain.exposed:
        zero = {"value": 0.0}
        before.append(
            Expression("fill", f"{chain.maximum}.last", (), _row_type(second, chain), zero)
        )
    return [*before, Loop(first.axis, [Piece(first.step, body)]), *_poison(second, chain), *after]


def _constants(statements: list[Statement], second: Loop) -> dict[str, float]:
    """The values of the fills that the second loop does not accumulate into."""
    updated = {e.output for e in second.body if isinstance(e, Expression)}
    fills = [e for e in statements if isinstance(e, Expression) and e.op == "fill"]
    return {e.output or "": e.attrs["value"] for e in fills if e.output not in updated}


def _analyse(
    maximum: str, constants: dict[str, float], between: list[Statement], second: Loop
) -> _Chain | None:
    """The uses of the maximum, or None when one of them does not allow fusion."""
    chain = _Chain(maximum, {maximum})
    chain.zeros = {name for name, value in constants.items() if value == 0}
    tests: set[str] = set()
    for e in between:
        if not isinstance(e, Expression):
            return None
        name = e.output or ""
        if e.op == "eq" and e.inputs[0] == maximum and constants.get(e.inputs[1]) == -math.inf:
            tests.add(name)
        elif e.op == "where" and e.inputs[0] in tests and e.inputs[2] == maximum:
            chain.aliases |= {name} if e.inputs[1] in chain.zeros else set()
    for e in second.body:
        if not isinstance(e, Expression) or not chain.admit(e):
            return None
    return chain


def _other_results(first: Loop, chain: _Chain, between: list[Statement], second: Loop) -> bool:
    """Whether the second loop needs anything else that is finished only after the first."""
    made = {e.output for e in first.body if isinstance(e, Expression)} - {chain.maximum}
    made |= {e.output for e in between if isinstance(e, Expression) and e.op != "fill"}
    made -= chain.aliases
    inside = {e.output for e in second.body if isinstance(e, Expression)}
    reads = {n for e in second.body if isinstance(e, Expression) for n in e.inputs}
    accumulators = {
        e.output for e in second.body if isinstance(e, Expression) and e.output in e.inputs
    }
    return bool((reads - inside | accumulators) & made)


def _fused_body(first: Loop, second: Loop, chain: _Chain) -> list[Statement]:
    renames = _equal_values(first, second)
    safe = f"{chain.maximum}.safe"
    renames.update(dict.fromkeys(chain.aliases, safe))
    body: list[Statement] = []
    for e in first.body:
        assert isinstance(e, Expression)
        if e.output == chain.maximum:
            body += _running_maximum(e, chain)
        else:
            body.append(e)
    rescaled: set[str] = set()
    for e in second.body:
        assert isinstance(e, Expression)
        if e.output in renames:
            continue
        if e.output in e.inputs and e.output in chain.scaled and e.output not in rescaled:
            rescaled.add(e.output)
            scale = f"{chain.maximum}.scale"
            body.append(Expression("mul", e.output, (e.output, scale), e.type))
        body.append(replace(e, inputs=tuple(renames.get(name, name) for name in e.inputs)))
    return body


def _equal_values(first: Loop, second: Loop) -> dict[str, str]:
    """The values of the second loop that the first loop has computed already."""
    known: dict[object, str] = {}
    updated = {e.output for e in first.body if isinstance(e, Expression) and e.output in e.inputs}
    renames: dict[str, str] = {}
    for e in first.body:
        if isinstance(e, Expression) and e.output is not None and e.output not in updated:
            known[_signature(e, {})] = e.output
    for e in second.body:
        if isinstance(e, Expression) and e.output is not None:
            equal = known.get(_signature(e, renames))
            if equal is not None and e.output not in e.inputs:
                renames[e.output] = equal
    return renames


def _signature(e: Expression, renames: dict[str, str]) -> object:
    inputs = tuple(renames.get(name, name) for name in e.inputs)
    return e.op, inputs, e.type, repr(sorted(e.attrs.items()))


def _running_maximum(e: Expression, chain: _Chain) -> list[Statement]:
    """The maximum so far, one that is safe to subtract, and what the old sums must be scaled by."""
    x = e.output
    assert x is not None
    test = ValueType("i1", e.type.axes)
    last = Expression(e.op, f"{x}.last", (f"{x}.new", f"{x}.new"), e.type)
    return [
        Expression(e.op, f"{x}.new", e.inputs, e.type),
        Expression("fill", f"{x}.low", (), ValueType("f32"), {"value": -math.inf}),
        Expression("fill", f"{x}.zero", (), ValueType("f32"), {"value": 0.0}),
        Expression("eq", f"{x}.hidden", (f"{x}.new", f"{x}.low"), test),
        Expression("where", f"{x}.safe", (f"{x}.hidden", f"{x}.zero", f"{x}.new"), e.type),
        Expression("sub", f"{x}.moved", (x, f"{x}.safe"), e.type),
        Expression(chain.base or "exp", f"{x}.scale", (f"{x}.moved",), e.type, chain.attrs),
        Expression(e.op, x, e.inputs, e.type),
        *([last] if chain.exposed else []),
    ]


def _poison(second: Loop, chain: _Chain) -> list[Statement]:
    """NaN into the sums of rows whose maximum is infinite, unless the program avoids it itself."""
    if not chain.exposed:
        return []
    sums = {
        e.output: e
        for e in second.body
        if isinstance(e, Expression) and e.output in e.inputs and e.output in chain.exposed
    }
    nan = f"{chain.maximum}.nan"
    row = _row_type(second, chain)
    last = f"{chain.maximum}.last"
    body: list[Statement] = [Expression("sub", nan, (last, last), row)]
    body += [Expression("add", name, (name or "", nan), e.type) for name, e in sums.items()]
    return body


def _row_type(second: Loop, chain: _Chain) -> ValueType:
    """The type of the maximum: that of a shifted value without the streamed axis."""
    shifted = next(
        e for e in second.body if isinstance(e, Expression) and e.output in chain.shifted
    )
    axes = tuple(axis for axis in shifted.type.axes if axis != second.axis)
    return ValueType(shifted.type.dtype, axes)
