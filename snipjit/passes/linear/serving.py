"""Which schedules a Subgraph has, and which calls each of them serves."""

from __future__ import annotations

from collections.abc import Collection

from snipjit.errors import SlowerError
from snipjit.ir.dequantized import factor
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.linear.convert_graph_to_linear import are_layers, column_axes, output_axes
from snipjit.target.candidates import NATIVE, NODES, Serves, candidate
from snipjit.target.target_machine import TargetMachine


def serving(subgraph: Subgraph, target: TargetMachine) -> tuple[Serves, ...]:
    """The table of a structure: its schedules, the better ones first, the last one for any sizes.

    Without a product features lie in lanes. By columns is for few rows, and PyTorch's own nodes are
    for fewer where they are better. Where the products make what is innermost in the results, or
    where each multiplies by a weight, the rest goes by outputs, else by rows. Of products alone
    with short sums some more go by columns, and still more by rows: weights are read where they
    lie, and packing them would not pay. Where these lie as [k][n] a few of their rows are read at a
    time instead; without any rows of x that is all there is.
    """
    if blocks := [node for node in subgraph.nodes if "block" in node.attrs]:
        return _of_blocks(subgraph, target, any(node.type.element.is_narrow for node in blocks))
    if not subgraph.of("brgemm"):
        return (Serves(Schedule.FEATURES),)
    wide = wide_axis(subgraph)
    general = Schedule.OUTPUTS if wide or multiplies_weights(subgraph) else Schedule.ROWS
    most = candidate(target, Schedule.COLUMNS).most_rows
    layers = general is Schedule.OUTPUTS and are_layers(subgraph)
    if general is Schedule.OUTPUTS:
        more = Schedule.ROWS if layers else general
        least = candidate(target, more).least_rows
        most = min(max(least - 1, _near_rows(subgraph, target) if layers else 0), most)
    rows = row_axes(subgraph, wide)
    if layers and sums_over_rows(subgraph):
        some = [Serves(one, rows, candidate(target, one).most_rows) for one in BY_STEPS]
        some = [*_by_nodes(target, "matrices", rows), *some]
        return (*some, Serves(general)) if rows else (Serves(Schedule.STEPS),)
    few = [] if layers else _by_nodes(target, "streams", rows)
    few.append(Serves(Schedule.COLUMNS, rows, most))
    if layers:
        few.append(Serves(Schedule.ROWS, rows, candidate(target, Schedule.ROWS).most_rows))
    return (*(few if rows else ()), Serves(general))


def _of_blocks(subgraph: Subgraph, target: TargetMachine, narrow: bool) -> tuple[Serves, ...]:
    """The table where weights are prepared: narrow ones are packed for many rows alone."""
    rows = row_axes(subgraph, wide_axis(subgraph)) if narrow else ()
    few = Serves(Schedule.STEPS, rows, candidate(target, Schedule.OUTPUTS).direct)
    return (*([few] if rows else ()), Serves(Schedule.OUTPUTS))


