"""FuseConverts: a conversion next to memory is part of the load or the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class FuseConverts(LinearPass):
    """Read narrow inputs as the f32 that a load gives; store f32 to narrow outputs.

    Before:  %0 = to_f32 %bias : f32[n]                     with %bias and %y of bf16
             %1 = add %s %0 : f32[n m]
             %2 = to_bf16 %1 : bf16[n m]
             store %y %2 : bf16[n m]
    After:   %1 = add %s %bias : f32[n m]
             store %y %1 : f32[n m]
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Fuse in the flat list of Expressions."""
        expressions = [s for s in lir.body if isinstance(s, Expression)]
        loaded = {e.output: e.inputs[0] for e in expressions if e.op == "load"}
        read = {e.output: e.inputs[0] for e in expressions if _widens_input(lir, e, loaded)}
        renamed = [
            replace(e, inputs=tuple(read.get(name, name) for name in e.inputs))
            for e in expressions
            if e.output not in read
        ]
        rounded = {e.output: e.inputs[0] for e in renamed if e.type.element.is_narrow and e.output}
        stores = [_stored(lir, e, rounded) for e in renamed]
        uses = Counter(name for e in stores for name in e.inputs)
        lir.body = [e for e in stores if e.output not in rounded or uses[e.output]]
        return lir


def _widens_input(lir: LinearIR, e: Expression, loaded: Mapping[str | None, str]) -> bool:
    """Whether a load gives what a conversion is to make; ``loaded``: what is loaded by index."""
    source = lir.tensors.get(loaded.get(e.inputs[0], e.inputs[0])) if e.op == "to_f32" else None
    return source is not None and source.element.is_narrow


def _stored(lir: LinearIR, e: Expression, rounded: dict[str, str]) -> Expression:
    """A store of the value that was rounded to the element type of its output."""
    if e.op != "store" or e.inputs[1] not in rounded:
        return e
    value = rounded[e.inputs[1]]
    return replace(e, inputs=(e.inputs[0], value), type=ValueType("f32", e.type.axes))
