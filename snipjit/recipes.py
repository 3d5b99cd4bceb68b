"""Recipes: what the run time must know about a kernel, read off its Subgraph and its LinearIR."""

from __future__ import annotations

from snipjit.call_args import CallArgs, chunk_bytes
from snipjit.linear_ir import LinearIR, Loop, is_block_loop, walk
from snipjit.loop_nest import join_of, parallel_loops, split_loop
from snipjit.operations import SCALINGS
from snipjit.passes.linear.allocate_buffers import scratch_bytes
from snipjit.runtime.runtime_configurator import ParallelLoop, Recipe, SplitLoop, TensorSpec
from snipjit.subgraph import Subgraph
from snipjit.tensors import Tensor


def recipe_of(lir: LinearIR, canonical: Subgraph | None = None) -> Recipe:
    """What the run time must know about a kernel, with what only its Subgraph says of inputs."""
    strict = contracted_dims(canonical) if canonical is not None else {}
    scalars = canonical.scalars if canonical is not None else []
    split = split_loop(lir)
    loops = [loop for loop in parallel_loops(lir) if loop is not split]
    return Recipe(
        axes=tuple(lir.axes.items()),
        inputs=tuple(_spec(tensor, strict.get(tensor.name, ())) for tensor in lir.inputs),
        outputs=tuple(_spec(tensor) for tensor in lir.outputs),
        scalars=tuple(lir.scalars),
        parallel=tuple(ParallelLoop(loop.axis, loop.step, _granule(lir, loop)) for loop in loops),
        scratch_bytes=scratch_bytes(lir),
        fields=CallArgs.of(lir).fields,
        split=_split(lir, split) if split is not None else None,
        products=_products(lir),
        counted=tuple(number for number, node in enumerate(scalars) if "counted" in node.attrs),
        indexed=tuple({e.attrs["axis"]: None for e in lir.expressions() if e.op == "iota"}),
    )


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
    """What a block has a multiple of: whole vectors; all rows where they share what they read."""
    if loop.axis in lir.lanes:
        return lir.width
    panels = {s.axis for s, _ in walk(loop.body) if isinstance(s, Loop)}
    return loop.step if loop.axis in panels else 1


def _spec(tensor: Tensor, strict: tuple[int, ...] = ()) -> TensorSpec:
    order = tensor.order or tuple(range(len(tensor.dims)))
    return TensorSpec(tensor.name, tensor.dtype, tensor.dims, order, strict)


def contracted_dims(canonical: Subgraph) -> dict[str, tuple[int, ...]]:
    """The dims of each parameter that a product contracts over: in those, size 1 means 1."""
    strict: dict[str, tuple[int, ...]] = {}
    for node in canonical.of("brgemm"):
        for source in (_unscaled(canonical, name) for name in node.inputs):
            dims = enumerate(canonical[source].type.dims)
            if canonical[source].op == "parameter":
                over = set(node.attrs["over"])
                found = {number for number, dim in dims if over & set(dim)}
                strict[source] = tuple(sorted(found.union(strict.get(source, ()))))
    return strict


def _unscaled(canonical: Subgraph, name: str) -> str:
    """The value that is converted, or scaled by a scalar, to the one of that name."""
    node = canonical[name]
    scaled = node.op in SCALINGS and not canonical[node.inputs[1]].type.axes
    return _unscaled(canonical, node.inputs[0]) if scaled or node.op == "to_f32" else name