def _near_rows(subgraph: Subgraph, target: TargetMachine) -> int:
    """How many rows a tile by columns has that the nearest cache keeps, if none is converted."""
    numbers = candidate(target, Schedule.COLUMNS)
    if any(node.type.element.is_narrow for node in subgraph.parameters):
        return 0
    summed = [subgraph.axes[axis] for node in subgraph.of("brgemm") for axis in node.attrs["over"]]
    sizes = [size for size in summed if size is not None]
    length = max(sizes) if len(sizes) == len(summed) else numbers.near
    return min(numbers.near // max(length, 1), numbers.layer_rows)


def _by_nodes(target: TargetMachine, kind: str, rows: tuple[str, ...]) -> list[Serves]:
    """The calls that PyTorch's own nodes serve."""
    most = NODES.get((target.name, kind), 0)
    return [Serves(None, rows, most)] if most else []


BY_STEPS = (Schedule.STEPS, Schedule.BLOCKS)
"""Schedules of matrices [k][n], for fewer rows first."""


def refuse_across(subgraph: Subgraph, numbers: Collection[int]) -> None:
    """Raise SlowerError where a linear layer would read a weight, of those parameters, across.

    It lies as [k][n], so that what a sum goes over is a row apart in memory, but not in a way that
    the schedules of such matrices are for.
    """
    if sums_over_rows(subgraph):
        return
    weights = {node.name for i, node in enumerate(subgraph.parameters) if i in numbers}
    for product in subgraph.of("brgemm") if are_layers(subgraph) else ():
        for node in (factor(subgraph, name) for name in product.inputs):
            if node.name not in weights:
                continue
            inner, summed = node.type.axes[-1:], {*product.attrs["over"]}
            if "block" in node.attrs or not summed & {*node.type.axes} or summed & {*inner}:
                continue
            raise SlowerError(
                f"%{node.name} lies in memory as [k][n], by which PyTorch multiplies faster here; "
                "accepted: [n][k], or n innermost in each result and all other axes in both factors"
            )


def refuse_native(subgraph: Subgraph, target: TargetMachine) -> None:
    """Raise SlowerError for linear layers of a type that PyTorch has instructions for."""
    native = NATIVE.get(target.name, ())
    for product in subgraph.of("brgemm") if are_layers(subgraph) else ():
        factors = [factor(subgraph, name) for name in product.inputs]
        if any(node.type.element.is_quantized for node in factors):
            continue  # which it does not multiply as they are
        for node in factors:
            if (dtype := node.type.dtype) in native:
                raise SlowerError(
                    f"%{node.name} is {dtype}, which PyTorch multiplies by instructions of its own "
                    f"on {target.name}; accepted: f32"
                )


def sums_over_rows(subgraph: Subgraph) -> bool:
    """Whether each product multiplies by a matrix [k][n], whose n is innermost in the results."""
    columns = wide_axis(subgraph)
    if columns is None:
        return False
    for product in subgraph.of("brgemm"):
        a, b = (factor(subgraph, name) for name in product.inputs)
        if not _is_matrix(product, a, b, columns) and not _is_matrix(product, b, a, columns):
            return False
    return True


def _is_matrix(product: Node, matrix: Node, other: Node, columns: str) -> bool:
    """Whether a factor lies as [k][n]; axes that it has besides, such as experts, both have."""
    axes, summed = {*matrix.type.axes}, {*product.attrs["over"]}
    besides = axes - summed - {columns}
    is_inner = matrix.type.axes[-1:] == (columns,)
    return is_inner and bool(summed & axes) and besides <= {*other.type.axes}


def multiplies_weights(subgraph: Subgraph) -> bool:
    """Whether each product has a factor that all rows share, and nothing else sums its results."""
    products, kept = subgraph.of("brgemm"), {*subgraph.kept_axes()}
    made = {axis for node in products for axis in node.type.axes}
    reduced = {axis for node in subgraph.of("reduce") for axis in node.attrs["over"]}
    factors = [[factor(subgraph, name) for name in node.inputs] for node in products]
    shared = (any(f.op == "parameter" and not kept & {*f.type.axes} for f in fs) for fs in factors)
    return bool(products and output_axes(subgraph)) and all(shared) and not made & reduced


def wide_axis(subgraph: Subgraph) -> str | None:
    """The innermost axis of the results, if every product makes it and none sums over it."""
    axes = output_axes(subgraph)
    anchors = (*subgraph.of("brgemm"), *subgraph.results)
    if not axes or not subgraph.of("brgemm") or axes[-1] in subgraph.reduced_axes():
        return None
    return axes[-1] if all(axes[-1] in node.type.axes for node in anchors) else None


def row_axes(subgraph: Subgraph, wide: str | None) -> tuple[str, ...]:
    """The axes that decide between the schedules: by columns is for few of their elements.

    Empty if there is no choice: without a product, or where no streamed input serves several rows.
    """
    kept = subgraph.kept_axes()
    operands = [factor(subgraph, name) for node in subgraph.of("brgemm") for name in node.inputs]
    inputs = [node for node in operands if node.op == "parameter"]
    rows = subgraph.row_axes() if wide is None else [axis for axis in kept if axis != wide]
    shared = [axis for axis in rows if any(axis not in node.type.axes for node in inputs)]
    return tuple(shared) if column_axes(subgraph) else ()
