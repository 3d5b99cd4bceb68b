"""What the run time must know of a structure (its Subgraph says it) and of a kernel (LinearIR)."""

from __future__ import annotations

from math import lcm

from snipjit.ir.axis_sizes import TensorSpec
from snipjit.ir.call_args import CallArgs, axes_of_no_tensor, chunk_bytes
from snipjit.ir.description import describe
from snipjit.ir.linear_ir import LinearIR, Loop, walk
from snipjit.ir.loop_nest import is_block_loop, join_of, parallel_loops, split_loop, streams
from snipjit.ir.operations import SCALINGS
from snipjit.ir.parts import Parts
from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.linear.allocate_buffers import scratch_bytes
from snipjit.passes.linear.prefetch_next_tile import FEW_ROWS
from snipjit.runtime.interface import Gathered, Interface
from snipjit.runtime.runtime_configurator import ENOUGH_TASKS, ParallelLoop, Recipe, SplitLoop

FEW_TASKS = 4
"""Enough tasks along columns each of which packs rows of its own, or reads them anew."""


def interface_of(canonical: Subgraph) -> Interface:
    """How the kernels of a canonical Subgraph are called."""
    strict, scalars = contracted_dims(canonical), canonical.scalars
    return Interface(
        axes=tuple(canonical.axes.items()),
        inputs=tuple(_spec(node, strict.get(node.name, ())) for node in canonical.parameters),
        outputs=tuple(_spec(node) for node in canonical.results),
        scalars=tuple(node.name for node in scalars),
        counted=tuple(number for number, node in enumerate(scalars) if "counted" in node.attrs),
        indexed=tuple(dict.fromkeys(node.attrs["axis"] for node in canonical.of("iota"))),
        gathered=_gathered(canonical),
        label=describe(canonical),
    )


def _gathered(canonical: Subgraph) -> tuple[Gathered, ...]:
    """What is read by index."""
    found: dict[Gathered, None] = {}
    numbers = {node.name: number for number, node in enumerate(canonical.parameters)}
    for node in canonical.of("gather"):
        table, indices = node.inputs
        dim = canonical[table].type.dims.index((node.attrs["axis"],))
        found[Gathered(numbers[table], dim, numbers[indices])] = None
    return tuple(found)


def _spec(node: Node, strict: tuple[int, ...] = ()) -> TensorSpec:
    dims = node.type.dims
    order = node.attrs.get("order", tuple(range(len(dims))))
    block, parts = node.attrs.get("block"), Parts.of(node.attrs)
    return TensorSpec(node.name, node.type.dtype, dims, order, strict, block, parts)


def recipe_of(lir: LinearIR) -> Recipe:
    """What the run time must know about the kernel of a final LinearIR."""
    split = split_loop(lir)
    loops = [loop for loop in parallel_loops(lir) if loop is not split]
    return Recipe(
        parallel=tuple(_parallel(lir, loop) for loop in loops),
        scratch_bytes=scratch_bytes(lir),
        fields=CallArgs.of(lir).fields,
        axes=tuple((axis, _size(lir, axis)) for axis in axes_of_no_tensor(lir)),
        split=_split(lir, split) if split is not None else None,
        products=_products(lir),
    )


def _parallel(lir: LinearIR, loop: Loop) -> ParallelLoop:
    plan = lir.plans.get(loop.axis)
    in_strips = plan is not None and bool(plan.strip)
    granule = 1 if in_strips else _granule(lir, loop)
    is_wide = loop.axis in lir.lanes[-1:] and _has_panels_of_columns(lir)
    panel = plan.panel if plan is not None and is_wide else 0
    enough = FEW_TASKS if _packs_rows(lir, loop) else ENOUGH_TASKS
    return ParallelLoop(loop.axis, loop.step, granule, in_strips, panel, enough)


def _size(lir: LinearIR, axis: str) -> int:
    size = lir.axes[axis]
    return 1 if size is None else size


def _products(lir: LinearIR) -> tuple[tuple[str, ...], ...]:
    """The axes of each product, the summed ones included; tails repeat it under its name."""
    found = [e for e in lir.expressions() if e.op == "fma"]
    return tuple({e.output: (*e.type.axes, *e.over) for e in found}.values())


def _split(lir: LinearIR, loop: Loop) -> SplitLoop:
    """A split loop whose chunks are whole tiles of the loops inside."""
    join = join_of(loop)
    assert join is not None
    inside = [s for s, _ in walk(loop.body) if isinstance(s, Loop) and s.axis == loop.axis]
    tile = max(inner.step for inner in inside if not is_block_loop(inner))
    return SplitLoop(loop.axis, loop.step, tile, lir.axes[join.axis] or 1, chunk_bytes(lir))


def _granule(lir: LinearIR, loop: Loop) -> int:
    """What a block has a multiple of: whole vectors; all rows where they share what they read.

    Where columns are in lanes rows share packed weights in near caches: whole tiles of them do.
    """
    if loop.axis in lir.lanes:
        blocks = [t.block[1] for t in lir.tensors.values() if t.block and t.block[0] == loop.axis]
        return lcm(lir.width, *blocks)
    panels = {s.axis for s, _ in walk(loop.body) if isinstance(s, Loop)}
    if loop.axis not in panels:
        return 1
    if _packs_rows(lir, loop):
        return max(loop.step // 16, 1)
    return lir.plans[loop.axis].tile if _has_panels_of_columns(lir) else loop.step


def _packs_rows(lir: LinearIR, loop: Loop) -> bool:
    """Whether tasks have parts of columns that are not in the lanes of products."""
    plan = lir.plans.get(loop.axis)
    is_columns = plan is not None and plan.role == "columns"
    return is_columns and loop.axis not in lir.lanes[-1:] and not streams(lir)


def _has_panels_of_columns(lir: LinearIR) -> bool:
    """Whether products make what is in lanes, and sum more than a few rows of a weight at once."""
    inner = lir.plans.get(lir.lanes[-1]) if lir.lanes else None
    blocks = [plan.block for plan in lir.plans.values() if plan.role == "contraction"]
    is_wide = inner is not None and inner.role == "columns" and inner.panel > 0
    return is_wide and not any(0 < block <= FEW_ROWS for block in blocks)


def contracted_dims(canonical: Subgraph) -> dict[str, tuple[int, ...]]:
    """The dims of each parameter that a product contracts over: in those, size 1 means 1."""
    strict: dict[str, tuple[int, ...]] = {}
    for node in canonical.of("brgemm"):
        for source in (_unscaled(canonical, name) for name in node.inputs):
            if canonical[source].op == "parameter":
                spec = _spec(canonical[source])
                whole = spec.parts.products if spec.parts else {}
                over = {part for axis in node.attrs["over"] for part in whole.get(axis, (axis,))}
                found = {number for number, dim in enumerate(spec.told) if over & set(dim)}
                strict[source] = tuple(sorted(found.union(strict.get(source, ()))))
    return strict


def _unscaled(canonical: Subgraph, name: str) -> str:
    """The value that is converted, or scaled by a scalar, to the one of that name."""
    node = canonical[name]
    scaled = node.op in SCALINGS and not canonical[node.inputs[1]].type.axes
    return _unscaled(canonical, node.inputs[0]) if scaled or node.op == "to_f32" else name
