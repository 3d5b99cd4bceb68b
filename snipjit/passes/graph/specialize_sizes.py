"""SpecializeSizes: sizes that a model never changes become part of the structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from snipjit.ir.subgraph import Subgraph
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class SpecializeSizes(Pass):
    """Give axes a static size. It runs on a canonical Subgraph, once for each schedule.

    Before:  axes b0 b1 m d n e
    After:   axes b0 b1 m d=64 n e=64
    """

    sizes: Mapping[str, int] = field(default_factory=dict)

    def run(self, ir: Subgraph) -> Subgraph:
        """The same Subgraph with those sizes; axes that are static already keep theirs."""
        axes = {
            axis: size if size is not None else self.sizes.get(axis)
            for axis, size in ir.axes.items()
        }
        return replace(ir, axes=axes)


def feature_axes(subgraph: Subgraph) -> list[str]:
    """The dynamic axes that shape register tiles: what products sum away, and their columns.

    Those are weights' and heads' sizes in a model; batches and lengths are batch axes, rows, or
    axes that are computed and then reduced.
    """
    products = subgraph.of("brgemm")
    over = {axis for node in products for axis in node.attrs["over"]}
    computed = {axis for node in products for axis in node.type.axes}
    columns = computed - subgraph.reduced_axes() - set(subgraph.kept_axes())
    # Scores of heads of size 1 are no product, but softmax goes over their columns.
    counted = {axis for node in subgraph.of("reduce") for axis in node.attrs["over"]}
    features = (over - computed - counted) | columns
    return [axis for axis, size in subgraph.axes.items() if axis in features and size is None]
