"""Faults to plant, one in a pass or an emitter each: a fuzzer that misses them tests nothing.

Each fault is legal IR, as a slip in the pass would leave it; no verifier runs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop
from snipjit.ir.regions import rewrite_each
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Node, Subgraph
from snipjit.ir.tensors import Buffer
from snipjit.passes import graph, linear
from snipjit.passes.fx.lift import translate_sdpa
from snipjit.passes.fx.lift.mask_walk import MaskWalk
from snipjit.passes.graph.rewriter import Rewriter
from snipjit.passes.llvm import emit_exp, emit_rational
from snipjit.runtime.kernel_cache import KERNELS, STRUCTURES
from snipjit.target.target_machine import TARGETS
from tests.fuzz.check import case_of, check


@dataclass(frozen=True)
class Fault:
    """A slip, by the pass it is in: what to do with the pass's result, or what to patch."""

    place: str
    what: str
    plant: Callable[[], contextlib.AbstractContextManager[None]]


PASSES = {
    step.name: type(step)
    for step in (
        *graph.PIPELINE,
        *linear.pipeline(TARGETS[0]),
        *linear.pipeline(TARGETS[0], Schedule.COLUMNS),
    )
}


@contextlib.contextmanager
def _patched(home: Any, name: str, value: Any) -> Iterator[None]:
    own = getattr(home, name)
    setattr(home, name, value)
    try:
        yield
    finally:
        setattr(home, name, own)


def after(place: str, what: str, edit: Callable[[Any], Any]) -> Fault:
    """A fault in what a pass returns."""
    kind = PASSES[place]
    run = kind.run

    def faulty(self: Any, ir: Any) -> Any:
        return edit(run(self, ir))

    return Fault(place, what, lambda: _patched(kind, "run", faulty))


def inside(module: str, name: str, what: str, value: Any) -> Fault:
    """A fault in what a module holds."""
    home = import_module(f"snipjit.passes.{module}")
    return Fault(module.rpartition(".")[2], what, lambda: _patched(home, name, value))


# Edits of a Subgraph: a rule for each node, which may return another.


def nodes(rule: Callable[[Node, Subgraph], Node]) -> Callable[[Subgraph], Subgraph]:
    """Every node by a rule."""
    return lambda ir: ir.with_nodes(rule(node, ir) for node in ir.nodes)


def op(old: str, new: str) -> Callable[[Subgraph], Subgraph]:
    """One operation for another."""
    return nodes(lambda node, _: replace(node, op=new) if node.op == old else node)


def _constants(change: Callable[[float], float]) -> Callable[[Subgraph], Subgraph]:
    def rule(node: Node, _: Subgraph) -> Node:
        if node.op != "constant":
            return node
        return replace(node, attrs={**node.attrs, "value": change(node.attrs["value"])})

    return nodes(rule)


def _other_maximum(node: Node, _: Subgraph) -> Node:
    least = node.op == "reduce" and node.attrs["monoid"] == "larger"
    return replace(node, attrs={**node.attrs, "monoid": "min"}) if least else node


def _no_scalars(node: Node, ir: Subgraph) -> Node:
    """A factor is lost."""
    scaled = node.op in ("mul", "div") and ir.by_name[node.inputs[-1]].op == "scalar"
    return replace(node, op="larger", inputs=(node.inputs[0],) * 2) if scaled else node


def _scores_of_each_head(node: Node, ir: Subgraph) -> Node:
    """A sum is not divided by."""
    divides = node.op == "mul" and ir.by_name[node.inputs[1]].op == "div"
    return replace(node, op="larger", inputs=(node.inputs[0],) * 2) if divides else node


# Edits of a LinearIR.


def each(rule: Callable[[Expression], Expression]) -> Callable[[LinearIR], LinearIR]:
    """Every expression by a rule, which may return another."""
    return lambda lir: replace(lir, body=rewrite_each(lir.body, rule))


def loops(rule: Callable[[Loop], None]) -> Callable[[LinearIR], LinearIR]:
    """Every loop by a rule."""

    def edit(lir: LinearIR) -> LinearIR:
        for statement, _ in list(lir.walk()):
            if isinstance(statement, Loop):
                rule(statement)
        return lir

    return edit


def _begin_with_one(e: Expression) -> Expression:
    begins = e.op == "fill" and e.attrs["value"] == 0 and e.type.axes
    return e.with_attrs(value=1.0) if begins else e


def _as_it_was(e: Expression) -> Expression:
    """The first operand in the place of a product."""
    return replace(e, op="larger", inputs=(e.inputs[0],) * 2)


def _no_rescaling(e: Expression) -> Expression:
    return _as_it_was(e) if e.op == "mul" and e.inputs[1].endswith(".scale") else e


def _no_weights(e: Expression) -> Expression:
    return _as_it_was(e) if e.op == "mul" and ".chunk.by." in (e.output or "") else e


def _limit_too_early(loop: Loop) -> None:
    loop.limits = tuple(replace(limit, offset=limit.offset - 1) for limit in loop.limits)


