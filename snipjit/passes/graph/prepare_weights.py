"""PrepareWeights: weights are read in blocks, in the order in which a kernel wants them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from snipjit.ir.dequantized import dequantized
from snipjit.ir.subgraph import Node, Subgraph, SubgraphBuilder, TensorType
from snipjit.passes.base import Pass
from snipjit.target.target_machine import TargetMachine

LEAST_BLOCKS = 4
"""Fewer blocks would hold too much that is no weight, and keep too few accumulators busy."""


@dataclass(frozen=True)
class PrepareWeights(Pass):
    """Let parameters that are weights be handed over in blocks of ``block`` columns.

    It runs on a canonical Subgraph where a caller can hand them over so. What it takes is a matrix
    that only products read, whose columns are innermost in every result; others stay as they are.

    Before:  %w = parameter : f32[k][n]
    After:   %w = parameter {block=(n, 16)} : f32[n][k]        in memory [n/16][k][16]
    """

    weights: Collection[str] = ()
    block: int = 16

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The same Subgraph with other parameters."""
        columns = _columns(subgraph)
        return subgraph.with_nodes(
            self._prepared(subgraph, node, columns) for node in subgraph.nodes
        )

    def _prepared(self, subgraph: Subgraph, node: Node, columns: str | None) -> Node:
        if node.name not in self.weights or columns is None:
            return node
        if not _is_factor(subgraph, node, columns):
            return node
        if (subgraph.axes[columns] or 0) < LEAST_BLOCKS * self.block:
            return node
        (summed,) = (axis for axis in node.type.axes if axis != columns)
        type = TensorType.of(node.type.dtype, columns, summed)
        return replace(node, type=type, attrs={**node.attrs, "block": (columns, self.block)})


def _columns(subgraph: Subgraph) -> str | None:
    """The axis that is innermost in every result, if it is one and of known size."""
    inner = [node.type.dims[node.attrs["order"][-1]] for node in subgraph.results if node.type.dims]
    found = {dim[-1] if dim else None for dim in inner}
    return found.pop() if len(found) == 1 and len(inner) == len(subgraph.results) else None


def _is_factor(subgraph: Subgraph, node: Node, columns: str) -> bool:
    """Whether a parameter is a plain matrix that products sum over, down to those columns."""
    if node.attrs or any(len(dim) != 1 for dim in node.type.dims):
        return False
    summed = tuple(axis for axis in node.type.axes if axis != columns)
    users = _products_of(subgraph, node)
    products = bool(users) and all(user.op == "brgemm" for user in users)
    wanted = len(node.type.dims) == 2 and len(summed) == 1
    return wanted and products and all(user.attrs["over"] == summed for user in users)


def _products_of(subgraph: Subgraph, node: Node) -> list[Node]:
    """What reads a parameter, of integers also as what they are made of."""
    found, users = list[Node](), subgraph.users()
    pending = [node.name]
    while pending:
        for user in users[pending.pop()]:
            made = dequantized(subgraph, user.name) if user.op != "brgemm" else None
            if made is not None and made.weight == node.name:
                pending.append(user.name)
            else:
                found.append(user)
    return found


def prepared(subgraph: Subgraph, target: TargetMachine, weights: Collection[int]) -> Subgraph:
    """A canonical Subgraph whose parameters of those numbers are prepared for a target."""
    names = [node.name for number, node in enumerate(subgraph.parameters) if number in weights]
    return PrepareWeights(names, target.lanes).run(subgraph)


def swaps(plain: Subgraph, prepared: Subgraph) -> dict[int, bool]:
    """By the numbers of the parameters that are prepared: whether they are given as [k][n]."""
    pairs = zip(plain.parameters, prepared.parameters, strict=True)
    return {
        number: before.type.dims != after.type.dims
        for number, (before, after) in enumerate(pairs)
        if "block" in after.attrs
    }


def blocks_of(target: TargetMachine, dtype: str, swapped: bool) -> Subgraph:
    """What prepares a weight: given as [n][k], or as [k][n], it makes [n/block][k][block]."""
    build = SubgraphBuilder("prepare", n=None, k=None)
    given = TensorType.of(dtype, *("kn" if swapped else "nk"))
    weight = build.add("parameter", given, name="weight")
    made = TensorType.of(dtype, "n", "k")
    build.add("result", made, weight, order=(0, 1), block=("n", target.lanes))
    return build.subgraph()
