"""FuseOnline: two loops become one when sums over exponentials can follow a running maximum.

The state that the loop carries then is the monoid of ``online_states.py``.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Loop, Piece, Statement
from snipjit.ir.linear_ir import expressions as expressions_of
from snipjit.ir.operations import MAXIMA, MONOIDS
from snipjit.ir.states import State
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.passes.linear.online_algebra import Chain
from snipjit.passes.linear.online_states import Exponential, move_maximum, online, scale_sum


@dataclass(frozen=True)
class FuseOnline(LinearPass):
    """A legality rule of loop fusion: replace a finished maximum by its running form.

    The second loop may use the maximum of the first only as ``exp(x - max)``, where x is what the
    maximum is of (anything else could overflow while the maximum is low), and only through
    operations that commute with scaling a row, into sums. Anything else keeps its two loops.
    Other results of the first loop, maxima among them, stay as they are if the second reads none.
    Afterwards ``max - max`` puts back the NaN that -inf - -inf would give, unless there was nothing
    to take the maximum of, or the program subtracts 0 in its place (``safe``).

    Where another row is subtracted that the maximum goes into, such as the larger one of two
    streams, the sums follow their own maximum likewise, and are brought to that row when it is
    known: by ``exp(max - row)``, which is NaN where both are infinite.

    Before:  %x = fill {value=-inf} ; %l = fill {value=0.0}
             for n carries %x larger part %x.part step 128 {
               %s = … ; %x.part = reduce %s ; %x = larger %x %x.part }
             for n carries %l sum part %l.part step 128 {
               %s.1 = … ; %c = sub %s.1 %x ; %p = exp %c
               %l.part = reduce %p ; %l = add %l %l.part }
    After:   %x = fill {value=-inf} ; %l = fill {value=0.0} ; %x.last = fill {value=0.0}
             for n carries %x larger part %x.part safe %x.safe scale %x.scale last %x.last
                       and %l sum part %l.part by %x step 128 {
               %s = … ; %x.part = reduce %s
               %x.new = larger %x %x.part ; %x.safe = safe %x.new
               %x.scale = exp (%x - %x.safe) ; %x = %x.new ; %x.last = %x.new
               %c = sub %s %x.safe ; %p = exp %c
               %l = mul %l %x.scale ; %l.part = reduce %p ; %l = add %l %l.part }
             %x.nan = sub %x.last %x.last ; %l = add %l %x.nan
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Fuse every pair of loops of a body that allows it."""
        lir.body = _rewrite(lir.body)
        return lir


def _rewrite(body: list[Statement]) -> list[Statement]:
    for statement in body:
        if isinstance(statement, Loop):
            for piece in statement.pieces:
                piece.body = _rewrite(piece.body)
    loops = [i for i, statement in enumerate(body) if isinstance(statement, Loop)]
    for first, second in itertools.combinations(loops, 2):
        fused = _fuse(body[:first], body[first], body[first + 1 : second], body[second])
        if fused is not None:
            return _rewrite([*body[:first], *fused, *body[second + 1 :]])
    return body


def _fuse(
    outer: list[Statement], first: Statement, between: list[Statement], second: Statement
) -> list[Statement] | None:
    assert isinstance(first, Loop)
    assert isinstance(second, Loop)
    if first.axis != second.axis or first.step != second.step:
        return None
    constants = _constants([*outer, *between], second)
    maxima = [state for state in first.states if MONOIDS[state.monoid].is_maximum]
    for state in maxima:
        for chain in _chains(state, constants, between, first, second):
            if chain.shifted and not _other_results(first, chain, between, second):
                return _fused(first, between, second, chain)
    return None


def _fused(first: Loop, between: list[Statement], second: Loop, chain: Chain) -> list[Statement]:
    """The fused loop, with what stood around the second in front of it or behind."""
    before = [e for e in between if isinstance(e, Expression) and e.op == "fill"]
    after = [e for e in between if not any(e is fill for fill in before)]
    row = _row_type(first, chain)
    if chain.state.last and not _is_online(first, chain):
        before.append(Expression("fill", chain.state.last, (), row, {"value": 0.0}))
    states = [chain.state if state.value == chain.maximum else state for state in first.states]
    sums = [
        replace(state, by=chain.maximum) if state.value in chain.scaled else state
        for state in second.states
    ]
    pieces = [Piece(first.step, _fused_body(first, second, chain))]
    loop = Loop(first.axis, pieces, states=(*states, *sums))
    if chain.row:
        return [*before, loop, *after, *_brought(chain, row, second)]
    return [*before, loop, *_poison(second, chain, row), *after]


def _is_online(first: Loop, chain: Chain) -> bool:
    """Whether other sums follow the maximum already."""
    return any(state.value == chain.maximum and state.scale for state in first.states)


def _constants(statements: list[Statement], second: Loop) -> dict[str, float]:
    """The values of the fills that nothing accumulates into."""
    found = expressions_of([*statements, second])
    defined = Counter(e.output for e in found)
    fills = [e for e in found if e.op == "fill" and defined[e.output] == 1]
    return {e.output or "": e.attrs["value"] for e in fills}


def _chains(
    state: State, constants: dict[str, float], between: list[Statement], first: Loop, second: Loop
) -> Iterable[Chain]:
    """What the second loop may do with a maximum: subtract it, or a row that it goes into.

    Such a row is a maximum itself, so that what is subtracted is never less than the terms' own.
    """
    zeros = {name for name, value in constants.items() if value == 0}
    made = [e for e in between if isinstance(e, Expression)]
    if any(e.output == state.value for e in expressions_of(between)):
        return
    safe = {e.output or "" for e in made if e.op == "safe" and e.inputs == (state.value,)}
    into = {state.value}
    for e in made:
        if (e.op in MAXIMA or e.op == "safe") and into.intersection(e.inputs):
            into.add(e.output or "")
    subtracted = {e.inputs[1] for e in second.body if isinstance(e, Expression) and e.op == "sub"}
    scores = _scores(state, first, second)
    chains = [Chain(state, scores, {state.value, *safe}, zeros=zeros)]
    for row in sorted(subtracted & into - {state.value, *safe}):
        chains.append(Chain(state, scores, {row}, zeros=zeros, row=row))
    for chain in chains:
        admitted = all(isinstance(e, Expression) and chain.admit(e) for e in second.body)
        if admitted and _follows(chain, first):
            yield chain


def _scores(state: State, first: Loop, second: Loop) -> set[str]:
    """The names of what a maximum is taken of, in both loops."""
    parts = [e for e in first.body if isinstance(e, Expression) and e.output == state.part]
    of = {e.inputs[0] for e in parts if e.op == "reduce"}
    return of | {name for name, same in _equal_values(first, second).items() if same in of}


def _follows(chain: Chain, first: Loop) -> bool:
    """Give the maximum a scale, or take the one that it has, if that is of the same exponential."""
    state, exposed = chain.state, bool(chain.exposed or chain.row)
    if not state.scale:
        chain.state = online(state, exposed)
        return True
    scales = [e for e in first.body if isinstance(e, Expression) and e.output == state.scale]
    alike = [(e.op, dict(e.attrs)) for e in scales] == [(chain.base, dict(chain.attrs))]
    return alike and (bool(state.last) or not exposed)


def _other_results(first: Loop, chain: Chain, between: list[Statement], second: Loop) -> bool:
    """Whether the second loop needs anything else that is finished only after the first."""
    made = {e.output for e in first.body if isinstance(e, Expression)}
    made |= {e.output for e in expressions_of(between) if e.op != "fill"}
    made -= chain.aliases
    inside = {e.output for e in second.body if isinstance(e, Expression)}
    reads = {n for e in second.body if isinstance(e, Expression) for n in e.inputs}
    accumulators = {state.value for state in second.states}
    return bool((reads - inside | accumulators) & made)


def _fused_body(first: Loop, second: Loop, chain: Chain) -> list[Statement]:
    renames = _equal_values(first, second)
    renames.update(dict.fromkeys(chain.aliases, chain.state.safe))
    exp = Exponential(chain.base or "exp", chain.attrs)
    body: list[Statement] = []
    for e in first.body:
        assert isinstance(e, Expression)
        if e.output == chain.maximum and not _is_online(first, chain):
            body += move_maximum(chain.state, e.type, exp, e.inputs[1])
        else:
            body.append(e)
    scaled = {state.value: state for state in second.states if state.value in chain.scaled}
    for e in second.body:
        assert isinstance(e, Expression)
        if e.output in renames:
            continue
        if e.output in e.inputs and (state := scaled.pop(e.output or "", None)) is not None:
            body.append(scale_sum(state, chain.state, e.type))
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


def _brought(chain: Chain, row: ValueType, second: Loop) -> list[Statement]:
    """Bring the sums from their own maximum to the row that the program subtracts.

    Without an iteration, of which the last maximum would tell, they stay 0 whatever that row is.
    """
    x, types = chain.maximum, {e.output: e.type for e in second.body if isinstance(e, Expression)}
    away, term, zero, ran, scale = (f"{x}.{n}" for n in ("away", "term", "none", "ran", "brought"))
    body: list[Statement] = [
        Expression("sub", away, (x, chain.row), row),
        Expression(chain.base, term, (away,), row, chain.attrs),
        Expression("fill", zero, (), ValueType("f32"), {"value": 0.0}),
        Expression("eq", ran, (chain.state.last, x), replace(row, dtype="i1")),
        Expression("where", scale, (ran, term, zero), row),
    ]
    sums = (state.value for state in second.states if state.value in chain.scaled)
    return body + [Expression("mul", name, (name, scale), types[name]) for name in sums]


def _poison(second: Loop, chain: Chain, row: ValueType) -> list[Statement]:
    """NaN into the sums of rows whose maximum is infinite, unless the program avoids it itself."""
    if not chain.exposed:
        return []
    sums = {
        e.output: e
        for e in second.body
        if isinstance(e, Expression) and e.output in e.inputs and e.output in chain.exposed
    }
    nan = f"{chain.maximum}.nan"
    last = chain.state.last
    body: list[Statement] = [Expression("sub", nan, (last, last), row)]
    body += [Expression("add", name, (name or "", nan), e.type) for name, e in sums.items()]
    return body


def _row_type(first: Loop, chain: Chain) -> ValueType:
    """The type of the maximum."""
    return next(
        e.type for e in first.body if isinstance(e, Expression) and e.output == chain.maximum
    )