def _half_a_unit(e: Expression) -> Expression:
    unit = e.op == "fill" and (e.output or "").endswith(".normal")
    return e.with_attrs(value=e.attrs["value"] * 0.5) if unit else e


def _other_combination(e: Expression) -> Expression:
    sums = e.op == "horizon" and e.attrs["monoid"] == "sum"
    return e.with_attrs(monoid="larger") if sums else e


def _no_tail(loop: Loop) -> None:
    if len(loop.pieces) > 1 and loop.kind == "for":
        loop.pieces.pop()


def _no_rewind(loop: Loop) -> None:
    for piece in loop.pieces:
        for port in piece.ports:
            port.rewind = False


def _one_place(lir: LinearIR) -> LinearIR:
    for statement, _ in lir.walk():
        if isinstance(statement, Buffer) and statement.offset:
            statement.offset = 0
    return lir


def _no_mask(loop: Loop) -> None:
    for piece in loop.pieces:
        piece.masked = False


def _of_another_row(e: Expression) -> Expression:
    product = e.op == "fma" and len(e.inputs) > 2
    return replace(e, inputs=(e.inputs[1], e.inputs[1], *e.inputs[2:])) if product else e


# What modules hold.


class _FromOne(MaskWalk):
    """The number that is added to a range is 1 too large."""

    def _indices(self, node: Any, found: Any) -> str:
        return super()._indices(node, replace(found, number=found.number + 1))


def _swapped(*given: Any) -> Any:
    names = translate_sdpa.factors(*given)
    return names[::-1]


def _operand(out: Rewriter, name: str) -> str:
    return out[name].inputs[0] if out[name].op in ("to_f16", "to_bf16", "neg", "tanh") else name


def _next_dim(dim: int, rank: int) -> int:
    return (dim + 1) % rank


_STEEP = (*emit_rational.TANH_Q[:-1], 1.0)


def _steeper(rows: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    return {name: (*row[:-1], row[-1] * 9) for name, row in rows.items()}


FAULTS: tuple[Fault, ...] = (
    # Tokenization.
    inside("fx.lift.lifter", "fill_value", "any fill is read as 0", lambda *_: 0),
    inside("fx.lift.products", "factors", "operands of a product change places", _swapped),
    inside("fx.lift.side_inputs", "MaskWalk", "ranges begin with 1", _FromOne),
    inside("fx.lift.layouts", "normal_dim", "dims are counted from 1", _next_dim),
    # Data flow.
    inside("graph.propagate_precision", "_exact", "more than roundings are taken back", _operand),
    after("SdpaDecomposition", "the diagonal is hidden", op("ge", "gt")),
    after("SoftmaxDecomposition", "exponentials of base 2", op("exp", "exp2")),
    after("ReduceDimsToReduce", "the least in place of the largest", nodes(_other_maximum)),
    after("MoveScalarFactors", "scalar factors are lost", nodes(_no_scalars)),
    after("DeferNormalization", "no division", nodes(_scores_of_each_head)),
    after("ExpToExp4", "a factor of base 2", _constants(lambda x: x * 2 if 0.7 < x < 0.73 else x)),
    after("ScaleRows", "sums for products of numbers", _constants(lambda x: x * 1.1)),
    # Control flow.
    after("InitializeAccumulators", "sums begin with 1", each(_begin_with_one)),
    after("FuseOnline", "sums are not rescaled", each(_no_rescaling)),
    after("SplitStream", "chunks have one weight", each(_no_weights)),
    after("LimitLoops", "limits are one column early", loops(_limit_too_early)),
    after("RowUnits", "half the unit", each(_half_a_unit)),
    after("ReduceDecomposition", "lanes are not added up", each(_other_combination)),
    after("AllocateBuffers", "all buffers in one place", _one_place),
    after("InsertSpecificIterations", "the last tail is missing", loops(_no_tail)),
    after("InitLoops", "pointers are not rewound", loops(_no_rewind)),
    after("BrgemmBlocking", "a factor is taken twice", each(_of_another_row)),
    # Emission.
    inside("llvm.emit_exp", "EXP2", "a coefficient of an exponential", _steeper(emit_exp.EXP2)),
    inside("llvm.emit_rational", "TANH_Q", "a coefficient of tanh", _STEEP),
)


def plant_all(seeds: Iterable[int]) -> int:
    """Plant each fault and look for it; 0 if at least nine in ten are found."""
    found = 0
    chosen = list(seeds)
    for fault in FAULTS:
        seed = _found(fault, chosen)
        found += seed is not None
        told = "MISSED" if seed is None else f"found by seed {seed}"
        print(f"{fault.place:26}{fault.what:40}{told}", flush=True)
    _forget()
    print(f"{found} of {len(FAULTS)} found")
    return 0 if found >= math.ceil(0.9 * len(FAULTS)) else 1


def _found(fault: Fault, seeds: Sequence[int]) -> int | None:
    _forget()
    with fault.plant():
        for seed in seeds:
            if check(case_of(seed)).problem is not None:
                return seed
    return None


def _forget() -> None:
    """Kernels of another fault serve no case."""
    KERNELS.clear()
    STRUCTURES.clear()
