"""NameAxes: axes get names and an order that tell what they do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.ir.subgraph import Dim, Node, Subgraph, TensorType
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class NameAxes(Pass):
    """Rename and order the axes by role, so that equal structures print equally.

    ``b0 b1 …``  axes that every product, reduction and result keeps
    ``m``        the last of those, in the order in which the first product lists them
    ``d``        summed by products, in no computed value
    ``n``        computed, then reduced or summed
    ``e``        all others: columns of results

    Several axes of one of the last three roles are numbered. The order is that of this list.

    Before:  %s = brgemm %q %k {over=(q3)} : f32[q0][q2][k2]
             %x = reduce %s {monoid=max, over=(k2)} : f32[q0][q2][]
    After:   %s = brgemm %q %k {over=(d)} : f32[b0][m][n]
             %x = reduce %s {monoid=max, over=(n)} : f32[b0][m][]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with other names and another order of its axes."""
        names = _names(subgraph)
        axes = {new: subgraph.axes[old] for old, new in names.items()}
        nodes = tuple(_rename(node, names) for node in subgraph.nodes)
        return Subgraph(subgraph.name, axes, nodes)


def _names(subgraph: Subgraph) -> dict[str, str]:
    """The new name of each axis, in the new order."""
    *batch, row = _kept_axes(subgraph) or [""]
    appearing = dict.fromkeys(axis for node in subgraph.nodes for axis in node.type.axes)
    over, carried = subgraph.reduced_axes(), _carried(subgraph)
    roles: dict[str, list[str]] = {"d": [], "n": [], "e": []}
    for axis in appearing:
        if axis not in batch and axis != row:
            roles["e" if axis not in over else "n" if axis in carried else "d"].append(axis)
    names = {axis: f"b{index}" for index, axis in enumerate(batch)}
    names |= {row: "m"} if row else {}
    for role, members in roles.items():
        numbers = range(len(members)) if len(members) > 1 else [""]
        names |= {axis: f"{role}{number}" for axis, number in zip(members, numbers, strict=False)}
    return names


def _kept_axes(subgraph: Subgraph) -> list[str]:
    """The kept axes as the first product, reduction or result lists them."""
    anchors, kept = subgraph.of("brgemm", "reduce", "result"), subgraph.kept_axes()
    return [axis for axis in (anchors[0].type.axes if anchors else ()) if axis in kept]


def _carried(subgraph: Subgraph) -> set[str]:
    """The axes of values that products compute, and the axes of reductions."""
    products = {axis for node in subgraph.of("brgemm") for axis in node.type.axes}
    return products | {a for node in subgraph.of("reduce") for a in node.attrs["over"]}


def _rename(node: Node, names: dict[str, str]) -> Node:
    def renamed(dim: Dim) -> Dim:
        return tuple(names[axis] for axis in dim)

    attrs = dict(node.attrs)
    if "over" in attrs:
        new = renamed(attrs["over"])
        attrs["over"] = tuple(name for name in names.values() if name in new)
    if "block" in attrs:
        attrs["block"] = (names[attrs["block"][0]], attrs["block"][1])
    if "axis" in attrs:
        attrs["axis"] = names[attrs["axis"]]
    type = TensorType(node.type.dtype, tuple(renamed(dim) for dim in node.type.dims))
    return replace(node, type=type, attrs=attrs)
